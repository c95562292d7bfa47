//! Whether the worker makes progress, and whether it is ready.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The state behind the probes /healthz and /readyz.
#[derive(Debug)]
pub struct Health {
    start: Instant,
    stalled_after: Duration,
    unready_after: u64,
    in_flight: AtomicUsize,
    unacknowledged: AtomicUsize,
    progress_ms: AtomicU64,
    /// When the source was last seen at work. 0 before it has started.
    polled_ms: AtomicU64,
    warm: AtomicBool,
    joined: AtomicBool,
    stopping: AtomicBool,
    dead_in_a_row: AtomicU64,
    failed_by_others: AtomicBool,
    /// Why nothing is read, while a store of images is down.
    outage: Mutex<Option<String>>,
}

impl Health {
    /// The worker is unhealthy after `stalled_after` without a verdict while items are in flight,
    /// and not ready after `unready_after` dead letters in a row.
    pub fn new(stalled_after: Duration, unready_after: u64) -> Self {
        Self {
            start: Instant::now(),
            stalled_after,
            unready_after,
            in_flight: AtomicUsize::new(0),
            unacknowledged: AtomicUsize::new(0),
            progress_ms: AtomicU64::new(0),
            polled_ms: AtomicU64::new(0),
            warm: AtomicBool::new(false),
            joined: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            dead_in_a_row: AtomicU64::new(0),
            failed_by_others: AtomicBool::new(false),
            outage: Mutex::new(None),
        }
    }

    /// Sets the store of images that is down, and for how long. While there is one, the worker waits
    /// for it, and a restart does not help.
    pub fn set_outage(&self, outage: Option<&(String, Duration)>) {
        let told = outage.map(|(store, time)| {
            format!("waiting for {store}, which has not answered for {:.0} s", time.as_secs_f32())
        });
        let before = std::mem::replace(&mut *self.told_outage(), told);
        if before.is_some() && outage.is_none() {
            self.progress();
        }
    }

    /// Whether a store of images is down.
    pub fn outage(&self) -> bool {
        self.told_outage().is_some()
    }

    /// Records that the worker ends for a reason that no item has caused: the brokers do not take its
    /// records, or the network fails.
    pub fn set_failed_by_others(&self) {
        self.failed_by_others.store(true, Ordering::Release);
    }

    /// Whether the worker ends for a reason that no item has caused.
    pub fn failed_by_others(&self) -> bool {
        self.failed_by_others.load(Ordering::Acquire)
    }

    /// Whether the worker waits for others: for a store of images, or for the brokers.
    pub fn waits(&self) -> bool {
        self.outage() || self.unacknowledged.load(Ordering::Acquire) > 0
    }

    fn told_outage(&self) -> MutexGuard<'_, Option<String>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the number of items in flight.
    pub fn in_flight(&self, items: usize) {
        // The time without items does not count as a stall.
        if self.in_flight.swap(items, Ordering::AcqRel) == 0 {
            self.progress();
        }
    }

    /// Sets the number of published records that the broker has not acknowledged. While there are
    /// any, the worker waits for the broker, and a restart does not help. librdkafka's
    /// `message.timeout.ms` limits the wait.
    pub fn unacknowledged(&self, records: usize) {
        if self.unacknowledged.swap(records, Ordering::AcqRel) > 0 && records == 0 {
            self.progress();
        }
    }

    /// Records that a verdict was published.
    pub fn progress(&self) {
        self.progress_ms.store(self.now_ms(), Ordering::Release);
    }

    /// Records that the source polls the brokers.
    pub fn polled(&self) {
        self.polled_ms.store(self.now_ms().max(1), Ordering::Release);
    }

    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// The time since a moment in milliseconds since the start.
    fn since(&self, moment: &AtomicU64) -> Duration {
        let moment = Duration::from_millis(moment.load(Ordering::Acquire));
        self.start.elapsed().saturating_sub(moment)
    }

    /// Why the source is stuck, if it is. A source that waits for the verdicts of a revoked partition
    /// is not stuck.
    fn source_stuck(&self) -> Option<String> {
        let runs = self.polled_ms.load(Ordering::Acquire) > 0;
        let since = self.since(&self.polled_ms);
        let stuck = runs && !self.stopping.load(Ordering::Acquire) && since > self.stalled_after;
        stuck.then(|| format!("the source has not polled for {:.0} s", since.as_secs_f32()))
    }

