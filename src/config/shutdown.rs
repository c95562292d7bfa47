//! `shutdown`: the way out.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// What happens on SIGTERM and SIGINT.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long items in flight may take to get their verdict and be acknowledged; what is left then is read again after the restart.
    /// The last flush may take as long again: keep it below half of the pod's termination grace period.
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
