//! The receipt of an item, and the partition's books that it is entered in.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Watermark;

/// The books of one partition in one epoch: shared by the source, which commits, and the tickets, which resolve.
#[derive(Debug)]
pub struct Tracker {
    topic: Arc<str>,
    partition: i32,
    epoch: u64,
    watermark: Mutex<Watermark>,
    closed: AtomicBool,
    lost: AtomicU64,
}

impl Tracker {
    /// Books for a partition that was just assigned; `epoch` tells this assignment from earlier ones.
    pub fn new(topic: Arc<str>, partition: i32, epoch: u64) -> Arc<Self> {
        Arc::new(Self {
            topic,
            partition,
            epoch,
            watermark: Mutex::new(Watermark::new()),
            closed: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        })
    }

    /// Enters an offset and hands out its ticket. `None` if the offset does not rise: it was taken before in this epoch.
    pub fn take(self: &Arc<Self>, offset: i64) -> Option<Ticket> {
        self.books().take(offset).then(|| Ticket { tracker: Arc::clone(self), offset, settled: false })
    }

    /// The offset to commit, if any.
    pub fn committable(&self) -> Option<i64> {
        self.books().committable()
    }

    /// Items taken and neither resolved nor released; lost ones are among them.
    pub fn unresolved(&self) -> usize {
        self.books().unresolved()
    }

    /// Offsets entered and not yet below the watermark, resolved or not.
    pub fn held(&self) -> usize {
        self.books().held()
    }

    /// Items whose ticket was dropped without a word: a bug, and the reason to stop rather than to acknowledge.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// Ends the epoch: late verdicts no longer count, and tickets may be dropped.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// True once the partition went to someone else or the worker gave up waiting.
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

    /// Which assignment of the partition this is.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    fn books(&self) -> MutexGuard<'_, Watermark> {
        self.watermark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receipt of one item. [`Ticket::resolve`] it when its verdict is out and acknowledged; dropped unresolved it counts as lost,
/// unless its epoch is over.
#[derive(Debug)]
#[must_use = "a ticket that is dropped unresolved is never acknowledged"]
pub struct Ticket {
    tracker: Arc<Tracker>,
    offset: i64,
    settled: bool,
}

impl Ticket {
    /// The item has its verdict and every output of it is acknowledged.
    pub fn resolve(mut self) {
        self.settled = true;
        self.tracker.books().resolve(self.offset);
    }

    /// Gives the item back on purpose: it stays unacknowledged and is read again by whoever gets the partition next.
    pub fn release(mut self) {
        self.settled = true;
        self.tracker.books().release(self.offset);
    }

    /// False once the partition was revoked: its verdict is then somebody else's to give.
    pub fn is_current(&self) -> bool {
        !self.tracker.is_closed()
    }

    /// The topic the item came from.
    pub fn topic(&self) -> &str {
        &self.tracker.topic
    }

    /// The partition the item came from.
    pub fn partition(&self) -> i32 {
        self.tracker.partition
    }

    /// The item's offset.
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
        Tracker::new("images".into(), 0, 1)
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
    fn after_the_epoch_a_dropped_ticket_is_nobodys_loss() {
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
