//! `group`: how items are pooled.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};
use crate::retest::MAX_GROUP;

/// How items are pooled.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Images in a first-round test, 1 to 64. Larger saves more where positives are rare; `1` tests every image alone.
    pub size: usize,
    /// How long a group waits for members before it is tested as it is.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_wait: Duration,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self { size: 16, max_wait: Duration::from_millis(200) }
    }
}

impl GroupConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        require(
            (1..=MAX_GROUP).contains(&self.size),
            "group.size",
            format!("is {}, must be 1 to {MAX_GROUP}", self.size),
        )
    }
}
