//! The stream of the demo: it is produced once, and each run consumes it and publishes flags.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use dorfman_core::engine::Stats;
use dorfman_core::screen::ScreenStats;
use dorfman_model::cpu;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::BaseRecord;
use rdkafka::{Offset, TopicPartitionList};

use super::super::CliError;
use super::super::producer::MessageProducer;
use super::super::progress::progress;
use super::items::DemoItem;
use crate::config::Config;
use crate::config::kafka::KafkaConfig;
use crate::message::ReferenceMessage;
use crate::sink::message::FlagRecord;
use crate::worker::{self, Model, Report, Running};

const IMAGES: &str = "images";
const PARTITIONS: i32 = 8;
const RUNS: &[&str] = &["individual", "pooled", "best"];

/// A stream of items on a broker.
pub struct Stream {
    bootstrap: String,
    items: Vec<DemoItem>,
    by_id: HashMap<String, usize>,
}

/// The measurement of one run.
#[derive(Debug, Clone)]
pub struct RunMeasurement {
    /// The flags, as consumed from the flagged topic, without repeated deliveries.
    pub flagged: Vec<FlagRecord>,
    /// The plan at the end of the run, in words.
    pub plan: String,
    /// The engine's sums.
    pub stats: Stats,
    /// The screen's sums.
    pub screen: ScreenStats,
    /// Seconds from the first message to the last verdict.
    pub seconds: f64,
    /// CPU seconds by thread name in that time.
    pub threads: BTreeMap<String, f64>,
    /// CPU seconds of fetching and decoding.
    pub ingest: BTreeMap<String, f64>,
}

/// The topics of the demo, with their numbers of partitions.
pub fn topics() -> Vec<(&'static str, i32)> {
    vec![
        (IMAGES, PARTITIONS),
        ("flagged.individual", 1),
        ("flagged.pooled", 1),
        ("flagged.best", 1),
        ("dead.individual", 1),
        ("dead.pooled", 1),
        ("dead.best", 1),
    ]
}

impl Stream {
    /// A stream on a running broker.
    pub fn new(bootstrap: &str, items: Vec<DemoItem>) -> Self {
        let by_id = items.iter().enumerate().map(|(i, item)| (item.id.clone(), i)).collect();
        Self { bootstrap: bootstrap.to_owned(), items, by_id }
    }

    /// The items.
    pub fn items(&self) -> &[DemoItem] {
        &self.items
    }

    /// The item with an id.
    pub fn item(&self, id: &str) -> Option<&DemoItem> {
        self.by_id.get(id).map(|&i| &self.items[i])
    }

    /// Produces a reference for every item.
    ///
    /// # Errors
    /// [`CliError`] if the broker does not accept a message.
    pub fn produce(&self) -> Result<(), CliError> {
        let kafka = KafkaConfig { brokers: self.bootstrap.clone(), ..KafkaConfig::default() };
        let producer = MessageProducer::new(&kafka, &BTreeMap::new())?;
        for item in &self.items {
            let message = ReferenceMessage::uri(&item.id, item.path.to_string_lossy());
            let payload = serde_json::to_vec(&message)?;
            producer.send(BaseRecord::to(IMAGES).key(&item.id).payload(&payload))?;
        }
        producer.flush()
    }

    /// Sets the broker, the topics and the consumer group of a run.
    pub fn configure(&self, config: &mut Config, name: &str) {
        debug_assert!(RUNS.contains(&name));
        config.kafka.brokers.clone_from(&self.bootstrap);
        config.kafka.group_id = format!("demo-{name}");
        config.source.topic = IMAGES.into();
        config.sink.flagged_topic = format!("flagged.{name}");
        config.sink.dead_letter_topic = format!("dead.{name}");
    }

    /// Runs a worker until every item has its verdict, then consumes the flags.
    ///
    /// # Errors
    /// [`CliError`] if the worker or the broker fails.
    pub fn run(
        &self,
        name: &'static str,
        config: &Config,
        model: Model,
    ) -> Result<RunMeasurement, CliError> {
        let running = worker::start(config, model)?;
        let bar = progress(name, self.items.len() as u64);
        let watched = watch(&running, self.items.len() as u64, &bar);
        running.stop();
        let Report { plan, stats, screen } = running.wait()?;
        bar.finish_and_clear();
        let Watched { seconds, threads, ingest } = watched?;
        let flagged = self.read_flags(&config.sink.flagged_topic)?;
        Ok(RunMeasurement { flagged, plan, stats, screen, seconds, threads, ingest })
    }

