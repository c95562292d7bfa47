//! `dorfman produce`: references to a folder's images, for trying a deployment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use rdkafka::client::ClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::CliError;
use super::progress::progress;
use crate::config::kafka::KafkaConfig;
use crate::message::ReferenceMessage;
use crate::source::files;

/// Arguments of `produce`.
#[derive(Debug, Args)]
pub(super) struct ProduceArgs {
    /// A folder of images, or a file with a path or URL a line.
    path: PathBuf,
    /// Bootstrap servers.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:9092")]
    brokers: String,
    /// The topic.
    #[arg(long, default_value = "images")]
    topic: String,
    /// Put the images themselves into the messages instead of their paths.
    #[arg(long)]
    inline: bool,
    /// How often to go through the folder.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u64,
    /// Messages a second; as fast as it goes if absent.
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Any librdkafka property, as key=value; repeatable.
    #[arg(long, short = 'X', value_name = "KEY=VALUE", value_parser = property)]
    property: Vec<(String, String)>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err("must be above 0".into()) }
}

fn property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be key=value, as in security.protocol=ssl")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn run(args: &ProduceArgs) -> Result<(), CliError> {
    let locations = files::find(&args.path).map_err(CliError::Usage)?;
    let kafka = KafkaConfig {
        brokers: args.brokers.clone(),
        properties: args.property.iter().cloned().collect(),
        ..KafkaConfig::default()
    };
    let feed = Feed::new(&kafka)?;
    let total = locations.len() as u64 * args.repeat;
    let bar = progress("producing", total);
    let start = Instant::now();
    for (sent, location) in (0..args.repeat).flat_map(|_| &locations).enumerate() {
        if let Some(rate) = args.rate {
            let due = Duration::from_secs_f64(sent as f64 / rate);
            feed.0.poll(due.saturating_sub(start.elapsed()));
        }
        let message = message(location, args.inline)?;
        feed.send(&args.topic, &message.id, &serde_json::to_vec(&message)?)?;
        bar.inc(1);
    }
    feed.finish()?;
    bar.finish_and_clear();
    eprintln!("{total} references to {} on {}", args.topic, args.brokers);
    Ok(())
}

fn message(location: &str, inline: bool) -> Result<ReferenceMessage, CliError> {
    if inline {
        let bytes = std::fs::read(location).map_err(|e| CliError::Failed(format!("{location}: {e}")))?;
        return Ok(ReferenceMessage::inline(location, &bytes));
    }
    let uri = match location.contains("://") {
        true => location.to_owned(),
        false => std::path::absolute(location)?.to_string_lossy().into_owned(),
    };
    Ok(ReferenceMessage::uri(location, uri))
}

/// Feeds a topic, and says so if the broker did not take something.
pub(super) struct Feed(BaseProducer<Count>);

/// Counts what was not delivered.
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

impl Feed {
    /// A producer for brokers.
    ///
    /// # Errors
    /// If a property is wrong.
    pub fn new(kafka: &KafkaConfig) -> Result<Self, CliError> {
        Ok(Self(kafka.client(&BTreeMap::new()).create_with_context(Count::default())?))
    }

    /// Queues one record; waits while the queue is full.
    ///
    /// # Errors
    /// Whatever librdkafka says.
    pub fn send(&self, topic: &str, key: &str, payload: &[u8]) -> Result<(), CliError> {
        let mut record = BaseRecord::to(topic).key(key).payload(payload);
        loop {
            match self.0.send(record) {
                Ok(()) => {
                    self.0.poll(Duration::ZERO);
                    return Ok(());
                }
                Err((error, back)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    record = back;
                    self.0.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Waits until the broker has everything.
    ///
    /// # Errors
    /// If it has not after a minute, or refused something.
    pub fn finish(self) -> Result<(), CliError> {
        self.0.flush(Duration::from_secs(60))?;
        match self.0.context().failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            n => Err(CliError::Failed(format!("the broker did not take {n} of the messages"))),
        }
    }
}