    /// Records that the network has run once at every batch size.
    pub fn warmed_up(&self) {
        self.warm.store(true, Ordering::Release);
    }

    /// Records that the consumer group has assigned partitions, possibly none.
    pub fn joined(&self) {
        self.joined.store(true, Ordering::Release);
    }

    /// Records that the consumer has failed and has no partitions.
    pub fn left(&self) {
        self.joined.store(false, Ordering::Release);
        self.in_flight(0);
    }

    /// Records that the worker is shutting down.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Records that an item was sent to the dead-letter topic.
    pub fn dead_letter(&self) {
        self.dead_in_a_row.fetch_add(1, Ordering::AcqRel);
        self.progress();
    }

    /// Records that an item was flagged or cleared.
    pub fn verdict(&self) {
        self.dead_in_a_row.store(0, Ordering::Release);
        self.progress();
    }

    /// Why the worker should be restarted. `None` if it is healthy. It is not healthy during the
    /// warm-up; a startup probe limits the warm-up.
    pub fn unhealthy(&self) -> Option<String> {
        if !self.warm.load(Ordering::Acquire) {
            return Some("warming up".into());
        }
        if let Some(stuck) = self.source_stuck() {
            return Some(stuck);
        }
        let since = self.since(&self.progress_ms);
        let items = self.in_flight.load(Ordering::Acquire);
        let stalled = items > 0 && !self.waits() && since > self.stalled_after;
        stalled.then(|| {
            format!("no verdict for {:.0} s with {items} items in flight", since.as_secs_f32())
        })
    }

    /// Why the worker is not ready. `None` if it is ready.
    pub fn unready(&self) -> Option<String> {
        if self.stopping.load(Ordering::Acquire) {
            return Some("stopping".into());
        }
        if !self.joined.load(Ordering::Acquire) {
            return Some("the consumer group has not assigned partitions yet".into());
        }
        if let Some(outage) = self.told_outage().clone() {
            return Some(outage);
        }
        let dead = self.dead_in_a_row.load(Ordering::Acquire);
        (dead >= self.unready_after)
            .then(|| format!("the last {dead} items went to the dead-letter topic"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stall_with_work_is_unhealthy() {
        let h = Health::new(Duration::ZERO, 3);
        assert_eq!(h.unhealthy().as_deref(), Some("warming up"));
        h.warmed_up();
        assert_eq!(h.unhealthy(), None, "nothing in flight");
        h.in_flight(2);
        std::thread::yield_now();
        while h.start.elapsed() < Duration::from_millis(2) {}
        assert!(h.unhealthy().unwrap().contains("2 items"));
        h.unacknowledged(1);
        assert_eq!(h.unhealthy(), None, "the worker waits for the broker");
        h.unacknowledged(0);
        h.in_flight(0);
        assert_eq!(h.unhealthy(), None);
    }

    #[test]
    fn a_source_that_does_not_poll_is_unhealthy() {
        let h = Health::new(Duration::from_millis(1), 3);
        h.warmed_up();
        assert_eq!(h.unhealthy(), None, "a worker without a source");
        h.polled();
        while h.start.elapsed() < Duration::from_millis(4) {}
        assert!(h.unhealthy().unwrap().contains("not polled"));
        h.stopping();
        assert_eq!(h.unhealthy(), None, "a worker that stops polls for its own time");
    }

    #[test]
    fn ready_means_joined_not_stopping_and_not_only_dead_letters() {
        let h = Health::new(Duration::from_secs(60), 2);
        assert!(h.unready().unwrap().contains("group"));
        h.joined();
        assert_eq!(h.unready(), None);
        h.dead_letter();
        h.dead_letter();
        assert!(h.unready().unwrap().contains("dead-letter"));
        h.verdict();
        assert_eq!(h.unready(), None);
        h.left();
        assert!(h.unready().unwrap().contains("group"));
        h.joined();
        h.stopping();
        assert_eq!(h.unready().as_deref(), Some("stopping"));
    }
}