    /// Consumes a flagged topic from its first record to the last one that it has now.
    fn read_flags(&self, topic: &str) -> Result<Vec<FlagRecord>, CliError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", "demo-reader")
            .create()?;
        let (mut next, end) = consumer.fetch_watermarks(topic, 0, READING)?;
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(topic, 0, Offset::Beginning)?;
        consumer.assign(&all)?;
        let mut flags = Vec::new();
        let mut seen = HashSet::new();
        while next < end {
            let message = consumer.poll(READING).ok_or_else(|| silent(topic))??;
            next = message.offset() + 1;
            let flag: FlagRecord = serde_json::from_slice(message.payload().unwrap_or_default())?;
            if seen.insert(flag.flag_id.clone()) {
                flags.push(flag);
            }
        }
        Ok(flags)
    }
}

fn silent(topic: &str) -> CliError {
    CliError::Failed(format!("no record of {topic} was received for {} s", READING.as_secs()))
}

/// What was measured while a worker ran.
pub struct Watched {
    /// Seconds from the first message to the last verdict.
    pub seconds: f64,
    /// CPU seconds by thread name in that time.
    pub threads: BTreeMap<String, f64>,
    /// CPU seconds of fetching and decoding.
    pub ingest: BTreeMap<String, f64>,
}

/// The longest time to wait for a record of a flagged topic.
const READING: Duration = Duration::from_secs(10);

/// The longest time without a verdict.
const STALL: Duration = Duration::from_secs(60);

/// Watches a worker from its first message until `total` items have their verdict.
///
/// # Errors
/// [`CliError`] if the worker fails, or gives no verdict for a minute.
pub fn watch(
    running: &Running,
    total: u64,
    bar: &indicatif::ProgressBar,
) -> Result<Watched, CliError> {
    let metrics = running.metrics();
    let mut first: Option<(Instant, BTreeMap<String, f64>)> = None;
    let mut counter = Counter { running, total, bar, done: 0, progress: Instant::now() };
    while counter.done < total {
        // This pause limits how often the counters are read. No other thread depends on it.
        std::thread::park_timeout(Duration::from_millis(2));
        if first.is_none() && metrics.received.get() > 0 {
            first = Some((Instant::now(), cpu::by_thread_name()));
        }
        counter.update()?;
    }
    let (start, before) = first.unwrap_or_else(|| (Instant::now(), BTreeMap::new()));
    let seconds = start.elapsed().as_secs_f64();
    let spent = |(name, seconds): (String, f64)| {
        let spent = seconds - before.get(&name).copied().unwrap_or(0.0);
        (name, spent)
    };
    let threads = cpu::by_thread_name().into_iter().map(spent).collect();
    let part = |part: &str| (part.to_owned(), metrics.ingest_cpu.with_label_values(&[part]).get());
    Ok(Watched { seconds, threads, ingest: ["fetch", "screen", "decode"].map(part).into() })
}

/// Counts the verdicts of a worker and shows the progress.
struct Counter<'a> {
    running: &'a Running,
    total: u64,
    bar: &'a indicatif::ProgressBar,
    done: u64,
    /// The time of the last new verdict.
    progress: Instant,
}

impl Counter<'_> {
    fn update(&mut self) -> Result<(), CliError> {
        if self.running.failed() {
            return Err(CliError::Failed("the worker failed".into()));
        }
        let done = self.running.metrics().judged();
        if done > self.done {
            self.show(done);
            self.done = done;
            self.progress = Instant::now();
        } else if self.progress.elapsed() > STALL {
            let message = format!("no verdict for a minute, {done} of {} done", self.total);
            return Err(CliError::Failed(message));
        }
        Ok(())
    }

    /// Moves the progress bar. Without a terminal, prints a line per fifth of the items.
    fn show(&self, done: u64) {
        let fifths = |done: u64| done * 5 / self.total.max(1);
        if self.bar.is_hidden() && fifths(done) > fifths(self.done) {
            eprintln!("{done} of {}", self.total);
        }
        self.bar.set_position(done);
    }
}
