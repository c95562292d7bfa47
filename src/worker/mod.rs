//! Starts the stages, supervises them, and stops them in order. Only this module knows all stages.
//!
//! A stage that fails stops the whole worker. Items without a verdict are then not acknowledged,
//! and are read again by the next worker.

mod running;
mod threads;

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use dorfman_core::engine::Stats;
use dorfman_model::cpu;
use tokio::runtime::Runtime;
use tracing::info;

pub use running::{Report, Running};
use threads::Threads;

use crate::config::Config;
pub use crate::error::WorkerError;
use crate::error::setup;
use crate::item::{FinishedItem, MAX_BATCH, ReceivedItem};
pub use crate::model::Model;
use crate::ops::{Services, server};
use crate::sink::kafka::KafkaSink;
use crate::sink::message::Records;
use crate::source::kafka::KafkaSource;
use crate::stages::engine::EngineStage;
use crate::stages::ingest::{Ingest, Outputs};

/// Batches of finished items that may wait for the sink.
const SINK_QUEUE: usize = 256;

/// Starts a worker on Kafka. Its threads run until [`Running::stop`] or a failure.
///
/// # Errors
/// [`WorkerError`] if anything cannot be set up.
pub fn start(config: &Config, model: Model) -> Result<Running, WorkerError> {
    let plan = config.describe_plan().map_err(setup)?;
    let services = Services::new(config, &model.bundle, &plan).map_err(setup)?;
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
    let report = start_stages(config, model, &runtime, &mut threads, channels, &services)?;
    services.health.warmed_up();
    threads.spawn("sink", move || Ok(sink.run(finished)?));
    threads.spawn("source", move || Ok(source.run(received_out)?));
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
    let services = Services::new(config, &model.bundle, "").map_err(setup)?;
    let runtime = runtime()?;
    let mut threads = Threads::new(Arc::clone(&services.signals));
    let channels = (received, finished);
    let report = start_stages(config, model, &runtime, &mut threads, channels, &services)?;
    Ok(Running::new(threads, services, report, runtime, config.shutdown.deadline, None))
}

/// The bounded queue behind a source, for at most `items` items (at least one batch).
pub fn received_queue(items: usize) -> (Sender<Vec<ReceivedItem>>, Receiver<Vec<ReceivedItem>>) {
    bounded((items / MAX_BATCH).max(1))
}

/// Starts the decode threads and the engine's thread. Returns the receiver of the engine's sums.
fn start_stages(
    config: &Config,
    model: Model,
    runtime: &Runtime,
    threads: &mut Threads,
    (received, finished): (Receiver<Vec<ReceivedItem>>, Sender<Vec<FinishedItem>>),
    services: &Services,
) -> Result<Receiver<Stats>, WorkerError> {
    let decoders = cpu::threads(config.decode.threads);
    let (decoded_out, decoded) = bounded(decoders * 4);
    let outputs = Outputs { decoded: decoded_out, finished: finished.clone() };
    let handle = runtime.handle().clone();
    let ingest = Ingest::new(config, &model.input, handle, outputs, services.clone())?;
    let ingest = Arc::new(ingest);
    for _ in 0..decoders {
        let (ingest, received) = (Arc::clone(&ingest), received.clone());
        threads.spawn("decode", move || ingest.run(&received));
    }
    drop(ingest);
    let (report_out, report) = bounded(1);
    let stage = EngineStage::new(config, model, services.clone())?;
    threads.spawn("engine", move || stage.run(&decoded, &finished, &report_out));
    Ok(report)
}

/// The runtime of sockets. One thread suffices: all heavy work has threads of its own.
fn runtime() -> Result<Runtime, WorkerError> {
    let builder = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("io")
        .enable_all()
        .build();
    builder.map_err(|e| setup(format!("the I/O runtime: {e}")))
}
