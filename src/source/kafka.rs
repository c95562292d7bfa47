//! The consumer, on its own thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{SendTimeoutError, Sender, TrySendError};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use tracing::{debug, info, warn};

use super::assignment::Assignments;
use super::rebalance::{Context, list};
use super::{BATCH, Header, Incoming, Origin};
use crate::config::kafka::KafkaConfig;
use crate::config::source::{Format, SourceConfig};
use crate::grouping::key_hash;
use crate::message::Reference;
use crate::ops::metrics::Metrics;
use crate::ops::{Health, Signals};

/// How long a full queue may hold up the poll before the partitions are paused: a pause throws away what was fetched ahead.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long one poll waits for a message.
const POLL: Duration = Duration::from_millis(20);
/// Offsets of one partition that may be taken beyond its watermark: one slow item must not let the books grow without bound.
const HELD: usize = 100_000;
/// How often offsets are stored.
const STORE_EVERY: Duration = Duration::from_millis(100);

/// Why the source ended early.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The client could not be made, or the subscription failed.
    #[error("kafka consumer: {0}")]
    Client(#[from] KafkaError),
    /// librdkafka gave up.
    #[error("kafka consumer: fatal: {0}")]
    Fatal(String),
    /// Items vanished without a verdict: a bug, so nothing more is acknowledged.
    #[error("a bug: {0} items were dropped without a verdict; they are not acknowledged and will be read again")]
    Lost(u64),
}

/// The consumer of the worker.
pub struct KafkaSource {
    consumer: BaseConsumer<Context>,
    format: Format,
    topic: String,
    deadline: Duration,
    signals: Arc<Signals>,
    metrics: Arc<Metrics>,
}

impl KafkaSource {
    /// A consumer that will join the group when it runs.
    ///
    /// # Errors
    /// [`SourceError::Client`] if a property is wrong.
    pub fn new(
        kafka: &KafkaConfig,
        source: &SourceConfig,
        deadline: Duration,
        signals: Arc<Signals>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, SourceError> {
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
        // KIP-848: the broker assigns, and refuses a client that names a strategy.
        if client.get("group.protocol") == Some("consumer") {
            client.remove("partition.assignment.strategy");
        }
        client.set("group.id", &kafka.group_id);
        client.set("enable.auto.commit", "true");
        client.set("enable.auto.offset.store", "false");
        client.set("enable.partition.eof", "false");
        client.set_log_level(RDKafkaLogLevel::Warning);
        let context = Context {
            assignments: Assignments::default(),
            drain: source.drain,
            signals: Arc::clone(&signals),
            health,
            metrics: Arc::clone(&metrics),
            paused: AtomicBool::new(false),
            pending: Mutex::new(Vec::new()),
        };
        let consumer: BaseConsumer<Context> = client.create_with_context(context)?;
        Ok(Self { consumer, format: source.format, topic: source.topic.clone(), deadline, signals, metrics })
    }

    /// Polls until told to stop, then waits for the verdicts of what was taken, stores the offsets and leaves the group.
    ///
    /// # Errors
    /// [`SourceError`]; the group is left in any case.
    pub fn run(self, out: Sender<Vec<Incoming>>) -> Result<(), SourceError> {
        self.consumer.subscribe(&[&self.topic])?;
        let result = self.poll_until_stopped(&out);
        if result.is_ok() && !self.signals.aborted() {
            self.drain(&out);
        }
        self.context().store(&self.consumer, None);
        let gave_up = self.context().assignments.unresolved(None) > 0;
        self.context().assignments.close(&self.context().assignments.partitions());
        if gave_up {
            // Nobody waits for these items any more; the stages that hold them need not finish them.
            self.signals.abort();
        }
        // What was stored is committed when the consumer closes, which dropping it does.
        if let Err(error) = self.consumer.commit_consumer_state(CommitMode::Sync)
            && !matches!(error, KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset))
        {
            warn!(%error, "the last offsets were not committed; some items will be read again");
        }
        result
    }

    fn poll_until_stopped(&self, out: &Sender<Vec<Incoming>>) -> Result<(), SourceError> {
        let mut stored = Instant::now();
        while !self.signals.stopping() {
            if self.context().pending().is_empty() {
                self.fill()?;
            } else if let Some(message) = self.poll(POLL)? {
                // A partition assigned while the others were paused has sent something already.
                self.take(&message);
                self.pause();
            }
            self.hand_over(out);
            if stored.elapsed() >= STORE_EVERY {
                stored = Instant::now();
                self.context().store(&self.consumer, None);
                self.check_lost()?;
            }
        }
        Ok(())
    }

