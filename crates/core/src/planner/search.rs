//! The cheapest chain of tests that keeps the required recall (pure).

use super::expect::{ChainLink, Coherence, Expectation, expected};
use crate::calibration::{CalibrationError, OperatingPoint, OperatingPoints};
use crate::cost::StageCosts;

/// Constraints on plans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanConstraints {
    /// The least sensitivity of the individual test, 0 to 1. The test uses the calibrated point
    /// with the smallest sensitivity that reaches it. The individual test decides the flags, and
    /// its sensitivity is the recall of individual testing.
    pub individual_sensitivity: f64,
    /// The share of all positives that grouped testing may miss in addition to individual testing,
    /// 0 to 1, such as 0.005.
    pub recall_loss: f64,
    /// The largest group size, in items. Individual testing is always allowed.
    pub largest: usize,
    /// The largest number of rounds, which is the number of sizes of a chain. 0 counts as 1, which
    /// allows only individual testing.
    pub rounds: usize,
}

/// A chain of tests with its expectation.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainPlan {
    /// The sizes of the tests, falling to 1, each with the operating point of its threshold. At
    /// least one.
    pub chain: Vec<ChainLink>,
    /// The expected cost and results at the prevalence for which the plan was made.
    pub expected: Expectation,
}

impl ChainPlan {
    /// The sizes of the tests, in items, falling to 1.
    pub fn sizes(&self) -> Vec<usize> {
        self.chain.iter().map(|link| link.size).collect()
    }

    /// The sensitivity of tests of `arity` items, 0 to 1: that of the smallest size of the chain
    /// that is at least `arity`, or else of the largest size.
    ///
    /// # Panics
    /// If the chain is empty.
    pub fn sensitivity(&self, arity: usize) -> f64 {
        let holds = self.chain.iter().rev().find(|link| link.size >= arity);
        holds.unwrap_or(&self.chain[0]).point.sensitivity
    }

    /// The plan in words, such as `16 > 4 > 1` or `individual`.
    pub fn describe(&self) -> String {
        if self.is_individual() {
            return "individual".into();
        }
        self.sizes().iter().map(usize::to_string).collect::<Vec<_>>().join(" > ")
    }

    /// Whether the plan tests every item alone.
    pub fn is_individual(&self) -> bool {
        self.chain.len() == 1
    }
}

/// Searches for the cheapest chain of tests that keeps the required recall.
///
/// The sizes of a chain are calibrated arities, and each divides the one before. All shares are 0
/// to 1. Costs are per item, in the unit of the [`StageCosts`]. Expectations use the default
/// [`Coherence`].
///
/// ```
/// use dorfman_core::calibration::{ArityPoints, OperatingPoint, OperatingPoints};
/// use dorfman_core::cost::StageCosts;
/// use dorfman_core::planner::{PlanConstraints, Planner};
///
/// let point = OperatingPoint { sensitivity: 0.99, specificity: 0.99 };
/// let entry = |arity| ArityPoints { arity, points: vec![point] };
/// let points = OperatingPoints::new([1, 4, 16].map(entry).into())?;
/// let costs = StageCosts { item: 0.1, tiers: vec![], last: vec![(1, 0.9)] };
/// let constraints =
///     PlanConstraints { individual_sensitivity: 0.99, recall_loss: 0.02, largest: 16, rounds: 3 };
/// let planner = Planner::new(points, costs, constraints)?;
/// assert_eq!(planner.best(0.001).sizes()[0], 16);
/// assert!(planner.best(0.5).is_individual());
/// # Ok::<(), dorfman_core::calibration::CalibrationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Planner {
    points: OperatingPoints,
    costs: StageCosts,
    coherence: Coherence,
    constraints: PlanConstraints,
    /// The individual test at the required sensitivity.
    alone: ChainLink,
}

impl Planner {
    /// A planner for tests with these operating points and costs (seconds or multiply-adds).
    ///
    /// # Errors
    /// [`CalibrationError::Sensitivity`] if the individual test is not calibrated for
    /// [`PlanConstraints::individual_sensitivity`].
    pub fn new(
        points: OperatingPoints,
        costs: StageCosts,
        constraints: PlanConstraints,
    ) -> Result<Self, CalibrationError> {
        let sensitivity = constraints.individual_sensitivity;
        let missing = CalibrationError::Sensitivity { arity: 1, sensitivity };
        let alone = ChainLink { size: 1, point: points.at(1, sensitivity).ok_or(missing)? };
        Ok(Self { points, costs, coherence: Coherence::default(), constraints, alone })
    }

    /// The operating points of tests of all calibrated arities.
    pub fn operating_points(&self) -> &OperatingPoints {
        &self.points
    }

