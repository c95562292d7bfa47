//! The one place that wires the stages, supervises them and brings them down in order.
//!
//! In: a valid configuration and a model. Out: a [`Running`] worker and, when it ended, its [`Report`].
//! A stage that fails stops the whole worker: what has no verdict then is not acknowledged.

mod autopilot;
mod crew;
mod engine;
mod ingest;
mod model;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::runtime::Runtime;
use tracing::info;

use crew::Crew;
pub(crate) use model::Loaded;
pub use model::Model;

use crate::config::Config;
use crate::engine::{EngineError, Stats};
use crate::ops::metrics::Metrics;
use crate::ops::{Health, Signals, server};
use crate::sink::Ending;
use crate::sink::kafka::{KafkaSink, SinkError};
use crate::sink::message::{BundleName, Records};
use crate::source::kafka::{KafkaSource, SourceError};
use crate::source::{BATCH, Incoming};

/// Batches of verdicts that may wait in front of the sink.
const SINK_QUEUE: usize = 256;

/// Why a worker did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The consumer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The producer.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Anything that is set up before the first item.
    #[error("{0}")]
    Setup(String),
    /// A thread did not stop within the deadline.
    #[error("the {0} thread did not stop in time; its items will be read again")]
    Hanging(&'static str),
    /// A thread panicked.
    #[error("a bug: the {0} thread panicked")]
    Panic(&'static str),
}

/// What a worker did in its life.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The engine's sums.
    pub stats: Stats,
}

/// A worker at work.
pub struct Running {
    threads: Vec<(&'static str, JoinHandle<Result<(), WorkerError>>)>,
    ended: Receiver<()>,
    signals: Arc<Signals>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    report: Receiver<Stats>,
    runtime: Runtime,
    deadline: Duration,
    address: Option<std::net::SocketAddr>,
}

/// Starts a worker on Kafka: its threads run until [`Running::stop`] or a failure.
///
/// # Errors
/// [`WorkerError`] if anything can't be set up.
pub fn start(config: &Config, model: Model) -> Result<Running, WorkerError> {
    let setup = |e: &dyn std::fmt::Display| WorkerError::Setup(e.to_string());
    let plan = config.plan_in_words().map_err(|e| setup(&e))?;
    let bundle = model.bundle.clone();
    let metrics = Metrics::new(&bundle.name, &bundle.version, &plan).map_err(|e| setup(&e))?;
    let metrics = Arc::new(metrics);
    metrics.provider_fallback.set(i64::from(model.fell_back));
    let health = Arc::new(Health::new(config.ops.stalled_after, config.sink.unready_after));
    let signals = Arc::new(Signals::default());
    let runtime = runtime()?;
    let listen = server::serve(&config.ops.listen, Arc::clone(&health), Arc::clone(&metrics));
    let address = runtime.block_on(listen).map_err(|e| setup(&format!("`ops.listen` {}: {e}", config.ops.listen)))?;
    info!(%address, "serving /healthz, /readyz and /metrics");

    let records =
        Records { bundle: BundleName { name: bundle.name, version: bundle.version }, labels: model.labels.clone() };
    let (s, h, m) = (&signals, &health, &metrics);
    let deadline = config.shutdown.deadline;
    let source =
        KafkaSource::new(&config.kafka, &config.source, deadline, Arc::clone(s), Arc::clone(h), Arc::clone(m))?;
    let sink =
        KafkaSink::new(&config.kafka, &config.sink, records, deadline, Arc::clone(s), Arc::clone(h), Arc::clone(m))?;

    let (incoming_out, incoming) = incoming_queue(config.source.queue);
    let (endings_out, endings) = bounded::<Vec<Ending>>(SINK_QUEUE);
    let mut crew = Crew::new(Arc::clone(&signals));
    let report = flow(config, model, &runtime, &mut crew, incoming, endings_out, Arc::clone(&metrics))?;
    health.warmed_up();
    crew.spawn("sink", move || Ok(sink.run(endings)?));
    crew.spawn("source", move || Ok(source.run(incoming_out)?));
    let (threads, ended) = (crew.threads, crew.ended);
    Ok(Running { threads, ended, signals, health, metrics, report, runtime, deadline, address: Some(address) })
}

/// The stages between a source and a sink, for whoever brings their own: `scan`, benches.
///
/// # Errors
/// [`WorkerError`] if anything can't be set up.
pub fn start_between(
    config: &Config,
    model: Model,
    incoming: Receiver<Vec<Incoming>>,
    endings: Sender<Vec<Ending>>,
) -> Result<Running, WorkerError> {
    let metrics = Metrics::new(&model.bundle.name, &model.bundle.version, "");
    let metrics = Arc::new(metrics.map_err(|e| WorkerError::Setup(e.to_string()))?);
    let health = Arc::new(Health::new(config.ops.stalled_after, config.sink.unready_after));
    let signals = Arc::new(Signals::default());
    let runtime = runtime()?;
    let mut crew = Crew::new(Arc::clone(&signals));
    let report = flow(config, model, &runtime, &mut crew, incoming, endings, Arc::clone(&metrics))?;
    let (threads, ended, deadline) = (crew.threads, crew.ended, config.shutdown.deadline);
    Ok(Running { threads, ended, signals, health, metrics, report, runtime, deadline, address: None })
}

/// The bounded queue behind a source: so many items at most.
pub fn incoming_queue(items: usize) -> (Sender<Vec<Incoming>>, Receiver<Vec<Incoming>>) {
    bounded((items / BATCH).max(1))
}

/// Fetch, decode, grouping, engine.
fn flow(
    config: &Config,
    model: Model,
    runtime: &Runtime,
    crew: &mut Crew,
    incoming: Receiver<Vec<Incoming>>,
    endings: Sender<Vec<Ending>>,
    metrics: Arc<Metrics>,
) -> Result<Receiver<Stats>, WorkerError> {
    let threads = ingest::threads(&config.decode);
    let (ready_out, ready) = bounded(threads * 4);
    let outlets = (ready_out, endings.clone());
    let handle = runtime.handle().clone();
    let ingest = ingest::Ingest::new(config, &model.input, handle, outlets, &crew.signals, &metrics)?;
    let ingest = Arc::new(ingest);
    for _ in 0..threads {
        let (ingest, incoming) = (Arc::clone(&ingest), incoming.clone());
        crew.spawn("decode", move || ingest.run(&incoming));
    }
    drop(ingest);
    let (report_out, report) = bounded(1);
    let lane = engine::Lane::new(config, model, Arc::clone(&crew.signals), metrics)?;
    crew.spawn("engine", move || lane.run(&ready, &endings, &report_out));
    Ok(report)
}

/// One thread is enough for sockets: everything heavy has threads of its own.
fn runtime() -> Result<Runtime, WorkerError> {
    let builder = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("io").enable_all().build();
    builder.map_err(|e| WorkerError::Setup(format!("the I/O runtime: {e}")))
}

impl Running {
    /// Asks the worker to take no more and to finish what it has.
    pub fn stop(&self) {
        self.health.stopping();
        self.signals.stop();
    }

