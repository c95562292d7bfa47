//! `group.size: auto`: keeps the engine's plan to what the stream is like now.

use std::sync::Arc;

use tracing::info;

use super::WorkerError;
use crate::config::Config;
use crate::engine::BandStats;
use crate::model::{Bundle, Profile};
use crate::ops::metrics::Metrics;
use crate::planner::{LOOK, Pilot, Planner};
use crate::retest::{MultiRound, Plan, Thresholds};

/// A plan for the engine.
pub(super) type Course = (Box<dyn Plan>, Thresholds);

/// The pilot, and what turns its choices into thresholds.
pub(super) struct Autopilot {
    pilot: Pilot,
    bundle: Arc<Bundle>,
    /// The least risk of its band, as metrics name it.
    band: String,
    seen: BandStats,
}

impl Autopilot {
    /// A pilot for each band of risk, all alike until verdicts tell them apart. Costs are seconds if there is a profile.
    ///
    /// # Errors
    /// [`WorkerError::Setup`] if the bundle's calibration does not do for planning.
    pub(super) fn crew(config: &Config, bundle: Bundle, profile: Option<&Profile>) -> Result<Vec<Self>, WorkerError> {
        let wrong =
            |what: String| WorkerError::Setup(format!("`group.size` is auto: the bundle's calibration: {what}"));
        let answers = bundle.answers().map_err(wrong)?;
        let seconds = profile.and_then(|profile| bundle.second_costs(profile));
        info!(costs = if seconds.is_some() { "seconds" } else { "multiply-adds" }, "planning as it goes");
        let costs = seconds.unwrap_or_else(|| bundle.mac_costs());
        let planner = Planner::new(answers, costs, config.wanted()).map_err(wrong)?;
        let (pilot, bundle) = (Pilot::new(planner, config.steering()), Arc::new(bundle));
        let bands = config.group.pooled_bands();
        let one = |least: f64| Self {
            pilot: pilot.clone(),
            bundle: Arc::clone(&bundle),
            band: least.to_string(),
            seen: BandStats::default(),
        };
        Ok(bands.into_iter().map(one).collect())
    }

    /// The present plan.
    ///
    /// # Errors
    /// [`WorkerError::Setup`]: a bug, since plans are made of what is calibrated, and other sizes take the most that they have.
    pub(super) fn course(&self) -> Result<Course, WorkerError> {
        let choice = self.pilot.choice();
        let plan = MultiRound::new(&choice.sizes()).map_err(WorkerError::Setup)?;
        let thresholds =
            self.bundle.thresholds_by(|arity| choice.sensitivity(arity).min(self.bundle.most_sensitive(arity)));
        Ok((Box::new(plan), thresholds.map_err(|e| WorkerError::Setup(e.to_string()))?))
    }

    /// The sizes of tests that any plan may ask for.
    pub(super) fn arities(&self, largest: usize) -> Vec<usize> {
        let calibrated = self.bundle.manifest.calibration.iter().map(|c| c.arity);
        calibrated.filter(|&arity| arity <= largest).collect()
    }

    /// Looks at what became of the items of its band; another plan, if one pays.
    ///
    /// # Errors
    /// As [`Autopilot::course`].
    pub(super) fn steer(&mut self, stats: BandStats, metrics: &Metrics) -> Result<Option<Course>, WorkerError> {
        let (settled, flagged) = (stats.settled - self.seen.settled, stats.flagged - self.seen.flagged);
        if settled < LOOK {
            return Ok(None);
        }
        self.seen = stats;
        let changed = self.pilot.observe(settled, flagged);
        self.show(metrics);
        if !changed {
            return Ok(None);
        }
        metrics.replans.inc();
        let (plan, prevalence) = (self.pilot.choice().describe(), self.pilot.prevalence());
        info!(band = self.band, plan, prevalence, expected_cost = self.pilot.relative_cost(), "plan changed");
        self.course().map(Some)
    }

    /// Sets the metrics.
    pub(super) fn show(&self, metrics: &Metrics) {
        let size = self.pilot.choice().sizes()[0];
        metrics.plan(&self.band, self.pilot.prevalence(), self.pilot.relative_cost(), size);
    }
}
