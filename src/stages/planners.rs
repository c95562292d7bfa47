//! `group.size: auto`: adapts the exits and the plans of the risk bands to the stream.

use dorfman_core::engine::{BandPlan, BandStats, Stats};
use dorfman_core::planner::{
    AdaptivePlanner, ChainPlan, ExitLink, ExitShare, ReplanRule, VERDICTS_PER_UPDATE,
    describe_exits,
};
use dorfman_core::policy::MultiRound;
use dorfman_model::{Bundle, ExitRules};
use tracing::info;

use super::planner::{check_fixed, planner, uses_exits};
use crate::config::Config;
use crate::error::{WorkerError, setup};
use crate::model::Model;
use crate::ops::metrics::Metrics;

/// The planners of a worker.
///
/// With one risk band, one planner chooses the exits and the chain of tests together. With several
/// bands it chooses only the exits, for the whole stream, and one planner per band chooses the
/// chain for the items of the band that pass the exits.
pub(crate) struct Planners {
    whole: AdaptivePlanner,
    /// What `whole` has observed.
    seen: BandStats,
    /// Empty with one band.
    bands: Vec<BandPlanner>,
    rule: ReplanRule,
    bundle: Bundle,
    /// Whether exits may be used.
    uses_exits: bool,
    individual_sensitivity: f64,
    /// The least risk of the first band, as metrics name it.
    first_band: String,
}

/// What has changed.
#[derive(Default)]
pub(crate) struct Changes {
    /// The rules of the exits, if they have changed.
    pub exits: Option<ExitRules>,
    /// The risk bands with a new plan, counted from 0.
    pub bands: Vec<(usize, BandPlan)>,
}

/// The adaptive planner of one band of several.
struct BandPlanner {
    planner: AdaptivePlanner,
    /// The least risk of the band, as metrics name it.
    band: String,
    seen: BandStats,
}

impl Planners {
    /// The planners of the configured risk bands. Costs are seconds if there is a profile, or else
    /// multiply-adds.
    ///
    /// # Errors
    /// [`WorkerError::Setup`] if the bundle's calibration does not suffice for planning.
    pub(crate) fn new(config: &Config, model: &Model) -> Result<Self, WorkerError> {
        let missing = "`group.size` is auto, but the network has no calibration to plan with";
        let bundle = model.calibrated.clone().ok_or(WorkerError::Setup(missing.into()))?;
        check_fixed(config, &bundle)?;
        let rule = config.replan_rule();
        let wrong = |error| WorkerError::Setup(format!("`group.size` is auto: {error}"));
        let planner = planner(config, &bundle, model.profile.as_ref()).map_err(wrong)?;
        let bands = config.group.pooled_bands();
        let mut planners = Self {
            whole: AdaptivePlanner::new(planner, rule),
            seen: BandStats::default(),
            bands: Vec::new(),
            rule,
            uses_exits: uses_exits(config, &bundle),
            bundle,
            individual_sensitivity: config.retest.individual_sensitivity,
            first_band: bands[0].to_string(),
        };
        if bands.len() > 1 {
            let band = |least: &f64| planners.band(least.to_string(), rule.prevalence);
            planners.bands = bands.iter().map(band).collect();
        }
        Ok(planners)
    }

    /// The planner of a band, for the present exits. `prevalence` is that of all items.
    fn band(&self, band: String, prevalence: f64) -> BandPlanner {
        let (planner, exits) = (self.whole.planner(), &self.whole.plan().exits);
        let prevalence = planner.prevalence_behind(exits, prevalence);
        let rule = ReplanRule { prevalence: prevalence.clamp(1e-6, 1.0 - 1e-6), ..self.rule };
        let planner = AdaptivePlanner::new(planner.behind(exits), rule);
        BandPlanner { planner, band, seen: BandStats::default() }
    }

    /// The present exits.
    pub(crate) fn exits(&self) -> &[ExitLink] {
        &self.whole.plan().exits
    }

    /// What the present exits are expected to do.
    pub(crate) fn expected_exits(&self) -> Vec<ExitShare> {
        self.whole.expected().exits
    }

    /// The rules of the present exits.
    ///
    /// # Errors
    /// [`WorkerError::Setup`], which is a bug: plans use calibrated sensitivities only.
    pub(crate) fn exit_rules(&self) -> Result<ExitRules, WorkerError> {
        if !self.uses_exits {
            return Ok(ExitRules::default());
        }
        self.bundle.exit_rules(self.exits()).map_err(setup)
    }

    /// The present plan of every band.
    ///
    /// # Errors
    /// [`WorkerError::Setup`], which is a bug: plans use calibrated sizes only.
    pub(crate) fn band_plans(&self) -> Result<Vec<BandPlan>, WorkerError> {
        if self.bands.is_empty() {
            return Ok(vec![self.band_plan(self.whole.plan())?]);
        }
        self.bands.iter().map(|band| self.band_plan(band.planner.plan())).collect()
    }

    /// The plans of all bands in words, separated by commas. With several bands, the exits come
    /// first.
    pub(crate) fn describe(&self) -> String {
        if self.bands.is_empty() {
            return self.whole.plan().describe();
        }
        let exits = describe_exits(self.exits());
        let bands = self.bands.iter().map(|band| band.planner.plan().describe());
        exits.into_iter().chain(bands).collect::<Vec<_>>().join(", ")
    }

