//! What every stage shares.

use std::sync::Arc;

use super::metrics::Metrics;
use super::{Health, Signals};
use crate::config::Config;
use crate::sink::message::BundleName;

/// Signals, health and metrics of one worker. Clones share them.
#[derive(Debug, Clone)]
pub struct Services {
    /// Stop, abort and flush.
    pub signals: Arc<Signals>,
    /// What the probes report.
    pub health: Arc<Health>,
    /// What the stages count.
    pub metrics: Arc<Metrics>,
}

impl Services {
    /// The services of a worker that runs `bundle` by `plan` (in words).
    ///
    /// # Errors
    /// As [`Metrics::new`].
    pub fn new(config: &Config, bundle: &BundleName, plan: &str) -> prometheus::Result<Self> {
        Ok(Self {
            signals: Arc::new(Signals::default()),
            health: Arc::new(Health::new(config.ops.stalled_after, config.sink.unready_after)),
            metrics: Arc::new(Metrics::new(&bundle.name, &bundle.version, plan)?),
        })
    }

    /// Ends the worker because a stage has failed. To be called before the stage drops its items, which
    /// would otherwise count as lost. `by_others`: no item is the cause.
    pub fn fail(&self, by_others: bool) {
        if by_others {
            self.health.set_failed_by_others();
        }
        self.signals.abort();
    }

    /// Tells all stages to read no more items and to finish those that they have.
    pub fn stop(&self) {
        self.health.stopping();
        self.signals.stop();
    }
}
