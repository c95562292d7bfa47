//! `kafka`: the Kafka cluster.

use std::collections::BTreeMap;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{ConfigError, require};

/// librdkafka properties that only the worker sets, because delivery depends on them.
const OWNED: &[&str] = &[
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "transactional.id",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "delivery.report.only.error",
];

/// The longest name of a topic, in bytes.
const LONGEST_TOPIC: usize = 249;

/// The Kafka cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// The bootstrap servers, as `host:port`, separated by commas.
    pub brokers: String,
    /// The consumer group.
    pub group_id: String,
    /// librdkafka properties of both the consumer and the producer (TLS, SASL and others).
    /// Properties that delivery depends on, such as `acks`, are refused.
    #[serde(deserialize_with = "properties")]
    #[schemars(with = "BTreeMap<String, Property>")]
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "localhost:9092".into(),
            group_id: "dorfman".into(),
            properties: BTreeMap::new(),
        }
    }
}

impl KafkaConfig {
    /// The settings of a client that also has `properties`. The brokers are set last, so that no
    /// property overrides them.
    pub fn client(&self, properties: &BTreeMap<String, String>) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("client.id", "dorfman");
        for (key, value) in self.properties.iter().chain(properties) {
            client.set(key, value);
        }
        client.set("bootstrap.servers", &self.brokers);
        client
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        require(
            !self.brokers.trim().is_empty(),
            "kafka.brokers",
            "must name at least one broker, as host:port",
        )?;
        require(!self.group_id.trim().is_empty(), "kafka.group_id", "must not be empty")?;
        check_properties("kafka.properties", &self.properties)
    }
}

/// The value of a librdkafka property in YAML.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Property {
    /// A text.
    Text(String),
    /// A number.
    Number(serde_json::Number),
    /// A switch.
    Switch(bool),
}

/// Reads a table of properties whose values are scalars of any type.
pub(super) fn properties<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let table = BTreeMap::<String, Property>::deserialize(deserializer)?;
    let text = |property| match property {
        Property::Text(text) => text,
        Property::Number(number) => number.to_string(),
        Property::Switch(on) => on.to_string(),
    };
    Ok(table.into_iter().map(|(key, property)| (key, text(property))).collect())
}

/// Refuses a name that Kafka does not allow for a topic. librdkafka would take a name that begins
/// with `^` as a regular expression, which may match the worker's own topics.
pub(super) fn check_topic(key: &str, topic: &str) -> Result<(), ConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let valid = (1..=LONGEST_TOPIC).contains(&topic.len()) && topic.chars().all(allowed);
    let what = format!(
        "is not the name of a topic: a name has 1 to {LONGEST_TOPIC} ASCII letters, digits, `.`, \
         `_` and `-`. Patterns are not supported"
    );
    require(valid && !matches!(topic, "." | ".."), key, what)
}

/// Refuses values with which the worker would misbehave.
fn check_value(key: &str, property: &str, value: &str) -> Result<(), ConfigError> {
    let what = match (property, value.trim().to_ascii_uppercase().as_str()) {
        ("auto.commit.interval.ms", "0") => "with 0, offsets would never be committed",
        ("sasl.mechanism" | "sasl.mechanisms", "GSSAPI" | "OAUTHBEARER") => {
            "is not built in; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, or TLS client certificates"
        }
        _ => return Ok(()),
    };
    Err(ConfigError::new(format!("{key}.{property}"), what))
}

/// Refuses properties that only the worker sets, and properties that librdkafka does not know.
pub(super) fn check_properties(
    key: &str,
    properties: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let owned = properties.keys().find(|p| OWNED.contains(&p.as_str()));
    match owned {
        Some(p) => Err(ConfigError::new(
            format!("{key}.{p}"),
            "is set by the worker, because delivery depends on it; remove it",
        )),
        None => properties.iter().try_for_each(|(p, value)| {
            check_value(key, p, value)?;
            let refused = ClientConfig::new().set(p, value).create_native_config().err();
            match refused {
                // The message is librdkafka's description; the value itself may be a secret.
                Some(KafkaError::ClientConfig(_, what, ..)) => {
                    Err(ConfigError::new(format!("{key}.{p}"), what))
                }
                _ => Ok(()),
            }
        }),
    }
}
