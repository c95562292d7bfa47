//! `sink`: the topics of flags, verdicts and dead letters.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kafka::{Property, check_properties, check_topic, properties};
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
    /// How long a record waits for the brokers before it is sent again by a new connection, although
    /// the brokers answer. Each time that this does not help, the wait doubles, up to 30m. The record
    /// may then be delivered twice, with the same `flag_id`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub renew_after: Duration,
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
            renew_after: Duration::from_secs(60),
            properties: BTreeMap::new(),
        }
    }
}

impl SinkConfig {
    /// The topics that the worker writes to, each with its key.
    pub fn topics(&self) -> Vec<(&'static str, &str)> {
        let flagged = ("sink.flagged_topic", &self.flagged_topic[..]);
        let dead = ("sink.dead_letter_topic", &self.dead_letter_topic[..]);
        let verdicts = self.verdicts_topic.as_deref().map(|topic| ("sink.verdicts_topic", topic));
        [flagged, dead].into_iter().chain(verdicts).collect()
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        check_topic("sink.flagged_topic", &self.flagged_topic)?;
        check_topic("sink.dead_letter_topic", &self.dead_letter_topic)?;
        if let Some(topic) = &self.verdicts_topic {
            check_topic("sink.verdicts_topic", topic)?;
        }
        require(self.unready_after > 0, "sink.unready_after", "must be at least 1")?;
        let what = "must be at least 1s, such as 60s";
        require(self.renew_after >= Duration::from_secs(1), "sink.renew_after", what)?;
        check_properties("sink.properties", &self.properties)
    }
}
