//! The ticket of an item, and the offset tracker of its partition.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Watermark;

/// The offset tracker of one partition in one epoch. The source, which commits, and the tickets,
/// which resolve, share it.
#[derive(Debug)]
pub struct Tracker {
    topic: Arc<str>,
    partition: i32,
    watermark: Mutex<Watermark>,
    closed: AtomicBool,
    lost: AtomicU64,
}

impl Tracker {
    /// A tracker for an epoch of a partition that begins now.
    pub fn new(topic: Arc<str>, partition: i32) -> Arc<Self> {
        Arc::new(Self {
            topic,
            partition,
            watermark: Mutex::new(Watermark::new()),
            closed: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        })
    }

    /// Enters an offset and returns its ticket. `None` if the offset is not above every offset that
    /// was entered before in this epoch.
    pub fn take(self: &Arc<Self>, offset: i64) -> Option<Ticket> {
        self.watermark().take(offset).then(|| Ticket {
            tracker: Arc::clone(self),
            offset,
            settled: false,
        })
    }

    /// The offset to commit, if any.
    pub fn committable(&self) -> Option<i64> {
        self.watermark().committable()
    }

    /// Passes offsets without messages up to `offset`, as [`Watermark::pass`].
    pub fn pass(&self, offset: i64) -> bool {
        self.watermark().pass(offset)
    }

    /// Items that are neither resolved nor released, including lost items.
    pub fn unresolved(&self) -> usize {
        self.watermark().unresolved()
    }

    /// Offsets at or above the watermark, resolved or not.
    pub fn held(&self) -> usize {
        self.watermark().held()
    }

    /// Items whose ticket was dropped without being resolved or released. This is a bug: the worker
    /// must stop and not acknowledge more items.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// Ends the epoch. Later verdicts have no effect, and tickets may be dropped.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether the epoch has ended: the partition was revoked, or the worker stopped.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    fn watermark(&self) -> MutexGuard<'_, Watermark> {
        self.watermark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The acknowledgement of one item. Call [`Ticket::resolve`] when the broker has acknowledged every
/// record of the item. A ticket that is dropped unresolved counts as lost, unless its epoch has
/// ended.
#[derive(Debug)]
#[must_use = "a ticket that is dropped unresolved is never acknowledged"]
pub struct Ticket {
    tracker: Arc<Tracker>,
    offset: i64,
    settled: bool,
}

impl Ticket {
    /// Acknowledges the item: every record of the item is acknowledged by the broker.
    pub fn resolve(mut self) {
        self.settled = true;
        self.tracker.watermark().resolve(self.offset);
    }

    /// Releases the item without acknowledgement. The next owner of the partition reads it again.
    pub fn release(mut self) {
        self.settled = true;
        self.tracker.watermark().release(self.offset);
    }

    /// Whether the epoch of the ticket lasts. After it has ended, another worker publishes the
    /// verdict.
    pub fn is_current(&self) -> bool {
        !self.tracker.is_closed()
    }

    /// The topic of the item.
    pub fn topic(&self) -> &str {
        &self.tracker.topic
    }

    /// The partition of the item.
    pub fn partition(&self) -> i32 {
        self.tracker.partition
    }

    /// The offset of the item.
    pub fn offset(&self) -> i64 {
        self.offset
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled && !self.tracker.is_closed() {
            self.tracker.lost.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker() -> Arc<Tracker> {
        Tracker::new("images".into(), 0)
    }

    #[test]
    fn a_resolved_ticket_moves_the_watermark() {
        let t = tracker();
        t.take(0).unwrap().resolve();
        assert_eq!((t.committable(), t.unresolved(), t.lost()), (Some(1), 0, 0));
    }

    #[test]
    fn a_dropped_ticket_is_lost_and_never_acknowledged() {
        let t = tracker();
        drop(t.take(0).unwrap());
        t.take(1).unwrap().resolve();
        assert_eq!((t.committable(), t.unresolved(), t.lost()), (None, 1, 1));
    }

    #[test]
    fn a_released_ticket_is_not_acknowledged_and_not_lost() {
        let t = tracker();
        t.take(0).unwrap().release();
        assert_eq!((t.committable(), t.unresolved(), t.lost()), (None, 0, 0));
    }

    #[test]
    fn a_ticket_dropped_after_its_epoch_is_not_lost() {
        let t = tracker();
        let ticket = t.take(0).unwrap();
        t.close();
        assert!(!ticket.is_current());
        drop(ticket);
        assert_eq!(t.lost(), 0);
    }

    #[test]
    fn an_offset_is_taken_once() {
        let t = tracker();
        t.take(7).unwrap().resolve();
        assert!(t.take(7).is_none());
    }
}