    /// The costs of the network's stages, from which the costs of tests follow.
    pub fn costs(&self) -> &StageCosts {
        &self.costs
    }

    /// The largest group size of a plan, in items: the smaller of [`PlanConstraints::largest`] and
    /// the largest calibrated arity.
    pub fn largest(&self) -> usize {
        let calibrated = self.points.arities().last().map_or(1, |entry| entry.arity);
        self.constraints.largest.min(calibrated)
    }

    /// The expectation of a chain at `prevalence` (0 to 1), as the function [`expected`] gives it
    /// for the planner's costs.
    ///
    /// # Panics
    /// As [`expected`].
    pub fn expected(&self, chain: &[ChainLink], prevalence: f64) -> Expectation {
        expected(chain, prevalence, self.coherence, &self.costs)
    }

    /// The least recall of a plan at `prevalence` (0 to 1): the recall of individual testing minus
    /// [`PlanConstraints::recall_loss`] and a tolerance of 1e-9.
    pub fn least_recall(&self, prevalence: f64) -> f64 {
        // Rounding errors must not exclude a plan.
        self.expected(&[self.alone], prevalence).recall - self.constraints.recall_loss - 1e-9
    }

    /// The cheapest plan at `prevalence` (0 to 1) over all chains of calibrated sizes within the
    /// constraints, including individual testing. For each chain, the sensitivities are chosen as
    /// in [`Planner::best_of_size`].
    ///
    /// # Panics
    /// If the span of a tier of the costs is 0.
    pub fn best(&self, prevalence: f64) -> ChainPlan {
        let mut best = self.plan(vec![self.alone], prevalence);
        let sizes = self.points.arities().iter().map(|entry| entry.arity);
        for size in sizes.filter(|&size| size <= self.constraints.largest) {
            // The cost of the first round is a lower bound that avoids most of the search.
            if self.costs.first(size) / size as f64 >= best.expected.cost {
                continue;
            }
            let cheapest = self.best_of_size(size, prevalence);
            if let Some(plan) = cheapest.filter(|plan| plan.expected.cost < best.expected.cost) {
                best = plan;
            }
        }
        best
    }

    /// The cheapest plan at `prevalence` (0 to 1) whose groups have `size` items. `None` if no
    /// chain keeps the required recall, or the size is not calibrated. `size` may exceed
    /// [`PlanConstraints::largest`].
    ///
    /// Each chain starts with the highest calibrated sensitivity at every size above 1. The
    /// sensitivity that saves most cost per lost recall is lowered, until none can be lowered. This
    /// search is greedy, so a cheaper combination of sensitivities may exist.
    ///
    /// # Panics
    /// If the span of a tier of the costs is 0.
    pub fn best_of_size(&self, size: usize, prevalence: f64) -> Option<ChainPlan> {
        let sizes: Vec<usize> = self.points.arities().iter().map(|entry| entry.arity).collect();
        let mut chains = Vec::new();
        extend(&mut vec![size], &sizes, self.constraints.rounds.max(1), &mut chains);
        let plans =
            chains.iter().filter_map(|chain| self.cheapest_sensitivities(chain, prevalence));
        plans.min_by(|a, b| a.expected.cost.total_cmp(&b.expected.cost))
    }

    /// For one chain, the cheapest sensitivities that keep the required recall. All sizes start at
    /// their highest calibrated sensitivity. The sensitivity that saves most per lost recall is
    /// lowered, until none can be lowered. `None` if even the highest sensitivities lose too much
    /// recall.
    fn cheapest_sensitivities(&self, sizes: &[usize], prevalence: f64) -> Option<ChainPlan> {
        let least = self.least_recall(prevalence);
        let pools = &sizes[..sizes.len() - 1];
        let points: Option<Vec<&[OperatingPoint]>> =
            pools.iter().map(|&m| Some(&self.points.of(m)?.points[..])).collect();
        let points = points?;
        let build = |picked: &[usize]| {
            let pool = |level: usize| ChainLink {
                size: pools[level],
                point: points[level][picked[level]],
            };
            self.plan((0..pools.len()).map(pool).chain([self.alone]).collect(), prevalence)
        };
        let mut picked: Vec<usize> = points.iter().map(|p| p.len() - 1).collect();
        let mut best = build(&picked);
        if best.expected.recall < least {
            return None;
        }
        loop {
            let lower = (0..pools.len()).filter(|&level| picked[level] > 0).filter_map(|level| {
                let mut tried = picked.clone();
                tried[level] -= 1;
                let plan = build(&tried);
                let saved = best.expected.cost - plan.expected.cost;
                let lost = (best.expected.recall - plan.expected.recall).max(1e-12);
                let allowed = plan.expected.recall >= least && saved > 0.0;
                allowed.then_some((saved / lost, tried, plan))
            });
            match lower.max_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((_, tried, plan)) => (picked, best) = (tried, plan),
                None => return Some(best),
            }
        }
    }

    fn plan(&self, chain: Vec<ChainLink>, prevalence: f64) -> ChainPlan {
        ChainPlan { expected: self.expected(&chain, prevalence), chain }
    }
}

