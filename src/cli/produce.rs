//! `dorfman produce`: produces references to the images of a folder, to try a deployment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use dorfman_model::image_files;
use rdkafka::producer::BaseRecord;

use super::CliError;
use super::producer::MessageProducer;
use super::progress::progress;
use crate::config::kafka::KafkaConfig;
use crate::message::ReferenceMessage;

/// Arguments of `produce`.
#[derive(Debug, Args)]
pub(super) struct ProduceArgs {
    /// A folder of images, or a file with one path or URL per line.
    path: PathBuf,
    /// Bootstrap servers.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:9092")]
    brokers: String,
    /// The topic.
    #[arg(long, default_value = "images")]
    topic: String,
    /// Send the images in the messages instead of their paths.
    #[arg(long)]
    inline: bool,
    /// How often the folder is produced.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u64,
    /// Messages per second [default: no limit].
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// A librdkafka property as key=value. Can be given several times.
    #[arg(long, short = 'X', value_name = "KEY=VALUE", value_parser = property)]
    property: Vec<(String, String)>,
}

/// A rate above 0.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err("must be above 0".into()) }
}

fn property(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or("must be key=value, as in security.protocol=ssl")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn run(args: &ProduceArgs) -> Result<(), CliError> {
    let locations = image_files::find(&args.path).map_err(|e| CliError::Usage(e.to_string()))?;
    let kafka = KafkaConfig {
        brokers: args.brokers.clone(),
        properties: args.property.iter().cloned().collect(),
        ..KafkaConfig::default()
    };
    let producer = MessageProducer::new(&kafka, &BTreeMap::new())?;
    let total = locations.len() as u64 * args.repeat;
    let bar = progress("producing", total);
    let start = Instant::now();
    for (sent, location) in (0..args.repeat).flat_map(|_| &locations).enumerate() {
        if let Some(rate) = args.rate {
            let due = Duration::from_secs_f64(sent as f64 / rate);
            producer.wait(due.saturating_sub(start.elapsed()));
        }
        let message = message(location, args.inline)?;
        let payload = serde_json::to_vec(&message)?;
        producer.send(BaseRecord::to(&args.topic).key(&message.id).payload(&payload))?;
        bar.inc(1);
    }
    producer.flush().map_err(|e| undelivered(&e, args))?;
    bar.finish_and_clear();
    eprintln!("{total} references to {} on {}", args.topic, args.brokers);
    Ok(())
}

fn undelivered(error: &CliError, args: &ProduceArgs) -> CliError {
    let (topic, brokers) = (&args.topic, &args.brokers);
    CliError::Failed(format!(
        "cannot deliver to the topic {topic} on {brokers}: {error}; check --brokers and --topic"
    ))
}

fn message(location: &str, inline: bool) -> Result<ReferenceMessage, CliError> {
    if inline {
        let bytes =
            std::fs::read(location).map_err(|e| CliError::Failed(format!("{location}: {e}")))?;
        return Ok(ReferenceMessage::inline(location, &bytes));
    }
    let uri = if location.contains("://") {
        location.to_owned()
    } else {
        std::path::absolute(location)?.to_string_lossy().into_owned()
    };
    Ok(ReferenceMessage::uri(location, uri))
}
