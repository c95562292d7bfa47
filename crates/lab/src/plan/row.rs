//! The plans of a bundle by prevalence (pure).

use dorfman_core::planner::{self, Bounds, ChainLink, ChainPlan, PlanKind, Planner};
use serde::Serialize;

/// What plans are made from.
#[derive(Debug)]
pub(super) struct PlanBasis {
    /// Searches for the plan of the lowest cost.
    pub planner: Planner,
    /// The same plans in multiply-adds, for comparison.
    pub macs: Planner,
}

/// A plan with its expectation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ExpectedPlan {
    /// In words, such as `16 > 4 > 1` or `exit 0 > individual`.
    pub plan: String,
    /// `individual`, `pooled`, `exits` or `both`.
    pub plan_kind: &'static str,
    /// The exits in use, in the order in which an image meets them.
    pub exits: Vec<ExpectedExit>,
    /// Images per test, from the first round to the last.
    pub sizes: Vec<usize>,
    /// The calibrated sensitivity of each size.
    pub sensitivities: Vec<f64>,
    /// Tests per image.
    pub tests_per_image: f64,
    /// Tests per image of each size.
    pub tests_by_size: Vec<f64>,
    /// The cost that is minimised, relative to individual testing.
    pub relative_cost: f64,
    /// Multiply-adds relative to individual testing.
    pub relative_macs: f64,
    /// Share of positives that are flagged.
    pub recall: f64,
    /// Share of negatives that are flagged.
    pub fpr: f64,
}

/// An exit in use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ExpectedExit {
    /// `screen`, or the number of the stage.
    pub exit: String,
    /// Its calibrated sensitivity.
    pub sensitivity: f64,
    /// Share of the images that it scores which it clears.
    pub cleared: f64,
}

/// The costs of tests without error, relative to individual testing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct RelativeBounds {
    /// Tests per image that the entropy of the prevalence requires.
    pub entropy_tests_per_image: f64,
    /// Their cost.
    pub entropy: f64,
    /// Two rounds.
    pub dorfman: f64,
    /// The group size of two rounds.
    pub dorfman_size: usize,
    /// The best nested procedure.
    pub nested: f64,
    /// The group size of the best nested procedure.
    pub nested_size: usize,
}

/// The plans for one prevalence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct PlanRow {
    /// Share of positives.
    pub prevalence: f64,
    /// The cheapest plan.
    pub planned: ExpectedPlan,
    /// The cheapest plan without exits.
    pub pooled: ExpectedPlan,
    /// The cheapest plan with exits and without pooling. `None` without exits that keep the recall.
    pub exits: Option<ExpectedPlan>,
    /// The cheapest plan with one exit and without pooling: the plain cascade.
    pub cascade: Option<ExpectedPlan>,
    /// The configured plan, if it is a chain for which the bundle is calibrated.
    pub configured: Option<ExpectedPlan>,
    /// The costs of tests without error.
    pub bounds: RelativeBounds,
}

impl PlanBasis {
    /// The plans for a prevalence.
    pub fn row(&self, prevalence: f64, configured: Option<&[ChainLink]>) -> PlanRow {
        let planned = self.expect(&self.planner.best(prevalence), prevalence);
        let configured = configured.map(|chain| {
            let expected = self.planner.expected_chain(chain, prevalence);
            self.expect(&ChainPlan::without_exits(chain.to_vec(), expected), prevalence)
        });
        let of_kind = |kind| {
            self.planner.best_of_kind(kind, prevalence).map(|plan| self.expect(&plan, prevalence))
        };
        let cascade = self.planner.cascade(prevalence);
        let bounds = planner::bounds(prevalence, self.planner.largest(), self.planner.costs());
        PlanRow {
            prevalence,
            pooled: of_kind(PlanKind::Pooled).unwrap_or_else(|| planned.clone()),
            exits: of_kind(PlanKind::Exits),
            cascade: cascade.map(|plan| self.expect(&plan, prevalence)),
            planned,
            configured,
            bounds: self.relative(bounds),
        }
    }

