//! The source on its own thread: makes the consumer, and another one if it fails.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use tracing::warn;

use super::member::Member;
use super::rebalance::Context;
use crate::budget::Budget;
use crate::config::kafka::KafkaConfig;
use crate::config::source::SourceConfig;
use crate::item::ReceivedItem;
use crate::ops::Services;

/// Consumers that are replaced within [`RENEWALS_WITHIN`], at most. Two workers with one
/// `group.instance.id` would otherwise end each other's consumers without end.
const RENEWALS: usize = 3;
const RENEWALS_WITHIN: Duration = Duration::from_secs(600);

/// Why the source ended early.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The client could not be created, or the subscription failed.
    #[error("kafka consumer: {0}")]
    Client(#[from] KafkaError),
    /// A fatal error of librdkafka, after which a consumer can do nothing more.
    #[error("kafka consumer: fatal: {0}")]
    Fatal(String),
    /// Items were dropped without a verdict, which is a bug. Nothing more is acknowledged.
    #[error(
        "a bug: {0} items were dropped without a verdict; they are not acknowledged and will be \
         read again"
    )]
    Lost(u64),
}

/// The source of the worker: one consumer at a time.
pub struct KafkaSource {
    first: BaseConsumer<Context>,
    /// The properties of the consumers.
    client: ClientConfig,
    config: SourceConfig,
    deadline: Duration,
    services: Services,
}

impl KafkaSource {
    /// A source. Its consumer joins the consumer group when the source runs. At the end, the source
    /// waits at most `deadline` for verdicts.
    ///
    /// # Errors
    /// [`SourceError::Client`] if a property is wrong.
    pub fn new(
        kafka: &KafkaConfig,
        config: &SourceConfig,
        deadline: Duration,
        services: Services,
    ) -> Result<Self, SourceError> {
        let client = client(kafka, config);
        let first = consumer_of(&client, config, &services)?;
        Ok(Self { first, client, config: config.clone(), deadline, services })
    }

    /// Reads until the worker stops. Then waits for the verdicts of the items that were read,
    /// stores the offsets and leaves the group. Replaces a consumer that has failed.
    ///
    /// # Errors
    /// [`SourceError`] if consumers fail too often, or if the source fails otherwise.
    pub fn run(self, out: Sender<Vec<ReceivedItem>>) -> Result<(), SourceError> {
        let Self { first, client, config, deadline, services } = self;
        let topics: Vec<&str> = config.topic.names().collect();
        // The number of messages is limited by the queue.
        let budget = Budget::new(config.queue_bytes, usize::MAX);
        let mut renewals = Renewals::default();
        let mut next = first;
        loop {
            let (consumer, format) = (next, config.format);
            let member =
                Member { consumer, format, budget: &budget, deadline, services: &services };
            let reason = match member.run(&topics, &out) {
                Err(SourceError::Fatal(reason)) => reason,
                result => return result,
            };
            if services.signals.stopping() || !renewals.allowed(Instant::now()) {
                return Err(SourceError::Fatal(reason));
            }
            warn!(reason, "the consumer has failed; a new one joins the consumer group");
            services.metrics.consumer_renewals.inc();
            next = consumer_of(&client, &config, &services)?;
        }
    }
}

/// The properties of the consumers: those of the configuration, defaults, and what the worker needs.
fn client(kafka: &KafkaConfig, source: &SourceConfig) -> ClientConfig {
    let mut client = kafka.client(&source.properties);
    for (key, default) in [
        ("auto.offset.reset", "earliest"),
        ("auto.commit.interval.ms", "1000"),
        ("statistics.interval.ms", "5000"),
        ("partition.assignment.strategy", "cooperative-sticky"),
    ] {
        if client.get(key).is_none() {
            client.set(key, default);
        }
    }
    // With KIP-848, the broker assigns partitions and refuses clients that name a strategy.
    if client.get("group.protocol") == Some("consumer") {
        client.remove("partition.assignment.strategy");
    }
    client.set("group.id", &kafka.group_id);
    client.set("enable.auto.commit", "true");
    client.set("enable.auto.offset.store", "false");
    client.set("enable.partition.eof", "false");
    client.set_log_level(RDKafkaLogLevel::Warning);
    client
}

fn consumer_of(
    client: &ClientConfig,
    source: &SourceConfig,
    services: &Services,
) -> Result<BaseConsumer<Context>, KafkaError> {
    client.create_with_context(Context::new(source.drain, services.clone()))
}

/// The consumers that were replaced lately.
#[derive(Debug, Default)]
struct Renewals(VecDeque<Instant>);

impl Renewals {
    /// Whether a consumer may be replaced now. If so, it is counted.
    fn allowed(&mut self, now: Instant) -> bool {
        self.0.retain(|&before| now.saturating_duration_since(before) < RENEWALS_WITHIN);
        let allowed = self.0.len() < RENEWALS;
        if allowed {
            self.0.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_are_not_replaced_without_end() {
        let begin = Instant::now();
        let mut renewals = Renewals::default();
        let mut allowed = |seconds| renewals.allowed(begin + Duration::from_secs(seconds));
        assert!(allowed(0) && allowed(1) && allowed(2));
        assert!(!allowed(3) && !allowed(599));
        assert!(allowed(600) && !allowed(600), "only the first one is long ago");
    }
}
