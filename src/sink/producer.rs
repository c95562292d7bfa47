//! The producer that sends the worker's records: in batches, again if they are refused, and by a new
//! client if their brokers do not answer.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use tracing::warn;

use super::delivery::{Deliveries, Form, Outgoing, Receipt, Refused, concerns_record};
use super::kafka::SinkError;
use super::message::Record;
use super::renewal::Renewal;
use super::topics;
use crate::config::kafka::KafkaConfig;
use crate::config::sink::SinkConfig;
use crate::failure::Reason;
use crate::item::Header;
use crate::ops::Services;

/// How long a record waits for the brokers, in milliseconds: two hours.
const DELIVERY_TIMEOUT_MS: &str = "7200000";

/// Sends records to the topics of the configuration. One thread owns it.
pub(super) struct RecordProducer {
    /// Replaced if its records wait without end.
    producer: RefCell<BaseProducer<Deliveries>>,
    renewal: RefCell<Renewal>,
    /// The properties of the producer.
    properties: ClientConfig,
    /// How to reach the brokers.
    client: ClientConfig,
    config: SinkConfig,
    deadline: Duration,
    services: Services,
}

impl RecordProducer {
    /// A producer. It waits at most `deadline` for delivery reports when it is flushed or replaced.
    ///
    /// # Errors
    /// [`SinkError::Client`] if a property is wrong.
    pub fn new(
        kafka: &KafkaConfig,
        config: &SinkConfig,
        deadline: Duration,
        services: Services,
    ) -> Result<Self, SinkError> {
        let mut client = kafka.client(&config.properties);
        let plain = client.clone();
        client.set("enable.idempotence", "true");
        // Two names of one property. Back pressure bounds the memory of the records meanwhile.
        if client.get("message.timeout.ms").or(client.get("delivery.timeout.ms")).is_none() {
            client.set("message.timeout.ms", DELIVERY_TIMEOUT_MS);
        }
        client.set_log_level(RDKafkaLogLevel::Warning);
        let producer = client.create_with_context(Deliveries::default())?;
        Ok(Self {
            producer: RefCell::new(producer),
            renewal: RefCell::new(Renewal::new(config.renew_after)),
            properties: client,
            client: plain,
            config: config.clone(),
            deadline,
            services,
        })
    }