    /// Takes what is there, up to a batch; waits only for the first.
    fn fill(&self) -> Result<(), SourceError> {
        let mut wait = POLL;
        for _ in 0..BATCH {
            let Some(message) = self.poll(wait)? else { break };
            self.take(&message);
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn poll(&self, wait: Duration) -> Result<Option<BorrowedMessage<'_>>, SourceError> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(message)),
            Some(Err(error)) => {
                if let Some((_, reason)) = self.consumer.client().fatal_error() {
                    return Err(SourceError::Fatal(reason));
                }
                // Brokers that are away, topics that are not there yet: librdkafka goes on trying.
                warn!(%error, "kafka consumer");
                self.metrics.consumer_errors.inc();
                Ok(None)
            }
        }
    }

    fn take(&self, message: &BorrowedMessage<'_>) {
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        let Some(ticket) = self.context().assignments.take(topic, partition, offset) else {
            debug!(topic, partition, offset, "message of a partition that is not ours");
            return;
        };
        self.metrics.received.inc();
        let payload = message.payload().unwrap_or_default();
        let content = match self.format {
            Format::Json => Reference::from_json(payload),
            Format::Raw => Reference::from_raw(message.key(), payload),
        };
        let content = content.map_err(|failure| (failure, Bytes::copy_from_slice(payload)));
        let (headers, key) = (headers(message), message.key().map(key_hash));
        let origin = Origin { ticket, headers, key, received: Instant::now() };
        self.context().pending().push(Incoming { origin, content });
    }

    /// Gives a batch to the next stage. If that is full for long, the partitions are paused until it is half empty.
    fn hand_over(&self, out: &Sender<Vec<Incoming>>) {
        let context = self.context();
        let batch = std::mem::take(&mut *context.pending());
        let paused = context.paused.load(Ordering::Relaxed);
        self.metrics.queue.with_label_values(&["decode"]).set(out.len() as i64);
        if !batch.is_empty() {
            let refused = match paused {
                true => out.try_send(batch).err().map(TrySendError::into_inner),
                false => out.send_timeout(batch, PATIENCE).err().map(SendTimeoutError::into_inner),
            };
            if let Some(batch) = refused {
                *context.pending() = batch;
                return self.pause();
            }
        }
        // A pause costs a fetch, so it lasts until it was worth it.
        let room = out.capacity().is_none_or(|capacity| out.len() <= capacity / 2);
        let held = context.assignments.longest() > HELD;
        match paused {
            false if held => self.pause(),
            true if room && !held && !self.signals.stopping() => self.resume(),
            _ => {}
        }
    }

    fn pause(&self) {
        if let Err(error) = self.consumer.pause(&list(&self.context().assignments.partitions(), None)) {
            warn!(%error, "partitions were not paused");
        }
        self.context().paused.store(true, Ordering::Relaxed);
        self.metrics.paused.set(1);
    }

    fn resume(&self) {
        if let Err(error) = self.consumer.resume(&list(&self.context().assignments.partitions(), None)) {
            warn!(%error, "partitions were not resumed");
        }
        self.context().paused.store(false, Ordering::Relaxed);
        self.metrics.paused.set(0);
    }

    /// Waits for the verdicts of everything taken, polling on so that the group does not lose us.
    fn drain(&self, out: &Sender<Vec<Incoming>>) {
        let start = Instant::now();
        self.pause();
        let assignments = &self.context().assignments;
        info!(items = assignments.unresolved(None), "stopping: waiting for the verdicts of what was taken");
        while assignments.unresolved(None) > 0 && start.elapsed() < self.deadline && !self.signals.aborted() {
            self.hand_over(out);
            self.signals.flush();
            if let Some(Ok(message)) = self.consumer.poll(POLL) {
                debug!(offset = message.offset(), "left for after the restart");
            }
        }
        match assignments.unresolved(None) {
            0 => info!(seconds = start.elapsed().as_secs_f32(), "every item taken has its verdict"),
            items => warn!(items, "gave up waiting for verdicts; these items will be read again"),
        }
    }

    fn check_lost(&self) -> Result<(), SourceError> {
        match self.context().assignments.lost() {
            // After another stage's failure its items are lost too; that failure is the one to tell of.
            _ if self.signals.aborted() => Ok(()),
            0 => Ok(()),
            lost => Err(SourceError::Lost(lost)),
        }
    }

    fn context(&self) -> &Context {
        self.consumer.context()
    }
}

/// A message's headers; none if a key of them is not UTF-8, on which the client library panics.
fn headers(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let Some(headers) = message.headers() else { return Vec::new() };
    let read = catch_unwind(AssertUnwindSafe(|| headers.iter().map(header).collect()));
    read.unwrap_or_else(|_| {
        warn!(offset = message.offset(), "a header's key is not UTF-8; the headers are left out");
        Vec::new()
    })
}

fn header(header: rdkafka::message::Header<'_, &[u8]>) -> Header {
    Header { key: header.key.to_owned(), value: header.value.map(<[u8]>::to_vec) }
}