/// Collects all chains that begin with `chain` and end in 1, each size dividing the one before.
fn extend(chain: &mut Vec<usize>, sizes: &[usize], rounds: usize, found: &mut Vec<Vec<usize>>) {
    let last = chain[chain.len() - 1];
    if last == 1 {
        return found.push(chain.clone());
    }
    let left = rounds.saturating_sub(chain.len());
    for &size in sizes.iter().filter(|&&s| s < last && last.is_multiple_of(s)) {
        if left == 0 || (left == 1 && size > 1) {
            continue;
        }
        chain.push(size);
        extend(chain, sizes, rounds, found);
        chain.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::ArityPoints;

    const CONSTRAINTS: PlanConstraints = PlanConstraints {
        individual_sensitivity: 0.99,
        recall_loss: 0.005,
        largest: 64,
        rounds: 6,
    };

    fn points(worse: f64) -> OperatingPoints {
        let entry = |arity: usize| {
            let points = [0.9, 0.98, 0.99, 0.995, 0.999].iter().enumerate();
            let specificity = |i: usize| {
                (1.0 - worse * 0.002 * (arity as f64).sqrt() * 2f64.powi(i as i32)).max(0.0)
            };
            ArityPoints {
                arity,
                points: points
                    .map(|(i, &sensitivity)| OperatingPoint {
                        sensitivity,
                        specificity: specificity(i),
                    })
                    .collect(),
            }
        };
        OperatingPoints::new([1, 2, 3, 4, 6, 8, 12, 16, 32].map(entry).into()).unwrap()
    }

    fn costs(share: f64) -> StageCosts {
        StageCosts { item: share, tiers: vec![], last: vec![(1, 1.0 - share)] }
    }

    fn planner(worse: f64, constraints: PlanConstraints) -> Planner {
        Planner::new(points(worse), costs(0.1), constraints).unwrap()
    }

    #[test]
    fn chains_divide_and_end_in_one() {
        let mut found = Vec::new();
        extend(&mut vec![12], &[1, 2, 3, 4, 6, 8, 12], 3, &mut found);
        assert_eq!(found.len(), 5, "{found:?}"); // 12>1, and 12>x>1 for 2, 3, 4, 6
        assert!(found.iter().all(|c| c.last() == Some(&1)
            && c.len() <= 3
            && c.windows(2).all(|w| w[0] % w[1] == 0)));
        let mut two = Vec::new();
        extend(&mut vec![12], &[1, 2, 3, 4, 6, 8, 12], 2, &mut two);
        assert_eq!(two, [[12, 1]]);
    }

    #[test]
    fn rare_positives_are_pooled_and_frequent_ones_are_not() {
        let plan = |p| planner(1.0, CONSTRAINTS).best(p);
        assert!(plan(0.0001).chain[0].size >= 16 && plan(0.0001).expected.cost < 0.25);
        assert!(plan(0.4).is_individual());
        assert!((plan(0.4).expected.cost - 1.0).abs() < 1e-12);
        let costs: Vec<f64> =
            [0.0001, 0.001, 0.01, 0.05, 0.1, 0.2].iter().map(|&p| plan(p).expected.cost).collect();
        assert!(costs.windows(2).all(|w| w[0] <= w[1]), "{costs:?}");
    }

    #[test]
    fn a_network_that_pools_badly_is_not_pooled() {
        let plan = |worse| planner(worse, CONSTRAINTS).best(0.001);
        assert!(!plan(1.0).is_individual() && plan(200.0).is_individual());
    }

    #[test]
    fn recall_is_kept() {
        for p in [0.0001, 0.001, 0.01, 0.1] {
            for loss in [0.0005, 0.002, 0.01, 0.05] {
                let constraints = PlanConstraints { recall_loss: loss, ..CONSTRAINTS };
                let plan = planner(1.0, constraints).best(p);
                assert!(plan.expected.recall >= 0.99 - loss - 1e-8, "{p} {loss}: {plan:?}");
            }
        }
    }

    #[test]
    fn a_sensitivity_that_is_not_calibrated_is_an_error() {
        let constraints = PlanConstraints { individual_sensitivity: 0.9999, ..CONSTRAINTS };
        let error = Planner::new(points(1.0), costs(0.1), constraints).unwrap_err();
        assert_eq!(error, CalibrationError::Sensitivity { arity: 1, sensitivity: 0.9999 });
    }
}
