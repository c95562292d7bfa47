//! Whether topics exist, and what they accept.

use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::kafka::SinkError;
use crate::config::Config;
use crate::ops::Signals;

/// The default of librdkafka's `batch.size`.
const BATCH_BYTES: u64 = 1_000_000;

/// The longest wait for the brokers' answer at the start of a worker.
const AT_START: Duration = Duration::from_secs(5);

/// The longest wait for the creation of a topic.
const CREATED: Duration = Duration::from_secs(3);

/// The wait between two questions about a topic that is missing.
const AGAIN: Duration = Duration::from_millis(200);

/// The longest wait for the brokers' answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A client that asks about topics.
pub(crate) struct Asking(BaseConsumer);

impl Asking {
    /// A client with the settings of `client`.
    ///
    /// # Errors
    /// [`KafkaError`] if a property is wrong.
    pub(crate) fn new(client: &ClientConfig) -> Result<Self, KafkaError> {
        // Only a consumer can be told to have topics created by a question.
        client.clone().set("allow.auto.create.topics", "true").create().map(Self)
    }

    /// As [`partitions`], within [`AT_START`].
    ///
    /// # Errors
    /// As [`partitions`].
    pub(crate) fn partitions(&self, topic: &str) -> Result<Option<usize>, KafkaError> {
        partitions(self.0.client(), topic, AT_START)
    }

    /// As [`partitions`], within [`AT_START`]. If the brokers create topics on demand, the topic is
    /// created.
    ///
    /// # Errors
    /// As [`partitions`].
    pub(crate) fn partitions_or_create(
        &self,
        topic: &str,
        signals: &Signals,
    ) -> Result<Option<usize>, KafkaError> {
        let begin = Instant::now();
        loop {
            let found = partitions(self.0.client(), topic, AT_START)?;
            // The first answer comes before the topic is created.
            if found.is_some() || begin.elapsed() > CREATED || signals.stopping() {
                return Ok(found);
            }
            std::thread::park_timeout(AGAIN);
        }
    }
}

/// The number of partitions of a topic, asked for at most `longest`. `None` if the topic does not exist.
///
/// # Errors
/// [`KafkaError`] if no broker answers, or if the client may not see the topic.
pub(crate) fn partitions<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    longest: Duration,
) -> Result<Option<usize>, KafkaError> {
    let answer = client.fetch_metadata(Some(topic), longest)?;
    let Some(found) = answer.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error() {
        None => Ok(Some(found.partitions().len())),
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Ok(None),
        // The topic was just created.
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) => Ok(Some(0)),
        Some(error) => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::from(error))),
    }
}

/// Connects with the settings of `config`, and checks that the topics exist. Returns one line per
/// topic. No topic is created.
///
/// # Errors
/// What is wrong, with the key and the remedy: no broker answers, or a topic does not exist.
pub(crate) fn check(config: &Config) -> Result<Vec<String>, String> {
    let sources = config.source.topic.names().map(|topic| ("source.topic", topic));
    let topics: Vec<_> = sources.chain(config.sink.topics()).collect();
    let mut client = config.kafka.client(&config.source.properties);
    client.set("group.id", &config.kafka.group_id).set("allow.auto.create.topics", "false");
    let consumer: BaseConsumer = client.create().map_err(unreachable(config))?;
    let mut lines = Vec::new();
    for (key, topic) in topics {
        let found = partitions(consumer.client(), topic, ANSWER).map_err(unreachable(config))?;
        let Some(count) = found else {
            let topic = topic.to_owned();
            return Err(SinkError::MissingTopic { key, topic }.to_string());
        };
        let limit = limit(config, topic).unwrap_or_else(|why| format!("limit unknown: {why}"));
        lines.push(format!("{key}: topic {topic}: {count} partitions, {limit}"));
    }
    Ok(lines)
}

/// The largest record of a topic, in words.
fn limit(config: &Config, topic: &str) -> Result<String, String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let admin: AdminClient<DefaultClientContext> =
        config.kafka.client(&config.sink.properties).create().map_err(|e| say(&e))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = [ResourceSpecifier::Topic(topic)];
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let answer = runtime.map_err(|e| say(&e))?.block_on(admin.describe_configs(&asked, &options));
    let found = answer.map_err(|e| say(&e))?.into_iter().next().ok_or("no answer")?;
    let found = found.map_err(|e| say(&e))?;
    let bytes = found.get("max.message.bytes").and_then(|entry| entry.value.clone());
    let bytes = bytes.ok_or("no answer")?;
    let small = bytes.parse().is_ok_and(|bytes: u64| bytes < BATCH_BYTES);
    let advice = if small {
        ". Set `batch.size` in `sink.properties` to less: brokers refuse larger batches, and their \
         records are then sent one by one"
    } else {
        ""
    };
    Ok(format!("records of at most {bytes} bytes{advice}"))
}

fn unreachable(config: &Config) -> impl Fn(KafkaError) -> String {
    let brokers = config.kafka.brokers.clone();
    move |error| {
        format!("`kafka.brokers`: {brokers}: {error}; check the address and the credentials")
    }
}
