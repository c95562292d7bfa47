//! The producer of the commands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::ToBytes;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::CliError;
use crate::config::kafka::KafkaConfig;

/// The longest wait for acknowledgements.
const PATIENCE: Duration = Duration::from_secs(60);

/// Produces messages, and reports an error if the brokers did not acknowledge all of them.
pub(super) struct MessageProducer(BaseProducer<Count>);

/// Counts messages that were not delivered.
#[derive(Default)]
struct Count {
    failed: AtomicU64,
}

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            tracing::warn!(%error, "a message was not delivered");
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl MessageProducer {
    /// A producer for a cluster, with further properties.
    ///
    /// # Errors
    /// If a property is wrong.
    pub fn new(
        kafka: &KafkaConfig,
        properties: &BTreeMap<String, String>,
    ) -> Result<Self, CliError> {
        Ok(Self(kafka.client(properties).create_with_context(Count::default())?))
    }

    /// Queues one message. Waits while the queue is full.
    ///
    /// # Errors
    /// If librdkafka refuses the message.
    pub fn send<K: ToBytes + ?Sized, P: ToBytes + ?Sized>(
        &self,
        mut record: BaseRecord<'_, K, P>,
    ) -> Result<(), CliError> {
        loop {
            match self.0.send(record) {
                Ok(()) => {
                    self.0.poll(Duration::ZERO);
                    return Ok(());
                }
                Err((error, returned))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
                {
                    record = returned;
                    self.wait(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Serves delivery reports for a time.
    pub fn wait(&self, time: Duration) {
        self.0.poll(time);
    }

    /// Waits until the brokers have acknowledged every message.
    ///
    /// # Errors
    /// If the brokers have refused a message since the producer was made, or have not acknowledged
    /// every message within a minute.
    pub fn flush(&self) -> Result<(), CliError> {
        self.0.flush(PATIENCE)?;
        match self.0.context().failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            n => Err(CliError::Failed(format!("the brokers did not accept {n} of the messages"))),
        }
    }
}
