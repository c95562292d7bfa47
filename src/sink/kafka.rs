//! The producer, on its own thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use serde::Serialize;
use tracing::{error, warn};

use super::message::{Records, word};
use super::{Ending, Subject};
use crate::config::kafka::KafkaConfig;
use crate::config::sink::SinkConfig;
use crate::engine::{Judged, Verdict};
use crate::message::{Failure, Reference};
use crate::offsets::Ticket;
use crate::ops::metrics::Metrics;
use crate::ops::{Health, Signals};
use crate::source::{Header, Origin};

/// How long to wait for endings while deliveries are outstanding: the producer must be polled for its reports.
const BUSY_WAIT: Duration = Duration::from_millis(2);
/// How long to wait for endings while nothing is outstanding.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// Why the sink ended early.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The client could not be made, or a record was refused.
    #[error("kafka producer: {0}")]
    Client(#[from] KafkaError),
    /// A record could not be delivered.
    #[error("kafka producer: a record was not delivered: {0}; its item is not acknowledged and will be read again")]
    Undelivered(String),
    /// A record could not be written as JSON.
    #[error("a bug: a record could not be written: {0}")]
    Record(#[from] serde_json::Error),
}

/// What one item still owes: its ticket resolves when the broker has acknowledged every record.
struct Receipt {
    ticket: Option<Ticket>,
    owed: AtomicUsize,
}

impl Receipt {
    fn new(ticket: Ticket, records: usize) -> Arc<Self> {
        Arc::new(Self { ticket: Some(ticket), owed: AtomicUsize::new(records) })
    }
}

impl Drop for Receipt {
    /// Runs with the last record's report. If any record was not acknowledged the ticket is dropped unresolved, which counts as lost.
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take()
            && self.owed.load(Ordering::Acquire) == 0
        {
            ticket.resolve();
        }
    }
}

/// What librdkafka calls back, inside the sink thread's poll.
struct Context {
    outstanding: AtomicUsize,
    acknowledged: AtomicBool,
    failed: std::sync::Mutex<Option<String>>,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Receipt>;

    fn delivery(&self, result: &DeliveryResult<'_>, receipt: Arc<Receipt>) {
        self.outstanding.fetch_sub(1, Ordering::AcqRel);
        match result {
            Ok(_) => {
                receipt.owed.fetch_sub(1, Ordering::AcqRel);
                self.acknowledged.store(true, Ordering::Release);
            }
            Err((error, record)) => {
                error!(%error, topic = record.topic(), "a record was not delivered");
                let mut failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failed.get_or_insert_with(|| format!("{error} (topic {})", record.topic()));
            }
        }
    }
}

/// The producer of the worker.
pub struct KafkaSink {
    producer: BaseProducer<Context>,
    config: SinkConfig,
    records: Records,
    signals: Arc<Signals>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    deadline: Duration,
}

