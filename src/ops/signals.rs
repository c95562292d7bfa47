//! The few words that all stages listen to: stop, abort, flush.

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
    moved: Condvar,
}

impl Signals {
    /// Take no more; give verdicts to what was taken.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether to take no more.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A stage failed: stop, and wait for nothing.
    pub fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        self.stop();
        self.moved.notify_all();
    }

    /// Whether a stage failed.
    pub fn aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    /// Asks the engine to close its open group.
    pub fn flush(&self) {
        self.flush.store(true, Ordering::Release);
    }

    /// Whether to close the open group; asking answers the wish.
    pub fn take_flush(&self) -> bool {
        self.flush.swap(false, Ordering::AcqRel)
    }

    /// Verdicts are out.
    pub fn verdicts_out(&self) {
        *self.verdicts.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.moved.notify_all();
    }

    /// Waits until more verdicts are out, or for so long.
    pub fn wait_for_verdicts(&self, at_most: Duration) {
        let seen = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *seen;
        drop(self.moved.wait_timeout_while(seen, at_most, |now| *now == before && !self.aborted()));
    }
}
