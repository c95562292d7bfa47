//! `sink`: where flags, verdicts and dead letters go.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kafka::{Property, check_properties, properties};
use super::{ConfigError, require};

/// Where flags, verdicts and dead letters go.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkConfig {
    /// The topic of flagged images.
    pub flagged_topic: String,
    /// A topic of all verdicts, for audits; none if absent.
    pub verdicts_topic: Option<String>,
    /// The topic of items that could not be scored, each with its reason.
    pub dead_letter_topic: String,
    /// Dead letters in a row from which on the worker reports itself unready: something upstream is broken.
    pub unready_after: u64,
    /// librdkafka properties of the producer alone.
    #[serde(deserialize_with = "properties")]
    #[schemars(with = "BTreeMap<String, Property>")]
    pub properties: BTreeMap<String, String>,
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            flagged_topic: "images.flagged".into(),
            verdicts_topic: None,
            dead_letter_topic: "images.dead".into(),
            unready_after: 1000,
            properties: BTreeMap::new(),
        }
    }
}

impl SinkConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        require(!self.flagged_topic.trim().is_empty(), "sink.flagged_topic", "must not be empty")?;
        require(!self.dead_letter_topic.trim().is_empty(), "sink.dead_letter_topic", "must not be empty")?;
        let named = self.verdicts_topic.as_deref().is_none_or(|t| !t.trim().is_empty());
        require(named, "sink.verdicts_topic", "must be a topic, or absent")?;
        require(self.unready_after > 0, "sink.unready_after", "must be at least 1")?;
        check_properties("sink.properties", &self.properties)
    }
}
