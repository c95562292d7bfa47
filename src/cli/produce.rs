//! `dorfman produce`: references to a folder's images, for trying a deployment.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::CliError;
use super::progress::progress;
use crate::config::kafka::KafkaConfig;
use crate::message::ReferenceMessage;
use crate::sink::kafka::producer;
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
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Any librdkafka property, as key=value; repeatable.
    #[arg(long, short = 'X', value_name = "KEY=VALUE", value_parser = property)]
    property: Vec<(String, String)>,
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
    let producer = producer(&kafka)?;
    let total = locations.len() as u64 * args.repeat;
    let bar = progress("producing", total);
    let start = Instant::now();
    for (sent, location) in (0..args.repeat).flat_map(|_| &locations).enumerate() {
        if let Some(rate) = args.rate {
            let due = Duration::from_secs_f64(sent as f64 / rate);
            producer.poll(due.saturating_sub(start.elapsed()));
        }
        let message = message(location, args.inline)?;
        send(&producer, &args.topic, &message.id, &serde_json::to_vec(&message)?)?;
        bar.inc(1);
    }
    producer.flush(Duration::from_secs(60))?;
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

/// Queues one record; waits while the queue is full.
///
/// # Errors
/// Whatever librdkafka says.
pub(super) fn send(producer: &BaseProducer, topic: &str, key: &str, payload: &[u8]) -> Result<(), CliError> {
    let mut record = BaseRecord::to(topic).key(key).payload(payload);
    loop {
        match producer.send(record) {
            Ok(()) => {
                producer.poll(Duration::ZERO);
                return Ok(());
            }
            Err((error, back)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                record = back;
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}
