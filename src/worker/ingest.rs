//! Fetch and decode on the CPU pool: messages become tensors, or dead letters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::WorkerError;
use super::engine::Ready;
use crate::config::Config;
use crate::config::decode::DecodeConfig;
use crate::cpu::thread_time;
use crate::decode::Preprocessor;
use crate::fetch::Fetcher;
use crate::message::{Failure, Location, Reference};
use crate::model::manifest::InputSpec;
use crate::ops::Signals;
use crate::ops::metrics::Metrics;
use crate::sink::{Ending, Subject};
use crate::source::{Incoming, Origin};

/// How long a decoded image may wait for its batch before it goes on.
const HOLD: Duration = Duration::from_millis(2);

/// How many threads decode.
pub(super) fn threads(config: &DecodeConfig) -> usize {
    match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    }
}

/// What the decode threads share.
pub(super) struct Ingest {
    fetcher: Arc<Fetcher>,
    preprocessor: Preprocessor,
    runtime: tokio::runtime::Handle,
    remote: Arc<tokio::sync::Semaphore>,
    fetched_out: Sender<Fetched>,
    fetched: Receiver<Fetched>,
    ready: Sender<Vec<Ready>>,
    endings: Sender<Vec<Ending>>,
    signals: Arc<Signals>,
    metrics: Arc<Metrics>,
}

/// Bytes that came over the network.
struct Fetched {
    origin: Origin,
    reference: Reference,
    bytes: Result<Bytes, Failure>,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Ingest {
    pub fn new(
        config: &Config,
        input: &InputSpec,
        runtime: tokio::runtime::Handle,
        (ready, endings): (Sender<Vec<Ready>>, Sender<Vec<Ending>>),
        signals: &Arc<Signals>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, WorkerError> {
        let fetcher = Fetcher::new(&config.fetch).map_err(|e| WorkerError::Setup(e.to_string()))?;
        // An item holds a permit from the start of its fetch to the end of its decoding, so this never fills and no send waits.
        let (fetched_out, fetched) = bounded(config.fetch.concurrency);
        Ok(Self {
            fetcher: Arc::new(fetcher),
            preprocessor: Preprocessor::new(input, &config.decode),
            runtime,
            remote: Arc::new(tokio::sync::Semaphore::new(config.fetch.concurrency)),
            fetched_out,
            fetched,
            ready,
            endings,
            signals: Arc::clone(signals),
            metrics: Arc::clone(metrics),
        })
    }

    /// Works until no message will come any more and every fetch has ended.
    pub fn run(&self, incoming: &Receiver<Vec<Incoming>>) -> Result<(), WorkerError> {
        let mut open = true;
        let never = crossbeam_channel::never();
        while !self.signals.aborted() {
            let mut desk = Desk::new(self);
            let incoming = if open { incoming } else { &never };
            crossbeam_channel::select_biased! {
                recv(self.fetched) -> fetched => {
                    if let Ok(fetched) = fetched {
                        desk.decode(fetched.origin, fetched.reference, fetched.bytes);
                    }
                }
                recv(incoming) -> batch => match batch {
                    Ok(batch) => self.receive_all(batch, &mut desk),
                    Err(_) => open = false,
                },
                default(Duration::from_millis(50)) => {
                    if !open && self.fetching() == 0 {
                        return Ok(());
                    }
                }
            }
            desk.close();
        }
        Ok(())
    }

    /// What is at hand first: a fetch may have to wait for room.
    fn receive_all(&self, batch: Vec<Incoming>, desk: &mut Desk<'_>) {
        let remote: Vec<(Origin, Reference)> = batch.into_iter().filter_map(|item| self.receive(item, desk)).collect();
        remote.into_iter().for_each(|(origin, reference)| self.fetch(origin, reference, desk));
    }

    /// Decodes an item whose bytes are at hand; gives back one whose bytes are elsewhere.
    fn receive(&self, item: Incoming, desk: &mut Desk<'_>) -> Option<(Origin, Reference)> {
        let Incoming { origin, content } = item;
        let reference = match content {
            Ok(reference) => reference,
            Err((failure, payload)) => {
                desk.bury(origin, None, payload, failure);
                return None;
            }
        };
        let local = self.fetcher.local(&reference.location);
        let lap = desk.lap();
        desk.fetch_cpu += lap;
        match local {
            Some(bytes) => {
                desk.decode(origin, reference, bytes);
                None
            }
            None => Some((origin, reference)),
        }
    }

    /// Starts a fetch over the network, once there is room for one more.
    fn fetch(&self, origin: Origin, reference: Reference, desk: &mut Desk<'_>) {
        desk.clear();
        // While this thread waits for room, finished fetches must be decoded by somebody: by this thread.
        let permit = loop {
            match Arc::clone(&self.remote).try_acquire_owned() {
                Ok(permit) => break permit,
                Err(_) if self.signals.aborted() => return,
                Err(_) => {
                    if let Ok(fetched) = self.fetched.recv_timeout(Duration::from_millis(50)) {
                        desk.decode(fetched.origin, fetched.reference, fetched.bytes);
                        desk.clear();
                    }
                }
            }
        };
        let (fetcher, out) = (Arc::clone(&self.fetcher), self.fetched_out.clone());
        self.runtime.spawn(async move {
            let bytes = match &reference.location {
                Location::Uri(uri) => fetcher.remote(uri).await,
                Location::Inline(bytes) => Ok(bytes.clone()),
            };
            // The pool is gone only when the worker gave up on what it had.
            let _ = out.send(Fetched { origin, reference, bytes, _permit: permit });
        });
    }

    /// Fetches under way or waiting to be decoded.
    fn fetching(&self) -> usize {
        Arc::strong_count(&self.remote) - 1
    }
}

/// What one thread has in hand.
struct Desk<'a> {
    ingest: &'a Ingest,
    ready: Vec<Ready>,
    dead: Vec<Ending>,
    since: Instant,
    clock: Duration,
    fetch_cpu: Duration,
    decode_cpu: Duration,
}

impl<'a> Desk<'a> {
    fn new(ingest: &'a Ingest) -> Self {
        let (ready, dead) = (Vec::new(), Vec::new());
        let (fetch_cpu, decode_cpu) = (Duration::ZERO, Duration::ZERO);
        Self { ingest, ready, dead, since: Instant::now(), clock: thread_time(), fetch_cpu, decode_cpu }
    }

