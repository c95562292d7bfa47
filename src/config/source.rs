//! `source`: the topic of image references.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kafka::{Property, check_properties, check_topic, properties};
use super::{ConfigError, require};

/// The format of the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON with `id`, and `uri` or `data` (base64); optional `content_type`, `risk`, `metadata`.
    #[default]
    Json,
    /// The bytes of the image; the message key is its id.
    Raw,
}

/// The topic of image references.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// The topic.
    pub topic: String,
    /// The format of the messages.
    pub format: Format,
    /// Messages that wait for a decode thread, at most, in batches of up to 32 (at least one
    /// batch). When the queue is full, the partitions are paused.
    pub queue: usize,
    /// How long the worker finishes the images of a revoked partition before the partition is
    /// reassigned. Images that are not finished then are read again by another worker.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub drain: Duration,
    /// librdkafka properties of the consumer only.
    #[serde(deserialize_with = "properties")]
    #[schemars(with = "BTreeMap<String, Property>")]
    pub properties: BTreeMap<String, String>,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            topic: "images".into(),
            format: Format::Json,
            queue: 1024,
            drain: Duration::from_secs(10),
            properties: BTreeMap::new(),
        }
    }
}

impl SourceConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        check_topic("source.topic", &self.topic)?;
        require(
            (1..=1_000_000).contains(&self.queue),
            "source.queue",
            "must be 1 to 1000000 messages",
        )?;
        require(!self.drain.is_zero(), "source.drain", "must be above 0, such as 10s")?;
        check_properties("source.properties", &self.properties)
    }
}
