//! The source on its own thread: makes the consumer, and another one if it fails.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use tracing::warn;

use super::member::Member;
use super::reader::Reader;
use super::rebalance::Context;
use crate::budget::Budget;
use crate::config::kafka::KafkaConfig;
use crate::config::source::SourceConfig;
use crate::item::ReceivedItem;
use crate::mapping::Form;
use crate::ops::Services;

/// The waits before a consumer is replaced: the first time within [`RENEWALS_WITHIN`], the second, and
/// so on. After the last one, the source fails. The brokers may know a static member until its session
/// ends, which takes 45 s by default.
const WAITS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(10), Duration::from_secs(45)];
const RENEWALS_WITHIN: Duration = Duration::from_secs(600);
/// The interval at which a wait looks whether the worker stops.
const LOOK: Duration = Duration::from_millis(100);

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
    reader: Reader,
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
        let reader = Reader::new(noticed(&client));
        let first = consumer_of(&client, config, &reader, &services)?;
        Ok(Self { first, reader, client, config: config.clone(), deadline, services })
    }

    /// Reads until the worker stops. Then waits for the verdicts of the items that were read,
    /// stores the offsets and leaves the group. Replaces a consumer that has failed.
    ///
    /// # Errors
    /// [`SourceError`] if consumers fail too often, or if the source fails otherwise.
    pub fn run(self, out: Sender<Vec<ReceivedItem>>) -> Result<(), SourceError> {
        let Self { first, reader, client, config, deadline, services } = self;
        let topics: Vec<&str> = config.topic.names().collect();
        // The number of messages is limited by the queue.
        let budget = Budget::new(config.queue_bytes, usize::MAX);
        let form = Form::new(&config);
        let mut renewals = Renewals::default();
        let mut next = first;
        loop {
            let member = Member {
                consumer: Arc::new(next),
                form: &form,
                budget: &budget,
                deadline,
                services: &services,
            };
            let reason = match member.run(&topics, &out) {
                Err(SourceError::Fatal(reason)) => reason,
                result => return result,
            };
            let wait = renewals.next(Instant::now()).filter(|_| !services.signals.stopping());
            let Some(wait) = wait else { return Err(SourceError::Fatal(reason)) };
            let seconds = wait.as_secs();
            warn!(reason, seconds, "the consumer has failed; a new one joins the consumer group");
            pause(wait, &services);
            services.metrics.consumer_renewals.inc();
            next = consumer_of(&client, &config, &reader, &services)?;
        }
    }
}

/// Properties that the configuration may set, each with its names.
const DEFAULTS: [(&[&str], &str); 9] = [
    (&["auto.offset.reset"], "earliest"),
    (&["auto.commit.interval.ms"], "1000"),
    (&["statistics.interval.ms"], "5000"),
    (&["partition.assignment.strategy"], "cooperative-sticky"),
    // Each partition has a queue of its own, so these hold for one partition. A fetch is added to a queue
    // that is not full, decompressed.
    (&["queued.min.messages"], "5000"),
    (&["queued.max.messages.kbytes"], "2048"),
    (&["max.partition.fetch.bytes", "fetch.message.max.bytes"], "262144"),
    // A queue that was full must not run empty before the next fetch.
    (&["fetch.queue.backoff.ms"], "10"),
    // A fetch of the partitions whose queues are not full must not wait long for their messages.
    (&["fetch.wait.max.ms"], "100"),
];

/// The properties of the consumers: those of the configuration, defaults, and what the worker needs.
fn client(kafka: &KafkaConfig, source: &SourceConfig) -> ClientConfig {
    let mut client = kafka.client(&source.properties);
    for (names, default) in DEFAULTS {
        if names.iter().all(|name| client.get(name).is_none()) {
            client.set(names[0], default);
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

/// The session timeout if the configuration does not set it: the default of librdkafka, and of brokers
/// that set it themselves (KIP-848).
const SESSION: Duration = Duration::from_secs(45);

/// How soon the group may notice that a member has ended: half of the session timeout, because the last
/// heartbeat is younger than that. Zero for a static member, which may return at once.
fn noticed(client: &ClientConfig) -> Duration {
    if client.get("group.instance.id").is_some() {
        return Duration::ZERO;
    }
    let session = client.get("session.timeout.ms").and_then(|ms| ms.parse().ok());
    session.map_or(SESSION, Duration::from_millis) / 2
}

fn consumer_of(
    client: &ClientConfig,
    source: &SourceConfig,
    reader: &Reader,
    services: &Services,
) -> Result<BaseConsumer<Context>, KafkaError> {
    client.create_with_context(Context::new(reader.clone(), source.drain, services.clone()))
}

/// Waits for `time`, or until the worker stops.
fn pause(time: Duration, services: &Services) {
    let begun = Instant::now();
    while begun.elapsed() < time && !services.signals.stopping() {
        services.health.polled();
        std::thread::park_timeout(LOOK);
    }
}

/// The consumers that were replaced lately.
#[derive(Debug, Default)]
struct Renewals(VecDeque<Instant>);

impl Renewals {
    /// The wait before the consumer is replaced, which is then counted. `None` if consumers fail too
    /// often.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        self.0.retain(|&before| now.saturating_duration_since(before) < RENEWALS_WITHIN);
        let wait = WAITS.get(self.0.len()).copied()?;
        self.0.push_back(now);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_property_replaces_its_default_by_any_of_its_names() {
        let names = ["max.partition.fetch.bytes", "fetch.message.max.bytes"];
        let set = |name: &str| {
            let mut source = SourceConfig::default();
            source.properties.insert(name.into(), "1048576".into());
            let client = client(&KafkaConfig::default(), &source);
            names.map(|name| client.get(name).map(str::to_owned))
        };
        let large = || Some("1048576".to_owned());
        assert_eq!(set("client.rack"), [Some("262144".into()), None]);
        assert_eq!(set(names[0]), [large(), None]);
        assert_eq!(set(names[1]), [None, large()]);
    }

    #[test]
    fn a_static_member_may_return_at_once() {
        let mut client = ClientConfig::new();
        assert_eq!(noticed(&client), Duration::from_millis(22_500));
        assert_eq!(noticed(client.set("session.timeout.ms", "6000")), Duration::from_secs(3));
        assert_eq!(noticed(client.set("group.instance.id", "a")), Duration::ZERO);
    }

    #[test]
    fn consumers_are_not_replaced_without_end() {
        let begin = Instant::now();
        let mut renewals = Renewals::default();
        let mut next = |seconds| renewals.next(begin + Duration::from_secs(seconds));
        assert_eq!([0, 1, 2].map(&mut next), WAITS.map(Some));
        assert_eq!([3, 599].map(&mut next), [None, None]);
        assert_eq!([600, 600].map(&mut next), [Some(WAITS[2]), None], "only the first is long ago");
    }
}