    /// Whether it failed and is on its way out.
    pub fn failed(&self) -> bool {
        self.signals.aborted()
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The health.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Where health and metrics are served.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.address
    }

    /// A handle for sockets and signals.
    pub fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.handle().clone()
    }

    /// A way to stop it from another thread.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let (health, signals) = (Arc::clone(&self.health), Arc::clone(&self.signals));
        move || {
            health.stopping();
            signals.stop();
        }
    }

    /// A way to end it from another thread without waiting for verdicts.
    pub fn aborter(&self) -> impl Fn() + Send + Sync + 'static {
        let signals = Arc::clone(&self.signals);
        move || signals.abort()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The first failure of a stage.
    pub fn wait(self) -> Result<Report, WorkerError> {
        let mut left = self.threads.len();
        let mut deadline: Option<Instant> = None;
        while left > 0 {
            if self.signals.stopping() {
                // The stages keep the deadline themselves; twice as long means that one of them hangs.
                deadline.get_or_insert_with(|| Instant::now() + self.deadline * 2 + Duration::from_secs(1));
            }
            if self.ended.recv_timeout(Duration::from_millis(100)).is_ok() {
                left -= 1;
            }
            if deadline.is_some_and(|d| Instant::now() > d) {
                break;
            }
        }
        let (done, hanging): (Vec<_>, Vec<_>) =
            self.threads.into_iter().partition(|(_, t)| left == 0 || t.is_finished());
        let mut first = None;
        for (name, thread) in done {
            if let Err(error) = thread.join().unwrap_or(Err(WorkerError::Panic(name))) {
                first.get_or_insert(error);
            }
        }
        self.runtime.shutdown_background();
        if let (None, Some((name, _))) = (&first, hanging.first()) {
            return Err(WorkerError::Hanging(name));
        }
        match first {
            Some(error) => Err(error),
            None => Ok(Report { stats: self.report.try_recv().unwrap_or_default() }),
        }
    }
}
