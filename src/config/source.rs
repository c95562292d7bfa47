//! `source`: the topics of image references.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kafka::{Property, check_properties, check_topic, properties};
use super::mapping::MappingConfig;
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

/// One topic or several topics. In YAML, a name or a list of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Topics(Vec<String>);

impl Topics {
    /// The names, in the order of the configuration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The first name. Empty if there is none, which [`Config::validate`] refuses.
    ///
    /// [`Config::validate`]: super::Config::validate
    pub fn first(&self) -> &str {
        self.names().next().unwrap_or_default()
    }

    fn validate(&self, key: &str) -> Result<(), ConfigError> {
        require(!self.0.is_empty(), key, "must name at least one topic")?;
        self.names().try_for_each(|topic| check_topic(key, topic))?;
        let distinct: BTreeSet<&str> = self.names().collect();
        require(distinct.len() == self.0.len(), key, "names a topic twice; remove one of them")
    }
}

impl From<&str> for Topics {
    fn from(topic: &str) -> Self {
        Self(vec![topic.to_owned()])
    }
}

impl FromIterator<String> for Topics {
    fn from_iter<I: IntoIterator<Item = String>>(topics: I) -> Self {
        Self(topics.into_iter().collect())
    }
}

impl From<Topics> for Value {
    fn from(topics: Topics) -> Self {
        match topics.0.as_slice() {
            [topic] => topic.as_str().into(),
            _ => topics.0.into(),
        }
    }
}

impl TryFrom<Value> for Topics {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let name = |value: &Value| match value {
            Value::String(name) => Ok(name.clone()),
            // A name of digits from the environment.
            Value::Number(name) => Ok(name.to_string()),
            _ => Err(format!("is {value}, must be the name of a topic, or a list of names")),
        };
        match &value {
            Value::Array(names) => names.iter().map(name).collect::<Result<_, _>>().map(Self),
            one => Ok(Self(vec![name(one)?])),
        }
    }
}

impl JsonSchema for Topics {
    fn schema_name() -> Cow<'static, str> {
        "Topics".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "oneOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": true},
            ]
        })
    }
}

/// The topics of image references.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// The topic, or a list of topics, such as `[images, uploads]`.
    pub topic: Topics,
    /// The format of the messages.
    pub format: Format,
    /// Where the fields of a reference are in a JSON message, if the messages have another form than that
    /// of `config/reference.schema.json`. Each place is a JSON Pointer such as `/event/id`,
    /// `header:NAME`, or `key`. `id`, and `uri` or `data`, are needed.
    pub mapping: Option<MappingConfig>,
    /// Whether a JSON message becomes a dead letter if it has a field at its top level that is not read.
    pub strict: bool,
    /// Messages that wait for a decode thread, at most, in batches of up to 32 (at least one
    /// batch). While the queue is full, no messages are read.
    pub queue: usize,
    /// Bytes of the messages that wait for a decode thread, at most, or one message. Messages that
    /// carry their images can be large. While the limit is reached, no messages are read.
    pub queue_bytes: usize,
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
            mapping: None,
            strict: false,
            queue: 1024,
            queue_bytes: 64 << 20,
            drain: Duration::from_secs(10),
            properties: BTreeMap::new(),
        }
    }
}

impl SourceConfig {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.topic.validate("source.topic")?;
        self.mapping.iter().try_for_each(MappingConfig::validate)?;
        let raw = self.format == Format::Raw;
        let what = "must be absent with `source.format: raw`, whose messages have no fields";
        require(!raw || self.mapping.is_none(), "source.mapping", what)?;
        require(
            (1..=1_000_000).contains(&self.queue),
            "source.queue",
            "must be 1 to 1000000 messages",
        )?;
        let what = "must be at least 1048576 (1 MiB)";
        require(self.queue_bytes >= 1 << 20, "source.queue_bytes", what)?;
        require(!self.drain.is_zero(), "source.drain", "must be above 0, such as 10s")?;
        check_properties("source.properties", &self.properties)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(yaml: &str) -> Result<Topics, String> {
        let value: Value = serde_yaml_ng::from_str(yaml).unwrap();
        let topics = Topics::try_from(value)?;
        topics.validate("source.topic").map_err(|e| e.what)?;
        Ok(topics)
    }

    #[test]
    fn one_topic_or_a_list_is_accepted() {
        assert_eq!(topics("images").unwrap(), Topics::from("images"));
        assert_eq!(topics("2024").unwrap(), Topics::from("2024"));
        let several = topics("[images, uploads]").unwrap();
        assert_eq!(several.names().collect::<Vec<_>>(), ["images", "uploads"]);
        assert_eq!(Value::from(several), serde_json::json!(["images", "uploads"]));
    }

    #[test]
    fn wrong_topics_are_refused() {
        for (yaml, word) in [
            ("^images", "Patterns"),
            ("[]", "at least one"),
            ("[images, images]", "twice"),
            ("[images, ..]", "not the name"),
            ("{a: b}", "list of names"),
        ] {
            let error = topics(yaml).unwrap_err();
            assert!(error.contains(word), "{yaml}: {error}");
        }
    }
}
