//! The sink on its own thread: what is published of each finished item.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use dorfman_core::engine::{ItemVerdict, Verdict};
use rdkafka::error::KafkaError;

use super::delivery::Receipt;
use super::message::{FlagRecord, Record, VerdictRecord};
use super::producer::RecordProducer;
use super::records::{Records, verdict_name};
use crate::config::kafka::KafkaConfig;
use crate::config::sink::SinkConfig;
use crate::failure::Failure;
use crate::item::{FinishedItem, Header, Item, Origin};
use crate::message::Reference;
use crate::ops::Services;

/// The wait for finished items while delivery reports are outstanding. The producer must be polled
/// for the reports.
const BUSY_WAIT: Duration = Duration::from_millis(2);
/// The wait for finished items while no report is outstanding.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// Why the sink ended early.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The client could not be created, or a record was refused.
    #[error("kafka producer: {0}")]
    Client(#[from] KafkaError),
    /// A record could not be delivered.
    #[error(
        "kafka producer: a record was not delivered: {0}; \
         its item is not acknowledged and will be read again"
    )]
    Undelivered(String),
    /// A topic does not exist.
    #[error("`{key}`: the topic `{topic}` does not exist; create the topic, or name another one")]
    MissingTopic {
        /// The key of the configuration.
        key: &'static str,
        /// The topic.
        topic: String,
    },
    /// The topic of dead letters refuses one that is as short as it can be.
    #[error(
        "kafka producer: the topic `{topic}` refuses a dead letter: {error}; raise its \
         `max.message.bytes`; the item is not acknowledged and will be read again"
    )]
    RefusedDeadLetter {
        /// The topic.
        topic: String,
        /// Why.
        error: String,
    },
    /// A record could not be written as JSON.
    #[error("a bug: a record could not be written: {0}")]
    Record(#[from] serde_json::Error),
}

impl SinkError {
    /// Whether the brokers have failed, and not the record of one item.
    fn by_others(&self) -> bool {
        !matches!(self, Self::RefusedDeadLetter { .. } | Self::Record(_))
    }
}

/// Publishes the records of finished items.
pub struct KafkaSink {
    producer: RecordProducer,
    records: Records,
    verdicts_wanted: bool,
    services: Services,
}

/// An item without a score, and why.
struct Dead<'a> {
    origin: Origin,
    reference: Option<&'a Reference>,
    payload: &'a [u8],
    failure: &'a Failure,
}

impl KafkaSink {
    /// A sink for the configured topics. At the end, it waits at most `deadline` for delivery
    /// reports.
    ///
    /// # Errors
    /// [`SinkError::Client`] if a property is wrong.
    pub fn new(
        kafka: &KafkaConfig,
        config: &SinkConfig,
        records: Records,
        deadline: Duration,
        services: Services,
    ) -> Result<Self, SinkError> {
        let producer = RecordProducer::new(kafka, config, deadline, services.clone())?;
        let verdicts_wanted = config.verdicts_topic.is_some();
        Ok(Self { producer, records, verdicts_wanted, services })
    }

    /// Publishes every item until the stages before have ended, then waits for the delivery
    /// reports.
    ///
    /// # Errors
    /// [`SinkError`] if a topic does not exist, or if a record was not delivered.
    pub fn run(self, finished: Receiver<Vec<FinishedItem>>) -> Result<(), SinkError> {
        self.publish_all(&finished).inspect_err(|error| self.services.fail(error.by_others()))
    }

