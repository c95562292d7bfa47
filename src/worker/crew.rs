//! The threads of a worker: started by name, and each one's end, panic or not, is heard of.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::error;

use super::WorkerError;
use crate::ops::Signals;

/// Threads that were started so far.
pub(super) struct Crew {
    pub signals: Arc<Signals>,
    pub threads: Vec<(&'static str, JoinHandle<Result<(), WorkerError>>)>,
    end: Sender<()>,
    pub ended: Receiver<()>,
}

impl Crew {
    pub fn new(signals: Arc<Signals>) -> Self {
        // One word a thread, and nobody has as many threads.
        let (end, ended) = bounded(4096);
        Self { signals, threads: Vec::new(), end, ended }
    }

    /// Starts a thread; if it fails or panics, all others are told to stop.
    pub fn spawn(&mut self, name: &'static str, work: impl FnOnce() -> Result<(), WorkerError> + Send + 'static) {
        let (signals, end) = (Arc::clone(&self.signals), self.end.clone());
        let guarded = move || {
            let guard = Guard { signals, end, armed: true };
            let result = work();
            if let Err(error) = &result {
                error!(%error, stage = name, "a stage failed");
            }
            guard.done(result.is_ok());
            result
        };
        match std::thread::Builder::new().name(name.to_owned()).spawn(guarded) {
            Ok(thread) => self.threads.push((name, thread)),
            Err(e) => {
                error!(%e, name, "thread not started");
                self.signals.abort();
            }
        }
    }
}

/// Says that a thread ended, panic or not.
struct Guard {
    signals: Arc<Signals>,
    end: Sender<()>,
    armed: bool,
}

impl Guard {
    fn done(mut self, well: bool) {
        self.armed = !well;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.armed {
            self.signals.abort();
        }
        // Nobody listens any more if the worker was let go.
        let _ = self.end.send(());
    }
}
