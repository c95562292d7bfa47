//! The plans to measure, as the command line names them.

use std::str::FromStr;

use crate::replay::{
    FittedPolicy, INDIVIDUAL, RecordedPlan, Recording, ReplayError, ScoreSource, ScoreSourceError,
    fit,
};

/// The default plans: chains within one checkpoint, the first of them also as the planned policy;
/// and the chain and the two rounds of the paper.
pub const DEFAULT_PLANS: &str =
    "d3:16,8,4,d3:1 d3:16,8,4,d3:1@worth=500 d3:16,4,1 d3:16,1 d2:16,4,1";

/// A chain of tests with the rule that makes them positive, such as `d3:16,8,4,d3:1@0.5` or
/// `d2:16,4,1@worth=500`.
#[derive(Debug, Clone, PartialEq)]
pub struct PaperPlan {
    /// By falling size. The first names the design of all that name none, except size 1.
    sources: Vec<ScoreSource>,
    rule: PositiveRule,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum PositiveRule {
    /// One threshold at every size.
    Threshold(f32),
    /// Fitted on half of the groups. Only the other half runs.
    Fitted(FittedPolicy),
}

/// Why a text is not a [`PaperPlan`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaperPlanError {
    /// A size is not a number.
    #[error(transparent)]
    Size(#[from] ScoreSourceError),
    /// The first size has no design.
    #[error("`{0}` begins without a design; write d3:16,8,4,1")]
    NoDesign(String),
    /// There is only one size.
    #[error("`{0}` is one size; write d3:16,1 for groups of 16 and then each image alone")]
    OneSize(String),
    /// Tests of several images have different designs.
    #[error("`{chain}` names {first} and {other}; one network makes all tests of several images")]
    TwoDesigns {
        /// The chain.
        chain: String,
        /// The design of the first size.
        first: String,
        /// The other design.
        other: String,
    },
    /// The rule after `@` is unknown.
    #[error("`@{0}` must be a threshold from 0 to 1, or @worth=500 or @margin=2")]
    Rule(String),
}

impl PaperPlan {
    /// The design of the network that makes the tests of several images.
    pub fn design(&self) -> &str {
        self.sources[0].design.as_deref().unwrap_or_default()
    }

    /// The plan over a recording, and the numbers of the groups on which it may be measured. `seed`
    /// decides the half on which it is fitted.
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
            PositiveRule::Fitted(fitted) => fit(recording, &self.sources, design, fitted, seed),
            PositiveRule::Threshold(threshold) => {
                let plan = RecordedPlan::new(recording, &self.sources, design, &[threshold])?;
                let groups = plan.scores()[0].groups.len();
                Ok((plan, (0..groups).collect()))
            }
        }
    }

    /// The rule in words.
    pub(super) fn rule(&self) -> String {
        match self.rule {
            PositiveRule::Threshold(threshold) => threshold.to_string(),
            PositiveRule::Fitted(FittedPolicy::Worth(worth)) => format!("planned, worth {worth}"),
            PositiveRule::Fitted(FittedPolicy::Margin(margin)) => {
                format!("fitted, margin {margin}")
            }
        }
    }
}

impl FromStr for PaperPlan {
    type Err = PaperPlanError;

    fn from_str(text: &str) -> Result<Self, PaperPlanError> {
        let (chain, rule) = match text.split_once('@') {
            Some((chain, rule)) => (chain, rule.parse()?),
            None => (text, PositiveRule::Threshold(0.5)),
        };
        let sources = chain.split(',').map(str::parse).collect::<Result<Vec<ScoreSource>, _>>()?;
        let Some(design) = sources.first().and_then(|source| source.design.clone()) else {
            return Err(PaperPlanError::NoDesign(chain.into()));
        };
        if sources.len() < 2 {
            return Err(PaperPlanError::OneSize(chain.into()));
        }
        let alone =
            |source: &ScoreSource| source.size == 1 && source.design.as_deref() == Some(INDIVIDUAL);
        let designs = sources.iter().filter(|source| !alone(source));
        let mut designs = designs.filter_map(|source| source.design.as_deref());
        if let Some(other) = designs.find(|other| !other.eq_ignore_ascii_case(&design)) {
            let (chain, other) = (chain.into(), other.into());
            return Err(PaperPlanError::TwoDesigns { chain, first: design, other });
        }
        Ok(Self { sources, rule })
    }
}

impl FromStr for PositiveRule {
    type Err = PaperPlanError;

    fn from_str(text: &str) -> Result<Self, PaperPlanError> {
        let wrong = || PaperPlanError::Rule(text.to_owned());
        let number =
            |text: &str| text.parse::<f64>().ok().filter(|x| x.is_finite()).ok_or_else(wrong);
        match text.split_once('=') {
            Some(("worth", worth)) => Ok(Self::Fitted(FittedPolicy::Worth(number(worth)?))),
            Some(("margin", margin)) => Ok(Self::Fitted(FittedPolicy::Margin(number(margin)?))),
            Some(_) => Err(wrong()),
            None => match number(text)? {
                threshold if (0.0..=1.0).contains(&threshold) => {
                    Ok(Self::Threshold(threshold as f32))
                }
                _ => Err(wrong()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_chain_with_a_rule() {
        let plan: PaperPlan = "d3:16,4,1".parse().unwrap();
        assert_eq!((plan.design(), plan.rule()), ("d3", "0.5".to_owned()));
        let rule = |text: &str| text.parse::<PaperPlan>().unwrap().rule();
        assert_eq!(rule("d3:16,8,d3:1@worth=500"), "planned, worth 500");
        assert_eq!(rule("d2:16,individual:1@margin=2"), "fitted, margin 2");
        assert_eq!(rule("d2:16,1@0.9"), "0.9");
        assert!(DEFAULT_PLANS.split(' ').all(|plan| plan.parse::<PaperPlan>().is_ok()));
    }

    #[test]
    fn the_error_of_a_wrong_plan_names_the_remedy() {
        for (text, part) in [
            ("16,4,1", "without a design"),
            ("d3:16", "one size"),
            ("d3:16,d2:4,1", "names d3 and d2"),
            ("d3:16,individual:4,1", "names d3 and individual"),
            ("d3:16,x", "not a group size"),
            ("d3:16,1@2", "0 to 1"),
            ("d3:16,1@price=2", "@worth=500"),
            ("d3:16,1@worth=nan", "@worth=500"),
        ] {
            let message = text.parse::<PaperPlan>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
