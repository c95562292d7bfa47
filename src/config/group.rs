//! `group`: how items are pooled.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ConfigError, require};
use crate::retest::MAX_GROUP;

/// Images in a first-round test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Value")]
pub enum GroupSize {
    /// Whatever is cheapest at the prevalence that the worker estimates as it goes.
    Auto,
    /// Always so many.
    Of(usize),
}

impl GroupSize {
    /// The fixed size, or else `or`.
    pub fn fixed_or(self, or: usize) -> usize {
        match self {
            Self::Auto => or,
            Self::Of(size) => size,
        }
    }
}

impl From<GroupSize> for Value {
    fn from(size: GroupSize) -> Self {
        match size {
            GroupSize::Auto => AUTO.into(),
            GroupSize::Of(size) => size.into(),
        }
    }
}

impl TryFrom<Value> for GroupSize {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
        match (number, value.as_str()) {
            (Some(size), _) => Ok(Self::Of(size)),
            (_, Some(AUTO)) => Ok(Self::Auto),
            _ => Err(format!("is {value}, must be a whole number from 1 to {MAX_GROUP}, or {AUTO}")),
        }
    }
}

impl JsonSchema for GroupSize {
    fn schema_name() -> Cow<'static, str> {
        "GroupSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [{"type": "integer", "minimum": 1, "maximum": MAX_GROUP}, {"const": AUTO}]})
    }
}

const AUTO: &str = "auto";

/// How items are pooled.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Images in a first-round test, 1 to 64. Larger saves more where positives are rare; `1` tests every image alone. `auto`: the worker
    /// estimates the prevalence as it goes and plans group size, retests and sensitivities by it, see `planning`; of `retest` then only
    /// individual_sensitivity and confirm_sensitivity count.
    pub size: GroupSize,
    /// How long a group waits for members before it is tested as it is.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_wait: Duration,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self { size: GroupSize::Of(16), max_wait: Duration::from_millis(200) }
    }
}

impl GroupConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        require(
            (1..=MAX_GROUP).contains(&self.size.fixed_or(1)),
            "group.size",
            format!("is {}, must be 1 to {MAX_GROUP}, or {AUTO}", Value::from(self.size)),
        )
    }
}
