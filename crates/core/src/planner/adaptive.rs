//! Adapts the plan to the present prevalence of a stream (pure).

use super::expect::Expectation;
use super::plan::ChainPlan;
use super::prevalence::PrevalenceEstimate;
use super::search::Planner;

/// How an adaptive planner estimates the prevalence (the share of positives among the items), and
/// when it changes its plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReplanRule {
    /// The first estimate of the prevalence, above 0 and below 1.
    pub prevalence: f64,
    /// Items that the estimate of the prevalence remembers, above 0: an item that long ago weighs
    /// 1/e of the newest.
    pub memory: f64,
    /// How much cheaper another plan must be before it replaces the present plan, as a share of the
    /// present plan's expected cost, 0 to 1. A present plan that loses too much recall is replaced
    /// regardless of costs.
    pub gain: f64,
}

/// Verdicts that a caller should collect before it calls [`AdaptivePlanner::observe`]. Fewer
/// verdicts carry little information, and each update costs time. `observe` itself accepts any
/// number.
pub const VERDICTS_PER_UPDATE: u64 = 500;

/// The factor by which the estimate must differ from the prevalence of the last search before the
/// next search.
const REPLAN_FACTOR: f64 = 1.2;

/// Estimates the prevalence from verdicts, and changes the plan when another plan is cheaper.
///
/// The best plan is searched again only when the estimate differs by a factor of at least 1.2 from
/// the prevalence of the last search.
///
/// ```
/// use dorfman_core::calibration::{ArityPoints, OperatingPoint, OperatingPoints};
/// use dorfman_core::cost::StageCosts;
/// use dorfman_core::planner::{AdaptivePlanner, PlanConstraints, Planner, ReplanRule};
///
/// let point = OperatingPoint { sensitivity: 0.99, specificity: 0.99 };
/// let entry = |arity| ArityPoints { arity, points: vec![point] };
/// let points = OperatingPoints::new([1, 4, 16].map(entry).into())?;
/// let costs = StageCosts { items: vec![0.1], last: vec![(1, 0.9)], ..StageCosts::default() };
/// let constraints =
///     PlanConstraints { recall_loss: 0.02, largest: 16, ..PlanConstraints::default() };
/// let planner = Planner::new(points, costs, constraints)?;
/// let rule = ReplanRule { prevalence: 0.001, memory: 10_000.0, gain: 0.03 };
/// let mut adaptive = AdaptivePlanner::new(planner, rule);
/// assert_eq!(adaptive.plan().sizes()[0], 16);
/// // Half of the items are flagged from now on: pooling no longer pays.
/// (0..100).for_each(|_| { adaptive.observe(1000, 500); });
/// assert!(adaptive.plan().is_individual());
/// # Ok::<(), dorfman_core::calibration::CalibrationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct AdaptivePlanner {
    planner: Planner,
    rule: ReplanRule,
    prevalence: PrevalenceEstimate,
    planned_for: f64,
    plan: ChainPlan,
    /// Whether the plan is new: the next verdicts still come from the plan before.
    new: bool,
}

impl AdaptivePlanner {
    /// An adaptive planner with the best plan for [`ReplanRule::prevalence`].
    pub fn new(planner: Planner, rule: ReplanRule) -> Self {
        let plan = planner.best(rule.prevalence);
        let prevalence = PrevalenceEstimate::new(rule.prevalence, rule.memory);
        Self { planner, rule, prevalence, planned_for: rule.prevalence, plan, new: false }
    }

    /// The planner that searches plans.
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    /// The present plan.
    pub fn plan(&self) -> &ChainPlan {
        &self.plan
    }

    /// The estimated prevalence, 1e-6 to 1 - 1e-6.
    pub fn prevalence(&self) -> f64 {
        self.prevalence.mean()
    }

    /// The expectation of the present plan at the estimated prevalence.
    pub fn expected(&self) -> Expectation {
        self.planner.expected(&self.plan, self.prevalence())
    }

    /// The expected cost of the present plan at the estimated prevalence, divided by that of
    /// individual testing. 1 means no saving.
    pub fn relative_cost(&self) -> f64 {
        self.expected().cost / self.planner.costs().individual()
    }

