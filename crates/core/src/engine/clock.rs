//! The clock that the caller supplies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time for the engine: when groups must be closed, and how long runs take. Neither time may go
/// backwards.
pub trait Clock: Send {
    /// The present time.
    fn now(&self) -> Instant;

    /// CPU time of the calling thread so far. The engine uses only differences. A clock that does
    /// not measure CPU time returns 0.
    fn thread_time(&self) -> Duration;
}

/// A clock that only its owner advances, for tests and simulations. Clones share the time. Its
/// [`Clock::thread_time`] is always 0.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use dorfman_core::engine::{Clock, ManualClock};
///
/// let clock = ManualClock::new(Instant::now());
/// let start = clock.now();
/// clock.advance(Duration::from_millis(200));
/// assert_eq!(clock.now() - start, Duration::from_millis(200));
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    start: Instant,
    nanoseconds: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows `start` until it is advanced.
    pub fn new(start: Instant) -> Self {
        Self { start, nanoseconds: Arc::default() }
    }

    /// Advances the clock and all its clones by the given amount.
    pub fn advance(&self, by: Duration) {
        self.nanoseconds.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    fn thread_time(&self) -> Duration {
        Duration::ZERO
    }
}
