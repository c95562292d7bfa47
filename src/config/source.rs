//! `source`: where image references come from.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kafka::{Property, check_properties, properties};
use super::{ConfigError, require};

/// How a message carries a reference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON: `id`, and `uri` or `data` (base64); optional `content_type`, `risk`, `metadata`.
    #[default]
    Json,
    /// The image's bytes, its id as the message key.
    Raw,
}

/// Where image references come from.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// The topic of image references.
    pub topic: String,
    /// How a message carries a reference.
    pub format: Format,
    /// Messages taken and waiting to be decoded, at most, in batches of up to 32 (so at least one such batch); partitions pause when it is full.
    pub queue: usize,
    /// How long a revoked partition may wait for verdicts before it is given up (its open items are then read again elsewhere).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub drain: Duration,
    /// librdkafka properties of the consumer alone.
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
        require(!self.topic.trim().is_empty(), "source.topic", "must not be empty")?;
        require((1..=1_000_000).contains(&self.queue), "source.queue", "must be 1 to 1000000 messages")?;
        require(!self.drain.is_zero(), "source.drain", "must be above 0, such as 10s")?;
        check_properties("source.properties", &self.properties)
    }
}
