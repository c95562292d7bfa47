//! The plans to measure, as the command line names them.

use std::str::FromStr;

use crate::replay::{Fitted, INDIVIDUAL, RecordedPlan, Recording, ReplayError, TestKind, fit};

/// What is measured if nothing else is asked for: chains inside one checkpoint, the first one with what it was fitted to find; and the
/// chain and the two rounds of the paper.
pub(super) const DEFAULT: &str = "d3:16,8,4,d3:1 d3:16,8,4,d3:1@worth=500 d3:16,4,1 d3:16,1 d2:16,4,1";

/// A chain of tests and what makes them positive.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PaperPlan {
    /// By falling size; the first one names the design of all that name none, but for size 1.
    kinds: Vec<TestKind>,
    rule: Rule,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    /// One threshold at every size.
    Threshold(f32),
    /// Fitted on half of the groups; only the others are run.
    Fitted(Fitted),
}

impl PaperPlan {
    /// The design whose network makes the tests of several images.
    pub(super) fn design(&self) -> &str {
        self.kinds[0].design.as_deref().unwrap_or_default()
    }

    /// The plan over a recording, and the groups it may be judged on. `seed` says which half it is fitted on.
    ///
    /// # Errors
    /// As [`RecordedPlan::new`] and [`fit`].
    pub(super) fn over<'a>(
        &self,
        recording: &'a Recording,
        seed: u64,
    ) -> Result<(RecordedPlan<'a>, Vec<usize>), ReplayError> {
        let design = Some(self.design());
        match self.rule {
            Rule::Fitted(fitted) => fit(recording, &self.kinds, design, fitted, seed),
            Rule::Threshold(threshold) => {
                let plan = RecordedPlan::new(recording, &self.kinds, design, &[threshold])?;
                let groups = plan.scores()[0].groups.len();
                Ok((plan, (0..groups).collect()))
            }
        }
    }

    /// What makes a test positive, in words.
    pub(super) fn rule(&self) -> String {
        match self.rule {
            Rule::Threshold(threshold) => threshold.to_string(),
            Rule::Fitted(Fitted::Worth(worth)) => format!("planned, worth {worth}"),
            Rule::Fitted(Fitted::Margin(margin)) => format!("fitted, margin {margin}"),
        }
    }
}

impl FromStr for PaperPlan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (chain, rule) = text.split_once('@').map_or((text, None), |(chain, rule)| (chain, Some(rule)));
        let kinds = chain.split(',').map(str::parse).collect::<Result<Vec<TestKind>, String>>()?;
        let Some(design) = kinds.first().and_then(|kind| kind.design.clone()) else {
            return Err(format!("`{chain}` begins without a design; write d3:16,8,4,1"));
        };
        if kinds.len() < 2 {
            return Err(format!("`{chain}` is one size; write d3:16,1 for groups of 16 and then each image alone"));
        }
        let alone = |kind: &TestKind| kind.size == 1 && kind.design.as_deref() == Some(INDIVIDUAL);
        let other = |kind: &&TestKind| kind.design.as_ref().is_some_and(|d| !d.eq_ignore_ascii_case(&design));
        if let Some(kind) = kinds.iter().filter(other).find(|kind| !alone(kind)) {
            let named = kind.design.as_deref().unwrap_or_default();
            return Err(format!("`{chain}` names {design} and {named}; one network makes all tests of several images"));
        }
        Ok(Self { kinds, rule: rule.map_or(Ok(Rule::Threshold(0.5)), str::parse)? })
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`@{text}` must be a threshold from 0 to 1, or @worth=500 or @margin=2");
        let number = |text: &str| text.parse::<f64>().ok().filter(|x| x.is_finite()).ok_or_else(wrong);
        match text.split_once('=') {
            Some(("worth", worth)) => Ok(Self::Fitted(Fitted::Worth(number(worth)?))),
            Some(("margin", margin)) => Ok(Self::Fitted(Fitted::Margin(number(margin)?))),
            Some(_) => Err(wrong()),
            None => match number(text)? {
                threshold if (0.0..=1.0).contains(&threshold) => Ok(Self::Threshold(threshold as f32)),
                _ => Err(wrong()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_chain_and_what_makes_its_tests_positive() {
        let plan: PaperPlan = "d3:16,4,1".parse().unwrap();
        assert_eq!((plan.design(), plan.rule()), ("d3", "0.5".to_owned()));
        let rule = |text: &str| text.parse::<PaperPlan>().unwrap().rule();
        assert_eq!(rule("d3:16,8,d3:1@worth=500"), "planned, worth 500");
        assert_eq!(rule("d2:16,individual:1@margin=2"), "fitted, margin 2");
        assert_eq!(rule("d2:16,1@0.9"), "0.9");
        assert!(DEFAULT.split(' ').all(|plan| plan.parse::<PaperPlan>().is_ok()));
    }

    #[test]
    fn a_wrong_plan_says_what_would_be_right() {
        for (text, says) in [
            ("16,4,1", "without a design"),
            ("d3:16", "one size"),
            ("d3:16,d2:4,1", "names d3 and d2"),
            ("d3:16,individual:4,1", "names d3 and individual"),
            ("d3:16,x", "no group size"),
            ("d3:16,1@2", "0 to 1"),
            ("d3:16,1@price=2", "@worth=500"),
            ("d3:16,1@worth=nan", "@worth=500"),
        ] {
            let message = text.parse::<PaperPlan>().unwrap_err();
            assert!(message.contains(says), "{text}: {message}");
        }
    }
}
