//! Signals between the stages: stop, abort, flush, verdicts published.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Shared by all stages of one worker.
#[derive(Debug, Default)]
pub struct Signals {
    stopping: AtomicBool,
    aborted: AtomicBool,
    flush: AtomicBool,
    verdicts: Mutex<u64>,
    changed: Condvar,
}

impl Signals {
    /// Tells the stages to read no more items and to finish the items that they have.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether to read no more items.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Tells the stages that a stage failed: stop without finishing items.
    pub fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        self.stop();
        self.changed.notify_all();
    }

    /// Whether a stage failed.
    pub fn aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    /// Requests that the engine closes its open groups.
    pub fn flush(&self) {
        self.flush.store(true, Ordering::Release);
    }

    /// Whether to close the open groups. The request is then answered.
    pub fn take_flush(&self) -> bool {
        self.flush.swap(false, Ordering::AcqRel)
    }

    /// Records that verdicts were published or acknowledged.
    pub fn verdicts_published(&self) {
        *self.verdicts.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Waits until more verdicts are published, an abort, or for `at_most`.
    pub fn wait_for_verdicts(&self, at_most: Duration) {
        let seen = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *seen;
        drop(
            self.changed.wait_timeout_while(seen, at_most, |now| *now == before && !self.aborted()),
        );
    }
}
