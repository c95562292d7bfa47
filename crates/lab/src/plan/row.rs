//! The plans of a bundle, prevalence by prevalence (pure).

use serde::Serialize;

use crate::config::Config;
use crate::config::retest::PolicyKind;
use crate::planner::{self, Bounds, Choice, Coherence, Link, Planner, StageCosts};
use crate::retest::Answers;

/// What plans are made from.
pub(super) struct Basis {
    /// Plans by what is minimised.
    pub(super) planner: Planner,
    /// Multiply-adds, for comparison.
    pub(super) macs: StageCosts,
}

/// A plan and what to expect of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Line {
    /// In words, such as `16 > 4 > 1`.
    pub(super) plan: String,
    /// Images of a test, from the first round to the last.
    pub(super) sizes: Vec<usize>,
    /// What the threshold of each size is set for, by the calibration.
    pub(super) sensitivities: Vec<f64>,
    /// Tests an image.
    pub(super) tests_per_image: f64,
    /// Tests an image of each size.
    pub(super) tests_by_size: Vec<f64>,
    /// What is minimised, over that of individual testing.
    pub(super) relative_cost: f64,
    /// Multiply-adds over those of individual testing.
    pub(super) relative_macs: f64,
    /// Share of positives that are flagged.
    pub(super) recall: f64,
    /// Share of negatives that are flagged.
    pub(super) fpr: f64,
}

/// What tests without error would cost, over individual testing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct BoundLine {
    /// Tests an image that the entropy of the prevalence asks for.
    pub(super) entropy_tests_per_image: f64,
    /// Their cost.
    pub(super) entropy: f64,
    /// Two rounds, tests without error.
    pub(super) dorfman: f64,
    /// Images of a group of it.
    pub(super) dorfman_size: usize,
    /// The best nested procedure, tests without error.
    pub(super) nested: f64,
    /// Images of a group of it.
    pub(super) nested_size: usize,
}

/// A prevalence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    /// Share of positives.
    pub(super) prevalence: f64,
    /// The cheapest plan.
    pub(super) planned: Line,
    /// The configured one, if the bundle is calibrated for its sizes and they divide each other.
    pub(super) configured: Option<Line>,
    /// What tests without error would cost.
    pub(super) bounds: BoundLine,
}

impl Basis {
    /// The plans at a prevalence.
    pub(super) fn row(&self, prevalence: f64, configured: Option<&[Link]>) -> Row {
        let planned = self.line(&self.planner.best(prevalence), prevalence);
        let configured = configured.map(|chain| {
            let expected = self.planner.expected(chain, prevalence);
            self.line(&Choice { chain: chain.to_vec(), expected }, prevalence)
        });
        let bounds = planner::bounds(prevalence, self.planner.largest(), self.planner.costs());
        Row { prevalence, planned, configured, bounds: self.bound(bounds) }
    }

    /// The cheapest plan that begins with groups of each calibrated size, as (size, cost over individual testing's).
    pub(super) fn by_size(&self, prevalence: f64) -> Vec<(usize, f64)> {
        let sizes = self.planner.answers().sizes().iter().map(|s| s.arity);
        let best = |size| self.planner.best_of_size(size, prevalence).map(|b| (size, b.expected.cost / self.alone()));
        sizes.filter(|&size| size <= self.planner.largest()).filter_map(best).collect()
    }

    fn alone(&self) -> f64 {
        self.planner.costs().individual()
    }

    fn line(&self, choice: &Choice, prevalence: f64) -> Line {
        let e = &choice.expected;
        let macs = planner::expected(&choice.chain, prevalence, Coherence::default(), &self.macs).cost;
        Line {
            plan: choice.describe(),
            sizes: choice.sizes(),
            sensitivities: choice.chain.iter().map(|link| link.point.sensitivity).collect(),
            tests_per_image: e.tests.iter().sum(),
            tests_by_size: e.tests.clone(),
            relative_cost: e.cost / self.alone(),
            relative_macs: macs / self.macs.individual(),
            recall: e.recall,
            fpr: e.fpr,
        }
    }

    fn bound(&self, b: Bounds) -> BoundLine {
        let alone = self.alone();
        BoundLine {
            entropy_tests_per_image: b.entropy,
            entropy: (b.entropy_cost / alone).min(1.0),
            dorfman: b.dorfman_cost / alone,
            dorfman_size: b.dorfman_size,
            nested: b.nested_cost / alone,
            nested_size: b.nested_size,
        }
    }
}

/// The configured plan as a chain, if it is one that is calibrated; halves are inferred from each other, and planned tests have no chain.
pub(in crate::cli) fn configured(answers: &Answers, config: &Config) -> Option<Vec<Link>> {
    if !matches!(config.retest.policy, PolicyKind::Individual | PolicyKind::TwoRound | PolicyKind::MultiRound) {
        return None;
    }
    let plan = config.plan(None).ok().flatten()?;
    let (retest, sizes) = (&config.retest, plan.arities());
    let falls = sizes.last() == Some(&1) && sizes.windows(2).all(|w| w[0] > w[1] && w[0].is_multiple_of(w[1]));
    if !falls {
        return None;
    }
    let link = |&size: &usize| {
        let wanted = if size == 1 { retest.individual_sensitivity } else { retest.pooled_sensitivity };
        Some(Link { size, point: answers.at(size, wanted)? })
    };
    sizes.iter().map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::group::GroupSize;
    use crate::planner::Wanted;
    use crate::retest::{Point, SizeAnswers};

    #[test]
    fn the_configured_plan_is_one_of_many() {
        let size = |arity| SizeAnswers { arity, points: vec![Point { sensitivity: 0.99, specificity: 0.98 }] };
        let answers = Answers::new([1, 4, 16].map(size).into()).unwrap();
        let costs = StageCosts { item: 0.1, tiers: vec![], score: vec![(1, 0.9)] };
        let wanted = Wanted { individual_sensitivity: 0.99, recall_loss: 0.05, largest: 64, rounds: 5 };
        let mut config = Config::default();
        let chain = configured(&answers, &config).unwrap();
        assert_eq!(chain.iter().map(|l| l.size).collect::<Vec<_>>(), [16, 4, 1]);
        config.group.size = GroupSize::Of(6);
        assert!(configured(&answers, &config).is_none(), "6 is not calibrated");
        config.group.size = GroupSize::Auto;
        assert!(configured(&answers, &config).is_none(), "there is no fixed plan");
        let basis = Basis { macs: costs.clone(), planner: Planner::new(answers, costs, wanted).unwrap() };
        for p in [0.001, 0.01, 0.1, 0.3] {
            let row = basis.row(p, Some(&chain));
            let least = basis.by_size(p).iter().map(|s| s.1).fold(f64::INFINITY, f64::min);
            assert!(row.planned.relative_cost <= row.configured.unwrap().relative_cost + 1e-12);
            assert!((row.planned.relative_cost - least).abs() < 1e-12 && row.planned.relative_cost <= 1.0 + 1e-12);
        }
    }
}
