//! Starts the stages, supervises them, and stops them in order. Only this module knows all stages.
//!
//! A stage that fails stops the whole worker. Items without a verdict are then not acknowledged,
//! and are read again by the next worker.

mod running;
mod threads;

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use dorfman_core::engine::Stats;
use dorfman_core::screen::ScreenNetwork;
use dorfman_model::cpu;
use dorfman_model::manifest::InputSpec;
use tokio::runtime::Runtime;
use tracing::info;

pub use running::{Report, Running};
use threads::Threads;

use crate::budget::Budget;
use crate::config::Config;
pub use crate::error::WorkerError;
use crate::error::setup;
use crate::item::{FinishedItem, MAX_BATCH, ReceivedItem};
pub use crate::model::Model;
use crate::ops::{Services, server};
use crate::sink::kafka::KafkaSink;
use crate::sink::records::Records;
use crate::source::kafka::KafkaSource;
use crate::stages::engine::EngineStage;
use crate::stages::ingest::{Ingest, Outputs, ScreenInput};
use crate::stages::plans::{self, Plans};
use crate::stages::screen::{ScreenControl, ScreenOutputs, ScreenSettings, ScreenStage};

/// The name of the thread that reads messages.
const SOURCE: &str = "source";

/// Batches of finished items that may wait for the sink.
const SINK_QUEUE: usize = 256;

/// Items that may wait for the screen, or for being decoded in full after it, at most.
const MOST_SCREENED: usize = 1024;

/// Starts a worker on Kafka. Its threads run until [`Running::stop`] or a failure.
///
/// # Errors
/// [`WorkerError`] if anything cannot be set up.
pub fn start(config: &Config, model: Model) -> Result<Running, WorkerError> {
    let plans = plans::plans(config, &model)?;
    let services = Services::new(config, &model.bundle, &plans.described).map_err(setup)?;
    services.metrics.provider_fallback.set(i64::from(model.fell_back));
    let runtime = runtime()?;
    let listen = server::serve(&config.ops.listen, services.clone());
    let not_bound = |e| setup(format!("`ops.listen` {}: {e}", config.ops.listen));
    let address = runtime.block_on(listen).map_err(not_bound)?;
    info!(%address, "serving /healthz, /readyz and /metrics");

    let records = Records { bundle: model.bundle.clone(), labels: model.labels.clone() };
    let deadline = config.shutdown.deadline;
    let source = KafkaSource::new(&config.kafka, &config.source, deadline, services.clone())?;
    let sink = KafkaSink::new(&config.kafka, &config.sink, records, deadline, services.clone())?;

    let (received_out, received) = received_queue(config.source.queue);
    let (finished_out, finished) = bounded::<Vec<FinishedItem>>(SINK_QUEUE);
    let mut threads = Threads::new(Arc::clone(&services.signals));
    let channels = (received, finished_out);
    let report = start_stages(config, model, plans, &runtime, &mut threads, channels, &services)?;
    services.health.warmed_up();
    threads.spawn("sink", move || Ok(sink.run(finished)?));
    threads.spawn(SOURCE, move || Ok(source.run(received_out)?));
    Ok(Running::new(threads, services, report, runtime, deadline, Some(address)))
}

/// Starts the stages between a source and a sink that the caller provides: for `scan` and the
/// benches.
///
/// # Errors
/// [`WorkerError`] if anything cannot be set up.
pub fn start_between(
    config: &Config,
    model: Model,
    received: Receiver<Vec<ReceivedItem>>,
    finished: Sender<Vec<FinishedItem>>,
) -> Result<Running, WorkerError> {
    let plans = plans::plans(config, &model)?;
    let services = Services::new(config, &model.bundle, &plans.described).map_err(setup)?;
    let runtime = runtime()?;
    let mut threads = Threads::new(Arc::clone(&services.signals));
    let channels = (received, finished);
    let report = start_stages(config, model, plans, &runtime, &mut threads, channels, &services)?;
    Ok(Running::new(threads, services, report, runtime, config.shutdown.deadline, None))
}