    /// Every arity of a test that any plan of at most `largest` items can contain.
    pub(crate) fn arities(&self, largest: usize) -> Vec<usize> {
        let calibration = &self.bundle.manifest.calibration;
        calibration.iter().map(|entry| entry.arity).filter(|&arity| arity <= largest).collect()
    }

    /// Updates the estimates from the engine's sums, and returns what changes. `screened` is the
    /// number of items that the screen has cleared without an audit.
    ///
    /// # Errors
    /// As [`Planners::band_plans`].
    pub(crate) fn update(
        &mut self,
        stats: &Stats,
        screened: u64,
        metrics: &Metrics,
    ) -> Result<Changes, WorkerError> {
        let all = BandStats { decided: stats.decided + screened, flagged: stats.policy_flagged };
        let Some((decided, flagged)) = added(&mut self.seen, all) else {
            return Ok(Changes::default());
        };
        let before = self.exits().to_vec();
        let changed = self.whole.observe(decided, flagged);
        let mut changes = Changes::default();
        if self.exits() != before {
            changes.exits = Some(self.exit_rules()?);
            self.replace_bands(&stats.bands);
        }
        if self.bands.is_empty() {
            if changed {
                changes.bands.push((0, self.band_plan(self.whole.plan())?));
            }
        } else {
            self.update_bands(stats, changes.exits.is_some(), &mut changes)?;
        }
        self.export(metrics);
        if changes.exits.is_some() || !changes.bands.is_empty() {
            metrics.replans.inc();
            let (plan, prevalence) = (self.describe(), self.whole.prevalence());
            let expected_cost = self.whole.relative_cost();
            info!(plan, prevalence, expected_cost, "plan changed");
        }
        Ok(changes)
    }

    /// New planners of the bands after the exits have changed.
    fn replace_bands(&mut self, stats: &[BandStats]) {
        if self.bands.is_empty() {
            return;
        }
        let prevalence = self.whole.prevalence();
        let names: Vec<String> = self.bands.iter().map(|band| band.band.clone()).collect();
        let band = |(name, &seen): (String, &BandStats)| BandPlanner {
            seen,
            ..self.band(name, prevalence)
        };
        self.bands = names.into_iter().zip(stats).map(band).collect();
    }

    fn update_bands(
        &mut self,
        stats: &Stats,
        all: bool,
        changes: &mut Changes,
    ) -> Result<(), WorkerError> {
        for (i, &now) in stats.bands.iter().enumerate().take(self.bands.len()) {
            let band = &mut self.bands[i];
            let added = added(&mut band.seen, now);
            let changed = added.is_some_and(|(n, flagged)| band.planner.observe(n, flagged));
            if changed || all {
                changes.bands.push((i, self.band_plan(self.bands[i].planner.plan())?));
            }
        }
        Ok(())
    }

    /// A plan with its thresholds. The thresholds of pooled tests are those behind the present
    /// exits.
    fn band_plan(&self, plan: &ChainPlan) -> Result<BandPlan, WorkerError> {
        let policy = MultiRound::new(&plan.sizes()).map_err(setup)?;
        let plan = ChainPlan { measured_at: self.whole.plan().measured_at, ..plan.clone() };
        let thresholds = self.bundle.plan_thresholds(&plan, self.individual_sensitivity);
        Ok(BandPlan::new(Box::new(policy), thresholds.map_err(setup)?))
    }

    /// Sets the metrics of the plans.
    pub(crate) fn export(&self, metrics: &Metrics) {
        let whole = &self.whole;
        metrics.expected_exits(&self.expected_exits());
        if self.bands.is_empty() {
            let size = whole.plan().sizes()[0];
            metrics.plan(&self.first_band, whole.prevalence(), whole.relative_cost(), size);
        }
        for BandPlanner { planner, band, .. } in &self.bands {
            let size = planner.plan().sizes()[0];
            metrics.plan(band, planner.prevalence(), planner.relative_cost(), size);
        }
    }
}

/// What was added since the last update, and remembers it. `None` before there are enough verdicts
/// for an update.
fn added(seen: &mut BandStats, now: BandStats) -> Option<(u64, u64)> {
    let decided = now.decided - seen.decided;
    if decided < VERDICTS_PER_UPDATE {
        return None;
    }
    let flagged = now.flagged - seen.flagged;
    *seen = now;
    Some((decided, flagged))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planners() -> Planners {
        let mut config = Config::default();
        config.planning.recall_price = 50.0;
        Planners::new(&config, &Model::fashion_bag()).unwrap()
    }

    /// The operating points of pooled tests follow the exits in both directions.
    #[test]
    fn a_plan_without_exits_has_the_thresholds_of_all_images() {
        let mut planners = planners();
        assert!(planners.whole.plan().measured_at.is_some(), "{}", planners.describe());
        let metrics = Metrics::new("b", "1", "").unwrap();
        let stats = Stats { decided: 100_000, policy_flagged: 99_000, ..Stats::default() };
        let changes = planners.update(&stats, 0, &metrics).unwrap();
        assert!(planners.exits().is_empty(), "{}", planners.describe());
        let plan = planners.whole.plan();
        let thresholds = planners.bundle.plan_thresholds(plan, 0.99).unwrap();
        assert_eq!(changes.bands[0].1.thresholds, thresholds);
    }
}
