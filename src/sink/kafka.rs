//! The producer, on its own thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use dorfman_core::engine::{ItemVerdict, Verdict};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::Serialize;

use super::delivery::{Deliveries, Receipt};
use super::message::{DeadLetterRecord, FlagRecord, Records, VerdictRecord, verdict_name};
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
    /// A record could not be written as JSON.
    #[error("a bug: a record could not be written: {0}")]
    Record(#[from] serde_json::Error),
}

/// The producer of the worker.
pub struct KafkaSink {
    producer: BaseProducer<Deliveries>,
    config: SinkConfig,
    records: Records,
    deadline: Duration,
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
    /// A producer for the configured topics. At the end, it waits at most `deadline` for delivery
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
        let mut client = kafka.client(&config.properties);
        client.set("enable.idempotence", "true");
        client.set_log_level(RDKafkaLogLevel::Warning);
        let producer = client.create_with_context(Deliveries::default())?;
        Ok(Self { producer, config: config.clone(), records, deadline, services })
    }

    /// Publishes every item until the stages before have ended, then waits for the delivery
    /// reports.
    ///
    /// # Errors
    /// [`SinkError`] if a record was refused or not delivered.
    pub fn run(self, finished: Receiver<Vec<FinishedItem>>) -> Result<(), SinkError> {
        loop {
            let busy = self.deliveries().outstanding() > 0;
            match finished.recv_timeout(if busy { BUSY_WAIT } else { IDLE_WAIT }) {
                Ok(batch) => {
                    let waiting = finished.len() as i64;
                    self.services.metrics.queue.with_label_values(&["sink"]).set(waiting);
                    self.publish_batch(batch)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            self.poll(Duration::ZERO)?;
        }
    }

    fn publish_batch(&self, batch: Vec<FinishedItem>) -> Result<(), SinkError> {
        let now = jiff::Timestamp::now().to_string();
        for item in batch {
            self.publish(item, &now)?;
        }
        self.services.signals.verdicts_published();
        Ok(())
    }

    fn flush(&self) -> Result<(), SinkError> {
        let start = Instant::now();
        while self.deliveries().outstanding() > 0 && start.elapsed() < self.deadline {
            self.poll(Duration::from_millis(20))?;
        }
        match self.deliveries().outstanding() {
            0 => Ok(()),
            n => Err(SinkError::Undelivered(format!("{n} records had no report at the deadline"))),
        }
    }

    /// Serves delivery reports.
    fn poll(&self, wait: Duration) -> Result<(), SinkError> {
        self.producer.poll(wait);
        let deliveries = self.deliveries();
        self.services.health.unacknowledged(deliveries.outstanding());
        if deliveries.take_acknowledged() {
            self.services.signals.verdicts_published();
        }
        deliveries.take_failed().map_or(Ok(()), |why| Err(SinkError::Undelivered(why)))
    }

    fn publish(&self, item: FinishedItem, now: &str) -> Result<(), SinkError> {
        if !item.origin().ticket.is_current() {
            // The partition was revoked. Another worker reads the item and publishes its verdict.
            return Ok(());
        }
        let age = item.origin().received.elapsed().as_secs_f64();
        self.services.metrics.verdict_age.observe(age);
        match item {
            FinishedItem::Verdict(verdict) => self.publish_verdict(verdict, now),
            FinishedItem::DeadLetter { origin, reference, payload, failure } => {
                self.publish_unscored(origin, reference.as_ref(), &payload, &failure, now)
            }
        }
    }

    fn publish_verdict(&self, verdict: ItemVerdict<Item>, now: &str) -> Result<(), SinkError> {
        self.count_item(verdict_name(&verdict.verdict));
        let record = self.verdicts_wanted().then(|| self.records.verdict(&verdict, now));
        if let Verdict::Failed(error) = verdict.verdict {
            let Item { reference, origin } = verdict.payload;
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
        let Item { reference, origin } = verdict.payload;
        let records = usize::from(flag.is_some()) + usize::from(record.is_some());
        if records == 0 {
            origin.ticket.resolve();
            return Ok(());
        }
        let receipt = Receipt::new(origin.ticket, records);
        if let Some(flag) = flag {
            self.send_flag(flag, &reference.id, &origin.headers, &receipt)?;
        }
        self.send_verdict(record, &reference.id, &receipt)
    }

    fn publish_unscored(
        &self,
        origin: Origin,
        reference: Option<&Reference>,
        payload: &Bytes,
        failure: &Failure,
        now: &str,
    ) -> Result<(), SinkError> {
        self.count_item("failed");
        let record = self.verdicts_wanted().then(|| self.records.failed(&origin, reference, now));
        self.send_dead_letter(Dead { origin, reference, payload, failure }, record, now)
    }

    fn send_flag(
        &self,
        mut flag: FlagRecord,
        key: &str,
        headers: &[Header],
        receipt: &Arc<Receipt>,
    ) -> Result<(), SinkError> {
        for label in &flag.labels {
            self.services.metrics.flagged.with_label_values(&[label.label.as_str()]).inc();
        }
        let topic = &self.config.flagged_topic;
        let full = serde_json::to_vec(&flag)?;
        if self.send(topic, key, &full, headers, receipt)? {
            return Ok(());
        }
        // The record is larger than the broker accepts. It is sent without the sender's fields.
        flag.metadata = None;
        flag.uri = None;
        self.send_without_headers(topic, key, &flag, receipt)
    }

    fn send_dead_letter(
        &self,
        dead: Dead<'_>,
        verdict: Option<VerdictRecord>,
        now: &str,
    ) -> Result<(), SinkError> {
        let Dead { origin, reference, payload, failure } = dead;
        self.services.health.dead_letter();
        let reason = failure.reason.code();
        self.services.metrics.dead_letters.with_label_values(&[reason]).inc();
        let record = self.records.dead_letter(&origin, reference, payload, failure, now);
        let key = record.id.clone().unwrap_or_default();
        let receipt = Receipt::new(origin.ticket, 1 + usize::from(verdict.is_some()));
        self.send_dead_letter_record(record, &key, &origin.headers, &receipt)?;
        self.send_verdict(verdict, &key, &receipt)
    }

    fn send_dead_letter_record(
        &self,
        mut record: DeadLetterRecord,
        key: &str,
        headers: &[Header],
        receipt: &Arc<Receipt>,
    ) -> Result<(), SinkError> {
        let topic = &self.config.dead_letter_topic;
        let full = serde_json::to_vec(&record)?;
        if self.send(topic, key, &full, headers, receipt)? {
            return Ok(());
        }
        record.payload = None;
        record.metadata = None;
        self.send_without_headers(topic, key, &record, receipt)
    }

    fn send_verdict(
        &self,
        record: Option<VerdictRecord>,
        key: &str,
        receipt: &Arc<Receipt>,
    ) -> Result<(), SinkError> {
        match (&self.config.verdicts_topic, record) {
            (Some(topic), Some(record)) => self.send_without_headers(topic, key, &record, receipt),
            _ => Ok(()),
        }
    }

    /// Sends a record without the sender's headers. A record that is still too large is an error.
    fn send_without_headers(
        &self,
        topic: &str,
        key: &str,
        record: &impl Serialize,
        receipt: &Arc<Receipt>,
    ) -> Result<(), SinkError> {
        if self.send(topic, key, &serde_json::to_vec(record)?, &[], receipt)? {
            return Ok(());
        }
        Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge).into())
    }

    /// Queues a record, and waits while the queue is full. Returns false if the record is larger
    /// than the producer may send.
    fn send(
        &self,
        topic: &str,
        key: &str,
        payload: &[u8],
        headers: &[Header],
        receipt: &Arc<Receipt>,
    ) -> Result<bool, SinkError> {
        let mut record =
            BaseRecord::with_opaque_to(topic, Arc::clone(receipt)).key(key).payload(payload);
        if !headers.is_empty() {
            record = record.headers(kafka_headers(headers));
        }
        self.deliveries().sent();
        loop {
            let (error, returned) = match self.producer.send(record) {
                Ok(()) => return Ok(true),
                Err(refused) => refused,
            };
            let code = error.rdkafka_error_code();
            if code == Some(RDKafkaErrorCode::QueueFull) && !self.services.signals.aborted() {
                record = returned;
                self.poll(Duration::from_millis(10))?;
                continue;
            }
            self.deliveries().refused();
            if code == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
                return Ok(false);
            }
            return Err(error.into());
        }
    }

    fn count_item(&self, verdict: &str) {
        self.services.metrics.items.with_label_values(&[verdict]).inc();
    }

    fn verdicts_wanted(&self) -> bool {
        self.config.verdicts_topic.is_some()
    }

    fn deliveries(&self) -> &Deliveries {
        self.producer.context()
    }
}

fn kafka_headers(headers: &[Header]) -> OwnedHeaders {
    let all = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(all, |all, header| {
        all.insert(KafkaHeader { key: &header.key, value: header.value.as_ref() })
    })
}
