//! The cheapest plan that keeps the required recall: exits, and a chain of tests behind them (pure).

use std::borrow::Cow;

use super::exits::ExitSearch;
use super::expect::{ChainLink, Coherence, Expectation};
use super::plan::{ChainPlan, ExitLink, PlanConstraints, PlanKind};
use super::setting::{ExitBasis, PassedPoints, Setting};
use crate::calibration::{CalibrationError, JointScores, OperatingPoint, OperatingPoints};
use crate::cost::StageCosts;

/// Searches for the cheapest plan that keeps the required recall.
///
/// A plan uses some exits of the network, or none, and a chain of tests for the items that pass
/// them. The sizes of a chain are calibrated arities, and each divides the one before. All shares
/// are 0 to 1. Costs are per item, in the unit of the [`StageCosts`]. Expectations use the default
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
/// let costs =
///     StageCosts { items: vec![0.1], last: vec![(1, 0.9)], ..StageCosts::default() };
/// let constraints =
///     PlanConstraints { recall_loss: 0.02, largest: 16, ..PlanConstraints::default() };
/// let planner = Planner::new(points, costs, constraints)?;
/// assert_eq!(planner.best(0.001).sizes()[0], 16);
/// assert!(planner.best(0.5).is_individual());
/// # Ok::<(), dorfman_core::calibration::CalibrationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Planner {
    costs: StageCosts,
    coherence: Coherence,
    constraints: PlanConstraints,
    /// The individual test at the required sensitivity.
    alone: ChainLink,
    exits: Option<(ExitBasis, usize)>,
    /// The first one has no exit in use.
    settings: Vec<Setting>,
    /// Whether plans must use the exits of the second setting.
    fixed: bool,
}

