//! The stream: produced once, consumed by each run, and the flags read back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::super::CliError;
use super::super::produce::Feed;
use super::super::progress::progress;
use super::data::DemoItem;
use crate::config::Config;
use crate::config::kafka::KafkaConfig;
use crate::cpu;
use crate::engine::Stats;
use crate::message::ReferenceMessage;
use crate::sink::message::FlagRecord;
use crate::worker::{self, Model, Running};

const IMAGES: &str = "images";
const PARTITIONS: i32 = 8;
const RUNS: &[&str] = &["grouped", "individual"];

/// A stream of items on a broker.
pub struct Stream {
    bootstrap: String,
    items: Vec<DemoItem>,
    truth: HashMap<String, usize>,
}

/// What one run did.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The flags, as a consumer of the topic sees them, without redelivered ones.
    pub flagged: Vec<FlagRecord>,
    /// The engine's sums.
    pub stats: Stats,
    /// Seconds from the first message to the last verdict.
    pub seconds: f64,
    /// CPU seconds by thread name in that time.
    pub threads: BTreeMap<String, f64>,
    /// CPU seconds of fetching and decoding.
    pub ingest: BTreeMap<String, f64>,
}

/// Every topic that the demo uses, with its partitions.
pub fn topics() -> Vec<(&'static str, i32)> {
    vec![
        (IMAGES, PARTITIONS),
        ("flagged.grouped", 1),
        ("flagged.individual", 1),
        ("dead.grouped", 1),
        ("dead.individual", 1),
    ]
}

impl Stream {
    /// A stream on a running broker.
    pub fn new(bootstrap: &str, items: Vec<DemoItem>) -> Self {
        let truth = items.iter().enumerate().map(|(i, item)| (item.id.clone(), i)).collect();
        Self { bootstrap: bootstrap.to_owned(), items, truth }
    }

    /// Its items.
    pub fn items(&self) -> &[DemoItem] {
        &self.items
    }

    /// The item of an id.
    pub fn item(&self, id: &str) -> Option<&DemoItem> {
        self.truth.get(id).map(|&i| &self.items[i])
    }

    /// Produces a reference for every item.
    ///
    /// # Errors
    /// What the broker says.
    pub fn produce(&self) -> Result<(), CliError> {
        let kafka = KafkaConfig { brokers: self.bootstrap.clone(), ..KafkaConfig::default() };
        let feed = Feed::new(&kafka)?;
        for item in &self.items {
            let message = ReferenceMessage::uri(&item.id, item.path.to_string_lossy());
            feed.send(IMAGES, &item.id, &serde_json::to_vec(&message)?)?;
        }
        feed.finish()
    }

    /// Points a configuration at the stream, for a run of a name.
    pub fn point(&self, config: &mut Config, name: &str) {
        debug_assert!(RUNS.contains(&name));
        config.kafka.brokers.clone_from(&self.bootstrap);
        config.kafka.group_id = format!("demo-{name}");
        config.source.topic = IMAGES.into();
        config.sink.flagged_topic = format!("flagged.{name}");
        config.sink.dead_letter_topic = format!("dead.{name}");
    }

    /// Runs a worker until every item has its verdict, then reads the flags back.
    ///
    /// # Errors
    /// The worker's failure, or the broker's.
    pub fn run(&self, name: &'static str, config: &Config, model: Model) -> Result<Measured, CliError> {
        let running = worker::start(config, model)?;
        let bar = progress(name, self.items.len() as u64);
        let watched = watch(&running, self.items.len() as u64, &bar);
        running.stop();
        let stats = running.wait()?.stats;
        bar.finish_and_clear();
        let (seconds, threads, ingest) = watched?;
        Ok(Measured { flagged: self.read_flags(&config.sink.flagged_topic)?, stats, seconds, threads, ingest })
    }

    /// Reads a topic of flags from its beginning to its end.
    fn read_flags(&self, topic: &str) -> Result<Vec<FlagRecord>, CliError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", "demo-reader")
            .set("enable.partition.eof", "true")
            .create()?;
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(topic, 0, Offset::Beginning)?;
        consumer.assign(&all)?;
        let (mut flags, mut seen) = (Vec::new(), HashSet::new());
        loop {
            match consumer.poll(Duration::from_secs(10)) {
                Some(Ok(message)) => {
                    let flag: FlagRecord = serde_json::from_slice(message.payload().unwrap_or_default())?;
                    if seen.insert(flag.flag_id.clone()) {
                        flags.push(flag);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(flags),
                Some(Err(error)) => return Err(error.into()),
                None => return Err(CliError::Failed(format!("nothing came from {topic} for 10 s"))),
            }
        }
    }
}

type Watched = (f64, BTreeMap<String, f64>, BTreeMap<String, f64>);

/// Watches a worker from its first message until `total` items have their verdict.
///
/// # Errors
/// If the worker fails or stands still.
pub fn watch(running: &Running, total: u64, bar: &indicatif::ProgressBar) -> Result<Watched, CliError> {
    let metrics = running.metrics();
    let verdicts =
        || ["flagged", "cleared", "failed"].iter().map(|v| metrics.items.with_label_values(&[*v]).get()).sum::<u64>();
    let mut first: Option<(Instant, BTreeMap<String, f64>)> = None;
    let (mut done, mut moved) = (0, Instant::now());
    let mut said = Instant::now();
    while done < total {
        if running.failed() {
            return Err(CliError::Failed("the worker failed".into()));
        }
        if moved.elapsed() > Duration::from_secs(60) {
            return Err(CliError::Failed(format!("no verdict for a minute, {done} of {total} done")));
        }
        // Paces this look at the counters; nothing waits for it.
        std::thread::park_timeout(Duration::from_millis(2));
        if first.is_none() && metrics.received.get() > 0 {
            first = Some((Instant::now(), cpu::by_thread_name()));
        }
        let now = verdicts();
        if now > done {
            (done, moved) = (now, Instant::now());
            bar.set_position(done);
        }
        if bar.is_hidden() && said.elapsed() > Duration::from_secs(5) {
            said = Instant::now();
            eprintln!("{done} of {total}");
        }
    }
    let (start, before) = first.unwrap_or_else(|| (Instant::now(), BTreeMap::new()));
    let seconds = start.elapsed().as_secs_f64();
    let threads = cpu::by_thread_name().into_iter().map(|(name, s)| {
        let spent = s - before.get(&name).copied().unwrap_or(0.0);
        (name, spent)
    });
    let ingest = ["fetch", "decode"].map(|part| (part.to_owned(), metrics.ingest_cpu.with_label_values(&[part]).get()));
    Ok((seconds, threads.collect(), ingest.into_iter().collect()))
}
