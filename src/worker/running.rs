//! A running worker: how it is stopped, and what it reports at its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use dorfman_core::engine::Stats;
use dorfman_core::screen::ScreenStats;
use tokio::runtime::Runtime;

use super::threads::{NamedThread, Threads};
use super::{SOURCE, StageReports, WorkerError};
use crate::ops::metrics::Metrics;
use crate::ops::{Health, Services};

/// What a worker did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The plans in words, at the end.
    pub plan: String,
    /// The engine's sums.
    pub stats: Stats,
    /// The screen's sums; all 0 without a screen.
    pub screen: ScreenStats,
}

/// A running worker.
pub struct Running {
    threads: Vec<NamedThread>,
    ended: Receiver<()>,
    services: Services,
    reports: StageReports,
    runtime: Runtime,
    deadline: Duration,
    address: Option<SocketAddr>,
}

impl Running {
    pub(super) fn new(
        threads: Threads,
        services: Services,
        reports: StageReports,
        runtime: Runtime,
        deadline: Duration,
        address: Option<SocketAddr>,
    ) -> Self {
        let Threads { running: threads, ended, .. } = threads;
        Self { threads, ended, services, reports, runtime, deadline, address }
    }

    /// Tells the worker to read no more items and to finish those that it has.
    pub fn stop(&self) {
        self.services.stop();
    }

    /// Whether a stage has failed, so that the worker is shutting down.
    pub fn failed(&self) -> bool {
        self.services.signals.aborted()
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.services.metrics
    }

    /// The health.
    pub fn health(&self) -> &Health {
        &self.services.health
    }

    /// The address that serves health and metrics, if any.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// A function that stops the worker from another thread.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let services = self.services.clone();
        move || services.stop()
    }

    /// A function that ends the worker from another thread without waiting for verdicts.
    pub fn aborter(&self) -> impl Fn() + Send + Sync + 'static {
        let signals = Arc::clone(&self.services.signals);
        move || signals.abort()
    }

    /// Waits until all threads have ended.
    ///
    /// # Errors
    /// The first failure of a stage, or [`WorkerError::Hanging`] if a thread does not end in time.
    pub fn wait(self) -> Result<Report, WorkerError> {
        let all_ended = self.wait_for_threads();
        let is_done = |(_, thread): &NamedThread| all_ended || thread.is_finished();
        let (done, hanging): (Vec<_>, Vec<_>) = self.threads.into_iter().partition(is_done);
        let mut first = None;
        for (name, thread) in done {
            if let Err(error) = thread.join().unwrap_or(Err(WorkerError::Panic(name))) {
                first.get_or_insert(error);
            }
        }
        self.runtime.shutdown_background();
        // The others wait for the source.
        let source = hanging.iter().find(|(name, _)| *name == SOURCE);
        match (first, source.or(hanging.first())) {
            (Some(error), _) => Err(error),
            (None, Some((name, _))) => Err(WorkerError::Hanging(name)),
            (None, None) => {
                let (plan, stats) = self.reports.engine.try_recv().unwrap_or_default();
                Ok(Report {
                    plan,
                    stats,
                    screen: self.reports.screen.map(|screen| screen.stats()).unwrap_or_default(),
                })
            }
        }
    }

    /// Waits for every thread. Returns false if one of them did not end within twice the shutdown
    /// deadline.
    fn wait_for_threads(&self) -> bool {
        let mut running = self.threads.len();
        let mut deadline: Option<Instant> = None;
        while running > 0 {
            if self.services.signals.stopping() {
                // The stages keep the deadline themselves; a stage that takes twice as long hangs.
                let latest = || Instant::now() + self.deadline * 2 + Duration::from_secs(1);
                deadline.get_or_insert_with(latest);
            }
            if self.ended.recv_timeout(Duration::from_millis(100)).is_ok() {
                running -= 1;
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                break;
            }
        }
        running == 0
    }
}
