//! `shutdown`: what happens on SIGTERM and SIGINT.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// What happens on SIGTERM and SIGINT.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long the worker finishes the images in flight and publishes their records. Images that
    /// are not finished then are read again after the restart. The producer may take as long again
    /// to publish pending records: keep the deadline below half of the pod's termination grace
    /// period.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub deadline: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(25) }
    }
}

impl ShutdownConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        require(!self.deadline.is_zero(), "shutdown.deadline", "must be above 0, such as 25s")
    }
}
