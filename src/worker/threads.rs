//! The threads of a worker: each has a name, and its end is reported, also after a panic.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::error;

use super::WorkerError;
use crate::ops::Signals;

/// A named thread.
pub(super) type NamedThread = (&'static str, JoinHandle<Result<(), WorkerError>>);

/// The threads that were started so far.
pub(super) struct Threads {
    /// The threads.
    pub running: Vec<NamedThread>,
    /// Receives one message per thread that has ended.
    pub ended: Receiver<()>,
    end: Sender<()>,
    signals: Arc<Signals>,
}

impl Threads {
    pub fn new(signals: Arc<Signals>) -> Self {
        // One message per thread; a worker has far fewer threads.
        let (end, ended) = bounded(4096);
        Self { running: Vec::new(), ended, end, signals }
    }

    /// Starts a thread. If it fails or panics, all other threads are told to stop.
    pub fn spawn(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<(), WorkerError> + Send + 'static,
    ) {
        let (signals, end) = (Arc::clone(&self.signals), self.end.clone());
        let guarded = move || {
            let guard = EndGuard { signals, end, failed: true };
            let result = work();
            if let Err(error) = &result {
                error!(%error, stage = name, "a stage failed");
            }
            guard.ended(result.is_ok());
            result
        };
        match std::thread::Builder::new().name(name.to_owned()).spawn(guarded) {
            Ok(thread) => self.running.push((name, thread)),
            Err(error) => {
                error!(%error, name, "a thread was not started");
                self.signals.abort();
            }
        }
    }
}

/// Reports the end of a thread when it is dropped, also by a panic.
struct EndGuard {
    signals: Arc<Signals>,
    end: Sender<()>,
    failed: bool,
}

impl EndGuard {
    fn ended(mut self, well: bool) {
        self.failed = !well;
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if self.failed {
            self.signals.abort();
        }
        // There is no receiver if the worker was dropped.
        let _ = self.end.send(());
    }
}
