//! `sink`: the topics of flags, verdicts and dead letters.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kafka::{Property, check_properties, properties};
use super::{ConfigError, require};

/// The topics of flags, verdicts and dead letters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkConfig {
    /// The topic of flagged images.
    pub flagged_topic: String,
    /// A topic of all verdicts, for audits. Absent: verdicts are not published.
    pub verdicts_topic: Option<String>,
    /// The topic of images that could not be scored, each with its reason.
    pub dead_letter_topic: String,
    /// Dead letters in a row after which the worker reports that it is not ready. So many dead
    /// letters mean that the producer of the references or their server has failed.
    pub unready_after: u64,
    /// librdkafka properties of the producer only.
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
        require(
            !self.dead_letter_topic.trim().is_empty(),
            "sink.dead_letter_topic",
            "must not be empty",
        )?;
        let named = self.verdicts_topic.as_deref().is_none_or(|t| !t.trim().is_empty());
        require(named, "sink.verdicts_topic", "must be a topic, or absent")?;
        require(self.unready_after > 0, "sink.unready_after", "must be at least 1")?;
        check_properties("sink.properties", &self.properties)
    }
}