impl KafkaSink {
    /// A producer for the configured topics.
    ///
    /// # Errors
    /// [`SinkError::Client`] if a property is wrong.
    pub fn new(
        kafka: &KafkaConfig,
        config: &SinkConfig,
        records: Records,
        deadline: Duration,
        signals: Arc<Signals>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, SinkError> {
        let mut client = kafka.client(&config.properties);
        client.set("enable.idempotence", "true");
        client.set_log_level(RDKafkaLogLevel::Warning);
        let context = Context {
            outstanding: AtomicUsize::new(0),
            acknowledged: AtomicBool::new(false),
            failed: std::sync::Mutex::new(None),
        };
        let producer = client.create_with_context(context)?;
        Ok(Self { producer, config: config.clone(), records, signals, health, metrics, deadline })
    }

    /// Publishes every ending until the stages before are gone, then flushes.
    ///
    /// # Errors
    /// [`SinkError`]: a record was refused or not delivered.
    pub fn run(self, endings: Receiver<Vec<Ending>>) -> Result<(), SinkError> {
        loop {
            let wait = if self.context().outstanding.load(Ordering::Acquire) > 0 { BUSY_WAIT } else { IDLE_WAIT };
            match endings.recv_timeout(wait) {
                Ok(batch) => {
                    self.metrics.queue.with_label_values(&["sink"]).set(endings.len() as i64);
                    let now = now();
                    for ending in batch {
                        self.publish(ending, &now)?;
                    }
                    self.signals.verdicts_out();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            self.poll(Duration::ZERO)?;
        }
    }

    fn flush(&self) -> Result<(), SinkError> {
        let start = Instant::now();
        while self.context().outstanding.load(Ordering::Acquire) > 0 && start.elapsed() < self.deadline {
            self.poll(Duration::from_millis(20))?;
        }
        match self.context().outstanding.load(Ordering::Acquire) {
            0 => Ok(()),
            n => Err(SinkError::Undelivered(format!("{n} records were still on their way when time was up"))),
        }
    }

    /// Serves delivery reports.
    fn poll(&self, wait: Duration) -> Result<(), SinkError> {
        self.producer.poll(wait);
        self.health.unacknowledged(self.context().outstanding.load(Ordering::Acquire));
        if self.context().acknowledged.swap(false, Ordering::AcqRel) {
            self.signals.verdicts_out();
        }
        let mut failed = self.context().failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failed.take().map_or(Ok(()), |why| Err(SinkError::Undelivered(why)))
    }

    fn publish(&self, ending: Ending, now: &str) -> Result<(), SinkError> {
        if !ending.origin().ticket.is_current() {
            // The partition is somebody else's now, and so is the verdict.
            return Ok(());
        }
        self.metrics.verdict_age.observe(ending.origin().received.elapsed().as_secs_f64());
        match ending {
            Ending::Judged(judged) => self.publish_judged(judged, now),
            Ending::Dead { origin, reference, payload, failure } => {
                self.publish_dead(origin, reference.as_ref(), &payload, &failure, now)
            }
        }
    }

    fn publish_judged(&self, judged: Judged<Subject>, now: &str) -> Result<(), SinkError> {
        self.metrics.items.with_label_values(&[word(&judged.verdict)]).inc();
        let verdict = self.config.verdicts_topic.as_ref().map(|_| self.records.verdict(&judged, now));
        match &judged.verdict {
            Verdict::Failed(failure) => {
                let failure = failure.clone();
                let Subject { reference, origin } = judged.payload;
                return self.send_dead(origin, Some(&reference), &[], &failure, verdict, now);
            }
            Verdict::Cleared if verdict.is_none() => {
                self.health.verdict();
                judged.payload.origin.ticket.resolve();
                return Ok(());
            }
            _ => self.health.verdict(),
        }
        let flag = match &judged.verdict {
            Verdict::Flagged(passed) => Some(self.records.flag(&judged, passed, now)),
            _ => None,
        };
        let Subject { reference, origin } = judged.payload;
        let receipt = Receipt::new(origin.ticket, usize::from(flag.is_some()) + usize::from(verdict.is_some()));
        if let Some(mut flag) = flag {
            for label in &flag.labels {
                self.metrics.flagged.with_label_values(&[label.label.as_str()]).inc();
            }
            let whole = serde_json::to_vec(&flag)?;
            if !self.send(&self.config.flagged_topic, &reference.id, &whole, &origin.headers, &receipt)? {
                // Larger than the broker takes: what the sender added is left out rather than the flag.
                flag.metadata = None;
                flag.uri = None;
                self.send_slim(&self.config.flagged_topic, &reference.id, &flag, &receipt)?;
            }
        }
        if let (Some(topic), Some(verdict)) = (&self.config.verdicts_topic, verdict) {
            self.send_slim(topic, &reference.id, &verdict, &receipt)?;
        }
        Ok(())
    }

    fn publish_dead(
        &self,
        origin: Origin,
        reference: Option<&Reference>,
        payload: &[u8],
        failure: &Failure,
        now: &str,
    ) -> Result<(), SinkError> {
        self.metrics.items.with_label_values(&["failed"]).inc();
        let verdict = self.config.verdicts_topic.as_ref().map(|_| self.records.failed(&origin, reference, now));
        self.send_dead(origin, reference, payload, failure, verdict, now)
    }

    fn send_dead(
        &self,
        origin: Origin,
        reference: Option<&Reference>,
        payload: &[u8],
        failure: &Failure,
        verdict: Option<super::message::VerdictRecord>,
        now: &str,
    ) -> Result<(), SinkError> {
        self.health.dead_letter();
        self.metrics.dead_letters.with_label_values(&[failure.reason.code()]).inc();
        let mut letter = self.records.dead(&origin, reference, payload, failure, now);
        let key = letter.id.clone().unwrap_or_default();
        let receipt = Receipt::new(origin.ticket, 1 + usize::from(verdict.is_some()));
        let whole = serde_json::to_vec(&letter)?;
        if !self.send(&self.config.dead_letter_topic, &key, &whole, &origin.headers, &receipt)? {
            letter.payload = None;
            letter.metadata = None;
            self.send_slim(&self.config.dead_letter_topic, &key, &letter, &receipt)?;
        }
        if let (Some(topic), Some(verdict)) = (&self.config.verdicts_topic, verdict) {
            self.send_slim(topic, &key, &verdict, &receipt)?;
        }
        Ok(())
    }

    /// Sends a record without the sender's headers; one that is still too large is an error.
    fn send_slim(
        &self,
        topic: &str,
        key: &str,
        record: &impl Serialize,
        receipt: &Arc<Receipt>,
    ) -> Result<(), SinkError> {
        match self.send(topic, key, &serde_json::to_vec(record)?, &[], receipt)? {
            true => Ok(()),
            false => Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge).into()),
        }
    }

    /// Queues a record; waits while the queue is full. False if it is larger than the producer may send.
    fn send(
        &self,
        topic: &str,
        key: &str,
        payload: &[u8],
        headers: &[Header],
        receipt: &Arc<Receipt>,
    ) -> Result<bool, SinkError> {
        let mut record = BaseRecord::with_opaque_to(topic, Arc::clone(receipt)).key(key).payload(payload);
        if !headers.is_empty() {
            record = record.headers(kafka_headers(headers));
        }
        self.context().outstanding.fetch_add(1, Ordering::AcqRel);
        loop {
            let (error, back) = match self.producer.send(record) {
                Ok(()) => return Ok(true),
                Err(refused) => refused,
            };
            let code = error.rdkafka_error_code();
            if code == Some(RDKafkaErrorCode::QueueFull) && !self.signals.aborted() {
                record = back;
                self.poll(Duration::from_millis(10))?;
                continue;
            }
            self.context().outstanding.fetch_sub(1, Ordering::AcqRel);
            if code == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
                return Ok(false);
            }
            return Err(error.into());
        }
    }

    fn context(&self) -> &Context {
        self.producer.context()
    }
}

fn kafka_headers(headers: &[Header]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |all, h| {
        all.insert(KafkaHeader { key: &h.key, value: h.value.as_ref() })
    })
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