    /// For each calibrated group size, the cost of the cheapest plan that starts with it, relative
    /// to individual testing: (size, cost).
    pub fn by_size(&self, prevalence: f64) -> Vec<(usize, f64)> {
        let sizes = self.planner.operating_points().arities().iter().map(|entry| entry.arity);
        let cheapest = |size| {
            let plan = self.planner.best_of_size(size, prevalence)?;
            Some((size, plan.expected.cost / self.individual()))
        };
        sizes.filter(|&size| size <= self.planner.largest()).filter_map(cheapest).collect()
    }

    fn individual(&self) -> f64 {
        self.planner.costs().individual()
    }

    fn expect(&self, plan: &ChainPlan, prevalence: f64) -> ExpectedPlan {
        let e = &plan.expected;
        let exit = |(link, share): (&planner::ExitLink, &planner::ExitShare)| ExpectedExit {
            exit: link.part.to_string(),
            sensitivity: link.sensitivity,
            cleared: if share.scored > 0.0 { share.cleared / share.scored } else { 0.0 },
        };
        ExpectedPlan {
            plan: plan.describe(),
            plan_kind: plan.kind().name(),
            exits: plan.exits.iter().zip(&e.exits).map(exit).collect(),
            sizes: plan.sizes(),
            sensitivities: plan.chain.iter().map(|link| link.point.sensitivity).collect(),
            tests_per_image: e.tests.iter().sum(),
            tests_by_size: e.tests.clone(),
            relative_cost: e.cost / self.individual(),
            relative_macs: self.macs.expected(plan, prevalence).cost
                / self.macs.costs().individual(),
            recall: e.recall,
            fpr: e.fpr,
        }
    }

    fn relative(&self, b: Bounds) -> RelativeBounds {
        let individual = self.individual();
        RelativeBounds {
            entropy_tests_per_image: b.entropy,
            entropy: (b.entropy_cost / individual).min(1.0),
            dorfman: b.dorfman_cost / individual,
            dorfman_size: b.dorfman_size,
            nested: b.nested_cost / individual,
            nested_size: b.nested_size,
        }
    }
}

#[cfg(test)]
mod tests {
    use dorfman_core::calibration::{ArityPoints, OperatingPoint, OperatingPoints};
    use dorfman_core::cost::StageCosts;
    use dorfman_core::planner::PlanConstraints;
    use dorfman_core::policy::{PlanSpec, PolicyKind};

    use super::super::{ConfiguredPlan, configured_chain};
    use super::*;

    fn configured(group_size: usize) -> ConfiguredPlan {
        let policy = PolicyKind::MultiRound;
        let spec = PlanSpec { policy, group_size, chain: vec![4], worth: 500.0 };
        ConfiguredPlan { spec, pooled_sensitivity: 0.99, individual_sensitivity: 0.99 }
    }

    #[test]
    fn the_cheapest_plan_costs_at_most_as_much_as_the_configured_one() {
        let point = OperatingPoint { sensitivity: 0.99, specificity: 0.98 };
        let entry = |arity| ArityPoints { arity, points: vec![point] };
        let points = OperatingPoints::new([1, 4, 16].map(entry).into()).unwrap();
        let costs = StageCosts { items: vec![0.1], last: vec![(1, 0.9)], ..StageCosts::default() };
        let constraints = PlanConstraints {
            individual_sensitivity: 0.99,
            recall_loss: 0.05,
            recall_price: 0.0,
            largest: 64,
            rounds: 5,
        };
        let chain = configured_chain(&points, &configured(16)).unwrap();
        assert_eq!(chain.iter().map(|l| l.size).collect::<Vec<_>>(), [16, 4, 1]);
        assert!(configured_chain(&points, &configured(6)).is_none(), "6 is not calibrated");
        let planner = Planner::new(points, costs, constraints).unwrap();
        let basis = PlanBasis { macs: planner.clone(), planner };
        for p in [0.001, 0.01, 0.1, 0.3] {
            let row = basis.row(p, Some(&chain));
            let least = basis.by_size(p).iter().map(|s| s.1).fold(f64::INFINITY, f64::min);
            let planned = row.planned.relative_cost;
            assert!(planned <= row.configured.unwrap().relative_cost + 1e-12);
            assert!((planned - least).abs() < 1e-12 && planned <= 1.0 + 1e-12);
        }
    }
}