    /// Checks that the topics exist, so that a missing one is noticed before its first record. If the
    /// brokers create topics on demand, they create them now.
    pub fn check_topics(&self) -> Result<(), SinkError> {
        let asking = topics::Asking::new(&self.client)?;
        for (key, topic) in self.config.topics() {
            match asking.partitions_or_create(topic, &self.services.signals) {
                Ok(Some(_)) => {}
                Ok(None) => return Err(SinkError::MissingTopic { key, topic: topic.to_owned() }),
                // The brokers may come later, and a right may be given later.
                Err(error) => {
                    warn!(key, topic, %error, "the topics could not be checked");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Queues a record, in a batch with others.
    pub fn send(
        &self,
        record: Record,
        headers: &[Header],
        receipt: &Arc<Receipt>,
    ) -> Result<(), SinkError> {
        let (receipt, headers, form) = (Arc::clone(receipt), headers.to_vec(), Form::Batched);
        self.queue(Box::new(Outgoing { receipt, record, headers, form, number: 0 }))
    }

    /// Serves delivery reports.
    pub fn poll(&self, wait: Duration) -> Result<(), SinkError> {
        self.serve(wait)?;
        let failed = {
            let producer = self.producer.borrow();
            let deliveries = producer.context();
            self.services.health.unacknowledged(deliveries.outstanding());
            if deliveries.take_acknowledged() {
                self.services.signals.verdicts_published();
            }
            deliveries.take_failed()
        };
        match failed {
            Some(why) => Err(SinkError::Undelivered(why)),
            None => self.send_refused(),
        }
    }

    /// Calls librdkafka's callbacks, and replaces the producer if its records wait for too long.
    fn serve(&self, wait: Duration) -> Result<(), SinkError> {
        self.producer.borrow().poll(wait);
        let oldest = self.producer.borrow().context().oldest();
        if self.renewal.borrow_mut().due(oldest, Instant::now()) {
            self.renew()?;
        }
        Ok(())
    }

    /// Sends all records that wait again, with a new producer. Some of them may then be delivered
    /// twice. Does nothing if the brokers do not answer a new client, or if a topic is missing.
    fn renew(&self) -> Result<(), SinkError> {
        let asking = topics::Asking::new(&self.client)?;
        let exists = |topic| asking.partitions(topic).is_ok_and(|found| found.is_some());
        if !self.config.topics().into_iter().all(|(_, topic)| exists(topic)) {
            return Ok(());
        }
        let new = self.properties.create_with_context(Deliveries::default())?;
        let old = self.producer.replace(new);
        old.context().replace();
        old.purge(PurgeConfig::default().queue().inflight());
        let begun = Instant::now();
        while old.context().outstanding() > 0 && begun.elapsed() < self.deadline {
            old.poll(Duration::from_millis(10));
        }
        if let Some(why) = old.context().take_failed() {
            return Err(SinkError::Undelivered(why));
        }
        // A refused record is refused again, by the new producer.
        let refused = old.context().take_refused().into_iter().map(|refused| *refused.outgoing);
        let again: Vec<Outgoing> = refused.chain(old.context().take_back()).collect();
        warn!(
            records = again.len(),
            "records had no answer from the brokers for too long; they are sent again by a new producer"
        );
        self.services.metrics.producer_renewals.inc();
        again.into_iter().try_for_each(|outgoing| self.queue(Box::new(outgoing)))
    }

    /// Waits until no record is on its way.
    ///
    /// # Errors
    /// [`SinkError::Undelivered`] if records have no report at the deadline.
    pub fn flush(&self) -> Result<(), SinkError> {
        let start = Instant::now();
        while self.outstanding() > 0 && start.elapsed() < self.deadline {
            self.poll(Duration::from_millis(20))?;
        }
        match self.outstanding() {
            0 => Ok(()),
            n => Err(SinkError::Undelivered(format!("{n} records had no report at the deadline"))),
        }
    }

    /// Queues a record, and waits while the queue is full.
    fn queue(&self, mut outgoing: Box<Outgoing>) -> Result<(), SinkError> {
        let payload = serde_json::to_vec(&outgoing.record)?;
        let topic = self.topic(&outgoing.record).to_owned();
        let key = outgoing.record.key().to_owned();
        let headers = (!outgoing.headers.is_empty()).then(|| kafka_headers(&outgoing.headers));
        outgoing.number = self.producer.borrow().context().sent();
        let mut message =
            BaseRecord::with_opaque_to(&topic, outgoing).key(&key[..]).payload(&payload[..]);
        message.headers = headers;
        loop {
            let (error, returned) = match self.producer.borrow().send(message) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let code = error.rdkafka_error_code();
            if code == Some(RDKafkaErrorCode::QueueFull) && !self.services.signals.aborted() {
                message = returned;
                self.producer.borrow().poll(Duration::from_millis(10));
                continue;
            }
            self.producer.borrow().context().refused(returned.delivery_opaque, &error);
            return if concerns_record(code) { Ok(()) } else { Err(error.into()) };
        }
    }

    /// Sends the records again that were refused, each alone and in its next form, until none is
    /// left.
    fn send_refused(&self) -> Result<(), SinkError> {
        loop {
            let refused = self.producer.borrow().context().take_refused();
            if refused.is_empty() {
                return Ok(());
            }
            for Refused { outgoing, error } in refused {
                self.settle()?;
                self.queue(Box::new(self.next_form(*outgoing, &error)?))?;
                self.settle()?;
            }
        }
    }

    /// Waits until no record is on its way.
    fn settle(&self) -> Result<(), SinkError> {
        while self.outstanding() > 0 && !self.services.signals.aborted() {
            self.serve(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// What to send instead of a record that was refused.
    fn next_form(&self, outgoing: Outgoing, error: &str) -> Result<Outgoing, SinkError> {
        let Outgoing { receipt, record, headers, form, number } = outgoing;
        let topic = self.topic(&record);
        let id = record.key();
        match form {
            Form::Batched => Ok(Outgoing { receipt, record, headers, form: Form::Alone, number }),
            Form::Alone => {
                warn!(
                    topic,
                    id, error, "a record was refused; it is sent without the sender's fields"
                );
                let record = record.slim();
                Ok(Outgoing { receipt, record, headers: Vec::new(), form: Form::Slim, number })
            }
            Form::Slim => {
                warn!(topic, id, error, "a record was refused; its item becomes a dead letter");
                let Some(dead) = record.clone().refused(topic, error) else {
                    let (topic, error) = (topic.to_owned(), error.to_owned());
                    return Err(SinkError::RefusedDeadLetter { topic, error });
                };
                self.services.metrics.dead_letter(Reason::Undeliverable);
                let (record, headers) = (Record::DeadLetter(dead), Vec::new());
                Ok(Outgoing { receipt, record, headers, form: Form::Alone, number })
            }
        }
    }

    fn topic(&self, record: &Record) -> &str {
        match record {
            Record::Flag(_) => &self.config.flagged_topic,
            Record::Verdict(_) => self.config.verdicts_topic.as_deref().unwrap_or_default(),
            Record::DeadLetter(_) => &self.config.dead_letter_topic,
        }
    }

    /// Records that were sent and have no report yet.
    pub fn outstanding(&self) -> usize {
        self.producer.borrow().context().outstanding()
    }
}

fn kafka_headers(headers: &[Header]) -> OwnedHeaders {
    let all = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(all, |all, header| {
        all.insert(KafkaHeader { key: &header.key, value: header.value.as_ref() })
    })
}