    /// Records that `items` items have their verdict and that the plan flagged `flagged` of them
    /// (before any confirm network). Returns whether the plan changed.
    ///
    /// The first call with items after a change is ignored, because its verdicts still come from
    /// the plan before.
    pub fn observe(&mut self, items: u64, flagged: u64) -> bool {
        if items == 0 || std::mem::take(&mut self.new) {
            return false;
        }
        let now = self.expected();
        self.prevalence.observe(items, flagged, now.recall, now.fpr);
        let (estimate, planned_for) = (self.prevalence(), self.planned_for);
        if estimate < planned_for * REPLAN_FACTOR && estimate > planned_for / REPLAN_FACTOR {
            return false;
        }
        self.planned_for = estimate;
        let (best, present) = (self.planner.best(estimate), self.expected());
        let recall_holds = present.recall >= self.planner.least_recall();
        let (cheapest, cost) = (self.planner.priced(&best.expected), self.planner.priced(&present));
        let little_gain = cheapest > cost * (1.0 - self.rule.gain);
        if recall_holds && little_gain {
            return false;
        }
        let changed = best.chain != self.plan.chain || best.exits != self.plan.exits;
        self.plan = best;
        self.new = changed;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{ArityPoints, OperatingPoint, OperatingPoints};
    use crate::cost::StageCosts;
    use crate::planner::PlanConstraints;

    fn adaptive(gain: f64) -> AdaptivePlanner {
        let entry = |arity: usize| {
            let point = |s: f64| OperatingPoint {
                sensitivity: s,
                specificity: 1.0 - 0.03 * (1.0 - s).powf(-0.25) * arity as f64 / 32.0,
            };
            ArityPoints { arity, points: [0.98, 0.99, 0.995].map(point).into() }
        };
        let points = OperatingPoints::new([1, 2, 4, 8, 16, 32].map(entry).into()).unwrap();
        let costs = StageCosts { items: vec![0.1], last: vec![(1, 0.9)], ..StageCosts::default() };
        let constraints = PlanConstraints {
            individual_sensitivity: 0.99,
            recall_loss: 0.01,
            recall_price: 0.0,
            largest: 32,
            rounds: 4,
        };
        let planner = Planner::new(points, costs, constraints).unwrap();
        AdaptivePlanner::new(planner, ReplanRule { prevalence: 0.001, memory: 20_000.0, gain })
    }

    /// Feeds the verdicts of `items` items at `prevalence`, 1,000 at a time. Returns how often the
    /// plan changed.
    fn feed(adaptive: &mut AdaptivePlanner, prevalence: f64, items: u64) -> usize {
        let mut owed = 0.0;
        let mut part = || {
            let e = adaptive.planner.expected(adaptive.plan(), prevalence);
            owed += 1000.0 * (prevalence * e.recall + (1.0 - prevalence) * e.fpr);
            let flagged = owed as u64;
            owed -= flagged as f64;
            adaptive.observe(1000, flagged)
        };
        (0..items / 1000).filter(|_| part()).count()
    }

    #[test]
    fn the_plan_follows_the_stream() {
        let mut adaptive = adaptive(0.02);
        let before = adaptive.plan().sizes();
        feed(&mut adaptive, 0.15, 200_000);
        assert!((adaptive.prevalence() / 0.15 - 1.0).abs() < 0.02, "{}", adaptive.prevalence());
        assert!(adaptive.plan().sizes()[0] < before[0]);
        feed(&mut adaptive, 0.5, 200_000);
        assert!(adaptive.plan().is_individual());
        feed(&mut adaptive, 0.001, 400_000);
        // The plan may differ from the first one, but must cost nearly the same.
        let first = adaptive.planner.best(0.001);
        assert!(
            adaptive.plan().sizes()[0] > 8 && adaptive.expected().cost < first.expected.cost * 1.03
        );
    }

    #[test]
    fn a_steady_stream_has_a_steady_plan() {
        let mut adaptive = adaptive(0.03);
        feed(&mut adaptive, 0.01, 200_000);
        assert_eq!(feed(&mut adaptive, 0.01, 1_000_000), 0);
    }

    #[test]
    fn small_gains_do_not_change_the_plan() {
        let mut adaptive = adaptive(0.9);
        let before = adaptive.plan().clone();
        assert_eq!(feed(&mut adaptive, 0.02, 200_000), 0);
        assert_eq!(adaptive.plan(), &before);
    }
}