impl Planner {
    /// A planner for tests with these operating points and costs (seconds or multiply-adds), for a
    /// network without exits.
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
        let settings = vec![Setting::without_exits(points, &costs, alone)];
        let coherence = Coherence::default();
        let (exits, fixed) = (None, false);
        Ok(Self { costs, coherence, constraints, alone, exits, settings, fixed })
    }

    /// Adds the exits of the network: their `joint` scores, and operating points of tests of images
    /// that `passed` all exits, at several sensitivities. Without the latter, tests of
    /// images that pass are expected to be as good as tests of all images.
    ///
    /// # Errors
    /// [`CalibrationError::Sensitivity`] if the joint scores lack an operating point of the
    /// individual test for [`PlanConstraints::individual_sensitivity`].
    pub fn with_exits(
        mut self,
        joint: JointScores,
        mut passed: Vec<PassedPoints>,
    ) -> Result<Self, CalibrationError> {
        let sensitivity = self.constraints.individual_sensitivity;
        let missing = CalibrationError::Sensitivity { arity: 1, sensitivity };
        let individual = joint.individual_point(sensitivity).ok_or(missing)?;
        passed.sort_by(|a, b| a.negatives.total_cmp(&b.negatives));
        let basis = ExitBasis { joint, passed };
        self.settings.truncate(1);
        let (all, loss) = (&self.settings[0].points, self.constraints.recall_loss);
        let search = ExitSearch::new(&basis, &self.costs, all, self.alone, individual, loss)
            .with_price(self.recall_price());
        let found = search.settings();
        self.settings.extend(found);
        self.exits = Some((basis, individual));
        Ok(self)
    }

    /// Plans with exactly these exits, whatever they cost and lose. Exits that the network does not
    /// have are left out.
    pub fn with_fixed_exits(mut self, exits: &[ExitLink]) -> Self {
        let setting = self.setting(exits).into_owned();
        self.settings.truncate(1);
        self.settings.push(setting);
        self.fixed = true;
        self
    }

    /// The operating points of tests of all images, for all calibrated arities.
    pub fn operating_points(&self) -> &OperatingPoints {
        &self.settings[0].points
    }

    /// The costs of the network's stages, from which the costs of tests follow.
    pub fn costs(&self) -> &StageCosts {
        &self.costs
    }

    /// The number of positives by which exits are calibrated. `None` for a network without exits.
    pub fn exit_positives(&self) -> Option<u64> {
        self.exits.as_ref().map(|(basis, _)| basis.joint.positives())
    }

    /// The largest group size of a plan, in items: the smaller of [`PlanConstraints::largest`] and
    /// the largest calibrated arity.
    pub fn largest(&self) -> usize {
        let calibrated = self.operating_points().arities().last().map_or(1, |entry| entry.arity);
        self.constraints.largest.min(calibrated)
    }

    /// The expectation of a chain without exits at `prevalence` (0 to 1), as the function
    /// [`super::expected`] gives it for the planner's costs.
    ///
    /// # Panics
    /// As [`super::expected`].
    pub fn expected_chain(&self, chain: &[ChainLink], prevalence: f64) -> Expectation {
        self.settings[0].expected(chain, prevalence, self.coherence)
    }

    /// The expectation of a plan at `prevalence` (0 to 1), for the planner's costs. Exits that the
    /// network does not have are ignored.
    ///
    /// # Panics
    /// As [`super::expected`].
    pub fn expected(&self, plan: &ChainPlan, prevalence: f64) -> Expectation {
        self.setting(&plan.exits).expected(&plan.chain, prevalence, self.coherence)
    }

    /// A planner of the items that pass some exits: its prevalences, costs and recalls are those of
    /// these items. It has no exits of its own, and may lose what the exits leave of the allowed
    /// loss.
    pub fn behind(&self, exits: &[ExitLink]) -> Self {
        let setting = self.setting(exits).into_owned();
        let recall = self.least_recall() / setting.positives_passed().max(1e-9);
        let recall_loss = (setting.alone.point.sensitivity - recall).max(0.0);
        let costs = setting.after_costs().clone();
        Self {
            constraints: PlanConstraints { recall_loss, ..self.constraints },
            coherence: self.coherence,
            alone: setting.alone,
            exits: None,
            fixed: false,
            settings: vec![Setting::without_exits(setting.points, &costs, setting.alone)],
            costs,
        }
    }

    /// The share of positives among the items that pass some exits, at `prevalence` (0 to 1) among
    /// all items.
    pub fn prevalence_behind(&self, exits: &[ExitLink], prevalence: f64) -> f64 {
        self.setting(exits).prevalence_behind(prevalence)
    }

    /// The plan of some exits and of tests of `sizes`, which fall to 1 and divide each other.
    /// Pooled tests have a sensitivity of at least `pooled` (0 to 1). `None` if the bundle is not
    /// calibrated for it. A sensitivity that tests of what passes do not reach is lowered to the
    /// highest calibrated one. A size that was not measured on what passes has the operating point
    /// of all images.
    pub fn plan_of(
        &self,
        exits: &[ExitLink],
        sizes: &[usize],
        pooled: f64,
        prevalence: f64,
    ) -> Option<ChainPlan> {
        let divides = |pair: &[usize]| pair[0] > pair[1] && pair[0].is_multiple_of(pair[1]);
        if sizes.last() != Some(&1) || !sizes.windows(2).all(divides) {
            return None;
        }
        let setting = self.setting(exits);
        let link = |&size: &usize| {
            if size == 1 {
                return Some(setting.alone);
            }
            let points = &setting.points;
            let measured =
                points.at(size, pooled).or_else(|| points.of(size)?.points.last().copied());
            let point = measured.or_else(|| self.operating_points().at(size, pooled));
            Some(ChainLink { size, point: point? })
        };
        let chain: Option<Vec<ChainLink>> = sizes.iter().map(link).collect();
        Some(self.plan(&setting, chain?, prevalence))
    }

    /// The setting of some exits.
    fn setting(&self, exits: &[ExitLink]) -> Cow<'_, Setting> {
        if let Some(known) = self.settings.iter().find(|setting| setting.exits == exits) {
            return Cow::Borrowed(known);
        }
        let Some((basis, individual)) = &self.exits else {
            return Cow::Borrowed(&self.settings[0]);
        };
        let used = basis.joint.exits().iter().map(|exit| {
            let link = exits.iter().find(|link| link.part == exit.part)?;
            exit.sensitivities.iter().position(|&s| s >= link.sensitivity - 1e-9)
        });
        let used: Vec<Option<usize>> = used.collect();
        let all = self.operating_points();
        let setting = Setting::with_exits(basis, &used, &self.costs, all, self.alone, *individual);
        Cow::Owned(setting)
    }

    /// The cost of losing all positives, in the unit of the costs.
    fn recall_price(&self) -> f64 {
        self.constraints.recall_price * self.costs.individual()
    }

    /// The cost of a plan per item with the price of the recall that it loses in comparison with
    /// individual testing. The best plan has the least.
    pub fn priced(&self, expected: &Expectation) -> f64 {
        let lost = (self.alone.point.sensitivity - expected.recall).max(0.0);
        expected.cost + self.recall_price() * lost
    }

    /// The least recall of a plan: the recall of individual testing minus
    /// [`PlanConstraints::recall_loss`] and a tolerance of 1e-9.
    pub fn least_recall(&self) -> f64 {
        // Rounding errors must not exclude a plan.
        self.alone.point.sensitivity - self.constraints.recall_loss - 1e-9
    }

    /// The plan with the least priced cost ([`Planner::priced`]) at `prevalence` (0 to 1) over all
    /// exits and all chains of calibrated sizes within the constraints, including individual
    /// testing. For each chain, the sensitivities are chosen as in [`Planner::best_of_size`].
    ///
    /// # Panics
    /// If the span of a tier of the costs is 0.
    pub fn best(&self, prevalence: f64) -> ChainPlan {
        self.best_of(&self.settings[usize::from(self.fixed)..], prevalence, true)
    }

    /// The cheapest plan of `kind` at `prevalence` (0 to 1). `None` if there is none that keeps the
    /// required recall. A plan of kind [`PlanKind::Both`] or [`PlanKind::Pooled`] may test every
    /// item alone that reaches the tests, if that is cheapest.
    ///
    /// # Panics
    /// If the span of a tier of the costs is 0.
    pub fn best_of_kind(&self, kind: PlanKind, prevalence: f64) -> Option<ChainPlan> {
        let (settings, pooled) = match kind {
            PlanKind::Individual => (&self.settings[..1], false),
            PlanKind::Pooled => (&self.settings[..1], true),
            PlanKind::Exits => (&self.settings[1..], false),
            PlanKind::Both => (&self.settings[1..], true),
        };
        (!settings.is_empty()).then(|| self.best_of(settings, prevalence, pooled))
    }

    /// The cheapest plan at `prevalence` (0 to 1) with exactly one exit and no pooling: the plain
    /// cascade. `None` if no exit keeps the required recall.
    ///
    /// # Panics
    /// If the span of a tier of the costs is 0.
    pub fn cascade(&self, prevalence: f64) -> Option<ChainPlan> {
        let single = self.settings.iter().filter(|setting| setting.exits.len() == 1);
        let single: Vec<Setting> = single.cloned().collect();
        (!single.is_empty()).then(|| self.best_of(&single, prevalence, false))
    }

    /// The cheapest plan of some settings, at least one.
    fn best_of(&self, settings: &[Setting], prevalence: f64, pooled: bool) -> ChainPlan {
        let alone = |setting| self.plan(setting, vec![setting.alone], prevalence);
        let mut best = alone(&settings[0]);
        for setting in &settings[1..] {
            let plan = alone(setting);
            if self.priced(&plan.expected) < self.priced(&best.expected) {
                best = plan;
            }
        }
        for setting in settings.iter().filter(|_| pooled) {
            let sizes = setting.points.arities().iter().map(|entry| entry.arity);
            for size in sizes.filter(|&size| size > 1 && size <= self.constraints.largest) {
                // The cost of the first round is a lower bound that avoids most of the search.
                if setting.least_cost(size, prevalence) >= self.priced(&best.expected) {
                    continue;
                }
                let cheapest = self.best_of_size_in(setting, size, prevalence);
                let cheaper =
                    |plan: &ChainPlan| self.priced(&plan.expected) < self.priced(&best.expected);
                if let Some(plan) = cheapest.filter(cheaper) {
                    best = plan;
                }
            }
        }
        best
    }

    /// The cheapest plan without exits at `prevalence` (0 to 1) whose groups have `size` items.
    /// `None` if no chain keeps the required recall, or the size is not calibrated. `size` may
    /// exceed [`PlanConstraints::largest`].
    ///
    /// Each chain starts with the highest calibrated sensitivity at every size above 1. The
    /// sensitivity that saves most cost per lost recall is lowered, until none can be lowered. This
    /// search is greedy, so a cheaper combination of sensitivities may exist.
    ///
    /// # Panics
    /// If the span of a tier of the costs is 0.
    pub fn best_of_size(&self, size: usize, prevalence: f64) -> Option<ChainPlan> {
        self.best_of_size_in(&self.settings[0], size, prevalence)
    }

    fn best_of_size_in(
        &self,
        setting: &Setting,
        size: usize,
        prevalence: f64,
    ) -> Option<ChainPlan> {
        let sizes: Vec<usize> = setting.points.arities().iter().map(|entry| entry.arity).collect();
        let mut chains = Vec::new();
        extend(&mut vec![size], &sizes, self.constraints.rounds.max(1), &mut chains);
        let plans = chains
            .iter()
            .filter_map(|chain| self.cheapest_sensitivities(setting, chain, prevalence));
        plans.min_by(|a, b| self.priced(&a.expected).total_cmp(&self.priced(&b.expected)))
    }

    /// For one chain, the cheapest sensitivities that keep the required recall. All sizes start at
    /// their highest calibrated sensitivity. The sensitivity that saves most per lost recall is
    /// lowered, until none can be lowered. `None` if even the highest sensitivities lose too much
    /// recall.
    fn cheapest_sensitivities(
        &self,
        setting: &Setting,
        sizes: &[usize],
        prevalence: f64,
    ) -> Option<ChainPlan> {
        let least = self.least_recall();
        let pools = &sizes[..sizes.len() - 1];
        let points: Option<Vec<&[OperatingPoint]>> =
            pools.iter().map(|&m| Some(&setting.points.of(m)?.points[..])).collect();
        let points = points?;
        let build = |picked: &[usize]| {
            let pool = |level: usize| ChainLink {
                size: pools[level],
                point: points[level][picked[level]],
            };
            let chain = (0..pools.len()).map(pool).chain([setting.alone]).collect();
            self.plan(setting, chain, prevalence)
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
                let saved = self.priced(&best.expected) - self.priced(&plan.expected);
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

    fn plan(&self, setting: &Setting, chain: Vec<ChainLink>, prevalence: f64) -> ChainPlan {
        ChainPlan {
            expected: setting.expected(&chain, prevalence, self.coherence),
            exits: setting.exits.clone(),
            measured_at: setting.measured_at,
            flow: (!setting.exits.is_empty()).then(|| setting.flow()),
            chain,
        }
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
mod tests;