/// The bounded queue behind a source, for at most `items` items (at least one batch).
pub fn received_queue(items: usize) -> (Sender<Vec<ReceivedItem>>, Receiver<Vec<ReceivedItem>>) {
    bounded((items / MAX_BATCH).max(1))
}

/// What the stages report at their end.
pub(super) struct StageReports {
    /// The plans in words, and the engine's sums.
    engine: Receiver<(String, Stats)>,
    /// The screen's sums, if the bundle has a screen.
    screen: Option<Arc<ScreenControl>>,
}

/// Starts the decode threads, the screen's thread if there is a screen, and the engine's thread.
fn start_stages(
    config: &Config,
    mut model: Model,
    plans: Plans,
    runtime: &Runtime,
    threads: &mut Threads,
    (received, finished): (Receiver<Vec<ReceivedItem>>, Sender<Vec<FinishedItem>>),
    services: &Services,
) -> Result<StageReports, WorkerError> {
    let decoders = cpu::threads(config.decode.threads);
    let (decoded_out, decoded) = bounded(decoders * 4);
    let outputs = Outputs { decoded: decoded_out, finished: finished.clone() };
    let handle = runtime.handle().clone();
    let mut ingest = Ingest::new(config, &model.input, handle, outputs, services.clone())?;
    let screen = model.screen.take();
    let control = screen.as_ref().map(|_| ScreenControl::new(plans.exits.screen.clone()));
    let control = control.map(Arc::new);
    if let (Some(screen), Some(control)) = (screen, &control) {
        let way = start_screen(config, &model, screen, control, threads, &finished, services)?;
        ingest = ingest.with_screen(way);
    }
    let ingest = Arc::new(ingest);
    for _ in 0..decoders {
        let (ingest, received) = (Arc::clone(&ingest), received.clone());
        threads.spawn("decode", move || ingest.run(&received));
    }
    drop(ingest);
    let (report_out, report) = bounded(1);
    let stage = EngineStage::new(config, model, plans, control.clone(), services.clone())?;
    threads.spawn("engine", move || stage.run(&decoded, &finished, &report_out));
    Ok(StageReports { engine: report, screen: control })
}

/// Starts the thread of the screen, a network with its input. Returns the way to it and back.
fn start_screen(
    config: &Config,
    model: &Model,
    (network, input): (Box<dyn ScreenNetwork>, InputSpec),
    control: &Arc<ScreenControl>,
    threads: &mut Threads,
    finished: &Sender<Vec<FinishedItem>>,
    services: &Services,
) -> Result<ScreenInput, WorkerError> {
    // Every item in these queues holds a part of the budget, so sending never waits.
    let (screening_out, screening) = bounded(MOST_SCREENED);
    let (passed_out, passed) = bounded(MOST_SCREENED);
    let budget = Budget::new(config.exits.screen_bytes, MOST_SCREENED);
    let shared = Arc::clone(control);
    let way = ScreenInput::new(&input, config, shared, screening_out, passed, budget);
    let settings = ScreenSettings {
        audit_fraction: config.audit.fraction,
        default_risk: config.default_risk() as f32,
        max_batch: config.engine.max_batch,
        buckets: config.engine.batching().buckets(model.provider),
        profile: model.profile.clone(),
    };
    let outputs = ScreenOutputs { passed: passed_out, finished: finished.clone() };
    let (shared, services) = (Arc::clone(control), services.clone());
    let stage = ScreenStage::new(network, input.len(), shared, outputs, &settings, services)?;
    threads.spawn("screen", move || stage.run(&screening));
    Ok(way)
}

/// The runtime of sockets. All heavy work has threads of its own. With two threads, probes are
/// answered while the other one resolves a name or encrypts.
fn runtime() -> Result<Runtime, WorkerError> {
    let builder = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("io")
        .enable_all()
        .build();
    builder.map_err(|e| setup(format!("the I/O runtime: {e}")))
}