    /// CPU time since the last lap.
    fn lap(&mut self) -> Duration {
        let now = thread_time();
        now - std::mem::replace(&mut self.clock, now)
    }

    fn decode(&mut self, origin: Origin, mut reference: Reference, bytes: Result<Bytes, Failure>) {
        self.lap();
        let tensor = bytes.and_then(|bytes| self.ingest.preprocessor.tensor(&bytes));
        let lap = self.lap();
        self.decode_cpu += lap;
        if let Location::Inline(bytes) = &mut reference.location {
            *bytes = Bytes::new();
        }
        match tensor {
            Ok(image) => {
                self.ingest.metrics.decoded_age.observe(origin.received.elapsed().as_secs_f64());
                self.ready.push(Ready { image, subject: Subject { reference, origin } });
            }
            Err(failure) => self.bury(origin, Some(reference), Bytes::new(), failure),
        }
        if self.since.elapsed() > HOLD {
            self.clear();
        }
    }

    fn bury(&mut self, origin: Origin, reference: Option<Reference>, payload: Bytes, failure: Failure) {
        self.dead.push(Ending::Dead { origin, reference, payload, failure });
    }

    /// Hands over the rest and writes down the time.
    fn close(mut self) {
        self.clear();
        for (part, time) in [("fetch", self.fetch_cpu), ("decode", self.decode_cpu)] {
            if !time.is_zero() {
                self.ingest.metrics.ingest_cpu.with_label_values(&[part]).inc_by(time.as_secs_f64());
            }
        }
    }

    /// Hands over what is done. A stage that is gone has said why, and the tickets in hand are then dropped unresolved.
    fn clear(&mut self) {
        if !self.ready.is_empty() {
            let _ = self.ingest.ready.send(std::mem::take(&mut self.ready));
        }
        if !self.dead.is_empty() {
            let _ = self.ingest.endings.send(std::mem::take(&mut self.dead));
        }
        self.since = Instant::now();
    }
}
