//! `group.size: auto`: adapts the plan of one risk band to the stream.

use std::sync::Arc;

use dorfman_core::calibration::CalibrationError;
use dorfman_core::engine::{BandPlan, BandStats};
use dorfman_core::planner::{AdaptivePlanner, Planner, VERDICTS_PER_UPDATE};
use dorfman_core::policy::MultiRound;
use dorfman_model::{Bundle, Profile};
use tracing::info;

use crate::config::Config;
use crate::error::WorkerError;
use crate::ops::metrics::Metrics;

/// The adaptive planner of one band, and the bundle from which thresholds are taken.
pub(crate) struct BandPlanner {
    planner: AdaptivePlanner,
    bundle: Arc<Bundle>,
    /// The least risk of the band, as metrics name it.
    band: String,
    seen: BandStats,
}

impl BandPlanner {
    /// One planner per risk band, all equal until their verdicts differ. Costs are seconds if there
    /// is a profile, or else multiply-adds.
    ///
    /// # Errors
    /// [`WorkerError::Setup`] if the bundle's calibration does not suffice for planning.
    pub(crate) fn for_bands(
        config: &Config,
        bundle: Bundle,
        profile: Option<&Profile>,
    ) -> Result<Vec<Self>, WorkerError> {
        let wrong = |error: CalibrationError| {
            WorkerError::Setup(format!("`group.size` is auto: the bundle's calibration: {error}"))
        };
        let points = bundle.operating_points().map_err(wrong)?;
        let seconds = profile.and_then(|profile| bundle.second_costs(profile));
        let unit = if seconds.is_some() { "seconds" } else { "multiply-adds" };
        info!(costs = unit, "the worker plans its group sizes");
        let costs = seconds.unwrap_or_else(|| bundle.mac_costs());
        let planner = Planner::new(points, costs, config.constraints()).map_err(wrong)?;
        let planner = AdaptivePlanner::new(planner, config.replan_rule());
        let bundle = Arc::new(bundle);
        let band = |least: f64| Self {
            planner: planner.clone(),
            bundle: Arc::clone(&bundle),
            band: least.to_string(),
            seen: BandStats::default(),
        };
        Ok(config.group.pooled_bands().into_iter().map(band).collect())
    }

    /// The present plan with its thresholds.
    ///
    /// # Errors
    /// [`WorkerError::Setup`], which is a bug: plans use calibrated sizes only, and other arities
    /// use their highest calibrated sensitivity.
    pub(crate) fn band_plan(&self) -> Result<BandPlan, WorkerError> {
        let failed = |error: &dyn std::fmt::Display| WorkerError::Setup(error.to_string());
        let plan = self.planner.plan();
        let policy = MultiRound::new(&plan.sizes()).map_err(|e| failed(&e))?;
        let sensitivity = |arity| plan.sensitivity(arity).min(self.bundle.most_sensitive(arity));
        let thresholds = self.bundle.thresholds_by(sensitivity).map_err(|e| failed(&e))?;
        Ok(BandPlan::new(Box::new(policy), thresholds))
    }

    /// Every arity of a test that any plan of at most `largest` items can contain.
    pub(crate) fn arities(&self, largest: usize) -> Vec<usize> {
        let calibrated = self.bundle.manifest.calibration.iter().map(|entry| entry.arity);
        calibrated.filter(|&arity| arity <= largest).collect()
    }

    /// Updates the estimate from the band's sums. Returns another plan if one is cheaper.
    ///
    /// # Errors
    /// As [`BandPlanner::band_plan`].
    pub(crate) fn update(
        &mut self,
        stats: BandStats,
        metrics: &Metrics,
    ) -> Result<Option<BandPlan>, WorkerError> {
        let decided = stats.decided - self.seen.decided;
        let flagged = stats.flagged - self.seen.flagged;
        if decided < VERDICTS_PER_UPDATE {
            return Ok(None);
        }
        self.seen = stats;
        let changed = self.planner.observe(decided, flagged);
        self.export(metrics);
        if !changed {
            return Ok(None);
        }
        metrics.replans.inc();
        let (plan, prevalence) = (self.planner.plan().describe(), self.planner.prevalence());
        let expected_cost = self.planner.relative_cost();
        info!(band = self.band, plan, prevalence, expected_cost, "plan changed");
        self.band_plan().map(Some)
    }

    /// Sets the metrics of the band.
    pub(crate) fn export(&self, metrics: &Metrics) {
        let (planner, size) = (&self.planner, self.planner.plan().sizes()[0]);
        metrics.plan(&self.band, planner.prevalence(), planner.relative_cost(), size);
    }
}