    fn publish_all(&self, finished: &Receiver<Vec<FinishedItem>>) -> Result<(), SinkError> {
        self.producer.check_topics()?;
        loop {
            let busy = self.producer.outstanding() > 0;
            match finished.recv_timeout(if busy { BUSY_WAIT } else { IDLE_WAIT }) {
                Ok(batch) => {
                    let waiting = finished.len() as i64;
                    self.services.metrics.queue.with_label_values(&["sink"]).set(waiting);
                    self.publish_batch(batch)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.producer.flush(),
            }
            self.producer.poll(Duration::ZERO)?;
        }
    }

    fn publish_batch(&self, batch: Vec<FinishedItem>) -> Result<(), SinkError> {
        let now = jiff::Timestamp::now();
        let text = now.to_string();
        for item in batch {
            // If the partition was revoked, another worker reads the item and publishes its verdict.
            if item.origin().ticket.is_current() {
                self.count(&item, now);
                self.publish(item, &text)?;
            }
        }
        self.services.signals.verdicts_published();
        Ok(())
    }

    fn publish(&self, item: FinishedItem, now: &str) -> Result<(), SinkError> {
        match item {
            FinishedItem::Verdict(verdict) => self.publish_verdict(verdict, now),
            FinishedItem::DeadLetter { origin, reference, payload, failure } => {
                self.publish_unscored(origin, reference.as_ref(), &payload, &failure, now)
            }
        }
    }

    /// Counts an item by its verdict, and observes its age in the worker and since its record.
    fn count(&self, item: &FinishedItem, now: jiff::Timestamp) {
        let (origin, metrics) = (item.origin(), &self.services.metrics);
        let verdict = [match item {
            FinishedItem::Verdict(verdict) => verdict_name(&verdict.verdict),
            FinishedItem::DeadLetter { .. } => "failed",
        }];
        metrics.items.with_label_values(&verdict).inc();
        metrics.verdict_age.observe(origin.received.elapsed().as_secs_f64());
        if let Some(timestamp) = origin.timestamp {
            // The clock of the producer may be ahead.
            let age = now.as_millisecond().saturating_sub(timestamp).max(0);
            metrics.record_age.with_label_values(&verdict).observe(age as f64 / 1e3);
        }
    }

    fn publish_verdict(&self, verdict: ItemVerdict<Item>, now: &str) -> Result<(), SinkError> {
        let record = self.verdicts_wanted.then(|| self.records.verdict(&verdict, now));
        if let Verdict::Failed(error) = verdict.verdict {
            let Item { reference, origin, .. } = verdict.payload;
            let failure = Failure::from(error);
            let dead =
                Dead { origin, reference: Some(&reference), payload: &[], failure: &failure };
            return self.send_dead_letter(dead, record, now);
        }
        self.services.health.verdict();
        let flag = match &verdict.verdict {
            Verdict::Flagged(passed) => Some(self.records.flag(&verdict, passed, now)),
            _ => None,
        };
        let origin = verdict.payload.origin;
        let records = usize::from(flag.is_some()) + usize::from(record.is_some());
        if records == 0 {
            origin.ticket.resolve();
            return Ok(());
        }
        let receipt = Receipt::new(origin.ticket, records);
        if let Some(flag) = flag {
            self.send_flag(flag, &origin.headers, &receipt)?;
        }
        self.send_verdict(record, &origin.headers, &receipt)
    }

    fn publish_unscored(
        &self,
        origin: Origin,
        reference: Option<&Reference>,
        payload: &Bytes,
        failure: &Failure,
        now: &str,
    ) -> Result<(), SinkError> {
        let record = self.verdicts_wanted.then(|| self.records.failed(&origin, reference, now));
        self.send_dead_letter(Dead { origin, reference, payload, failure }, record, now)
    }

    fn send_flag(
        &self,
        flag: FlagRecord,
        headers: &[Header],
        receipt: &Arc<Receipt>,
    ) -> Result<(), SinkError> {
        for label in &flag.labels {
            self.services.metrics.flagged.with_label_values(&[label.label.as_str()]).inc();
        }
        self.producer.send(Record::Flag(flag), headers, receipt)
    }

    fn send_dead_letter(
        &self,
        dead: Dead<'_>,
        verdict: Option<VerdictRecord>,
        now: &str,
    ) -> Result<(), SinkError> {
        let Dead { origin, reference, payload, failure } = dead;
        self.services.health.dead_letter();
        self.services.metrics.dead_letter(failure.reason);
        let record = self.records.dead_letter(&origin, reference, payload, failure, now);
        let receipt = Receipt::new(origin.ticket, 1 + usize::from(verdict.is_some()));
        self.producer.send(Record::DeadLetter(record), &origin.headers, &receipt)?;
        self.send_verdict(verdict, &origin.headers, &receipt)
    }

    fn send_verdict(
        &self,
        record: Option<VerdictRecord>,
        headers: &[Header],
        receipt: &Arc<Receipt>,
    ) -> Result<(), SinkError> {
        let Some(record) = record else { return Ok(()) };
        self.producer.send(Record::Verdict(record), headers, receipt)
    }
}
