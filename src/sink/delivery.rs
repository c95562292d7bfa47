//! Delivery reports: which records the broker has acknowledged, and whose tickets then resolve.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tracing::{error, warn};

use super::message::Record;
use crate::item::Header;
use crate::offsets::Ticket;

/// The ticket of one item, shared by the records of the item. The ticket resolves when the broker
/// has acknowledged all of them.
pub(super) struct Receipt {
    ticket: Option<Ticket>,
    unacknowledged: AtomicUsize,
}

impl Receipt {
    /// A receipt for an item with a number of records.
    pub fn new(ticket: Ticket, records: usize) -> Arc<Self> {
        Arc::new(Self { ticket: Some(ticket), unacknowledged: AtomicUsize::new(records) })
    }
}

impl Drop for Receipt {
    /// Runs with the report of the last record. If any record was not acknowledged, the ticket is
    /// dropped unresolved, which counts as lost.
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take()
            && self.unacknowledged.load(Ordering::Acquire) == 0
        {
            ticket.resolve();
        }
    }
}

/// A record that was sent, as librdkafka returns it with the delivery report.
pub(super) struct Outgoing {
    /// The receipt of its item.
    pub receipt: Arc<Receipt>,
    /// The record.
    pub record: Record,
    /// The headers of its message.
    pub headers: Vec<Header>,
    /// In which form it was sent.
    pub form: Form,
    /// Its number among the records of its producer.
    pub number: u64,
}

/// In which form a record is sent. If the broker refuses one form, the next one follows; after the
/// last one, the item becomes a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is, in a batch with other records. Brokers refuse whole batches.
    Batched,
    /// As it is, alone.
    Alone,
    /// Without the sender's fields and headers, alone.
    Slim,
}

/// A record that the broker has refused.
pub(super) struct Refused {
    /// The record.
    pub outgoing: Box<Outgoing>,
    /// Why.
    pub error: String,
}

/// Whether an error concerns the records of one batch, which the broker would refuse again, and not
/// the topic or the cluster.
pub(super) fn concerns_record(code: Option<RDKafkaErrorCode>) -> bool {
    matches!(
        code,
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::MessageBatchTooLarge
                | RDKafkaErrorCode::InvalidRecord
                // Another record of the same batch is invalid.
                | RDKafkaErrorCode::InvalidDifferentRecord
                | RDKafkaErrorCode::InvalidTimestamp
                | RDKafkaErrorCode::PolicyViolation
        )
    )
}

/// Whether a record has no report because its producer was told to forget it.
fn purged(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// The state that librdkafka's callbacks change. They run inside the poll of the sink's thread.
#[derive(Default)]
pub(super) struct Deliveries {
    outstanding: Mutex<Outstanding>,
    /// Whether the producer is being replaced, so that its records are taken back.
    replaced: AtomicBool,
    taken_back: Mutex<Vec<Outgoing>>,
    acknowledged: AtomicBool,
    failed: Mutex<Option<String>>,
    refused: Mutex<Vec<Refused>>,
}

/// The records that were sent and have no report yet: since when they wait, by their numbers.
#[derive(Default)]
struct Outstanding {
    since: BTreeMap<u64, Instant>,
    next: u64,
}

impl Deliveries {
    /// Records that were sent and have no report yet.
    pub fn outstanding(&self) -> usize {
        self.waiting().since.len()
    }

    /// Since when the oldest record waits for its report, if any does.
    pub fn oldest(&self) -> Option<Instant> {
        self.waiting().since.first_key_value().map(|(_, &since)| since)
    }

    /// The number of a record that is sent now.
    pub fn sent(&self) -> u64 {
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.since.insert(number, Instant::now());
        number
    }

    /// Takes records back that are purged from now on, because their producer is replaced.
    pub fn replace(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    /// The records that were taken back, in the order in which they were sent.
    pub fn take_back(&self) -> Vec<Outgoing> {
        let mut back = self.taken_back.lock().unwrap_or_else(PoisonError::into_inner);
        back.sort_by_key(|outgoing| outgoing.number);
        std::mem::take(&mut *back)
    }

    fn ended(&self, outgoing: &Outgoing) {
        self.waiting().since.remove(&outgoing.number);
    }

    fn waiting(&self) -> MutexGuard<'_, Outstanding> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records that the broker has refused since the last call.
    pub fn take_refused(&self) -> Vec<Refused> {
        std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes back [`Deliveries::sent`] for a record that the producer does not take.
    pub fn refused(&self, outgoing: Box<Outgoing>, error: &KafkaError) {
        self.ended(&outgoing);
        if concerns_record(error.rdkafka_error_code()) {
            self.add_refused(outgoing, error);
        }
    }

    fn add_refused(&self, outgoing: Box<Outgoing>, error: &KafkaError) {
        let refused = Refused { outgoing, error: error.to_string() };
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(refused);
    }

    /// Whether any record was acknowledged since the last call.
    pub fn take_acknowledged(&self) -> bool {
        self.acknowledged.swap(false, Ordering::AcqRel)
    }

    /// The error of the first record that was not delivered since the last call.
    pub fn take_failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Outgoing>;

    fn delivery(&self, result: &DeliveryResult<'_>, outgoing: Box<Outgoing>) {
        self.ended(&outgoing);
        match result {
            Ok(_) => {
                outgoing.receipt.unacknowledged.fetch_sub(1, Ordering::AcqRel);
                self.acknowledged.store(true, Ordering::Release);
            }
            Err((error, _)) if concerns_record(error.rdkafka_error_code()) => {
                self.add_refused(outgoing, error);
            }
            Err((error, _)) if self.replaced.load(Ordering::Acquire) && purged(error) => {
                self.taken_back.lock().unwrap_or_else(PoisonError::into_inner).push(*outgoing);
            }
            Err((error, record)) => {
                error!(%error, topic = record.topic(), "a record was not delivered");
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert_with(|| format!("{error} (topic {})", record.topic()));
            }
        }
    }
}
