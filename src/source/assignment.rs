//! The partitions that are ours now, each with its books.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;

use crate::offsets::{Ticket, Tracker};

/// A partition of a topic.
pub(super) type Partition = (String, i32);

/// The books of every assigned partition; shared by the polling thread and the rebalance callback that runs inside its poll.
#[derive(Debug, Default)]
pub(super) struct Assignments {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    books: HashMap<Partition, Books>,
    epoch: u64,
}

#[derive(Debug)]
struct Books {
    tracker: Arc<Tracker>,
    /// Books of the same assignment from before its offsets fell, with items still open.
    before: Vec<Arc<Tracker>>,
    stored: Option<i64>,
}

impl Books {
    fn new(topic: &str, partition: i32, epoch: u64) -> Self {
        Self { tracker: Tracker::new(topic.into(), partition, epoch), before: Vec::new(), stored: None }
    }

    fn trackers(&self) -> impl Iterator<Item = &Arc<Tracker>> {
        self.before.iter().chain([&self.tracker])
    }

    fn unresolved(&self) -> usize {
        self.trackers().map(|t| t.unresolved()).sum()
    }

    /// What may be stored; nothing while items from before the offsets fell are open.
    fn committable(&self) -> Option<i64> {
        let open = self.before.iter().any(|t| t.unresolved() > 0);
        self.tracker.committable().filter(|&o| !open && Some(o) != self.stored)
    }

    fn close(&self) {
        self.trackers().for_each(|t| t.close());
    }
}

impl Assignments {
    /// Opens new books for partitions that were assigned.
    pub fn assign(&self, partitions: impl Iterator<Item = Partition>) {
        let mut inner = self.lock();
        inner.epoch += 1;
        let epoch = inner.epoch;
        for (topic, partition) in partitions {
            let books = Books::new(&topic, partition, epoch);
            if let Some(old) = inner.books.insert((topic, partition), books) {
                old.close();
            }
        }
    }

    /// Closes the books of partitions that are gone: late verdicts no longer count.
    pub fn close(&self, partitions: &[Partition]) {
        let mut inner = self.lock();
        for partition in partitions {
            if let Some(books) = inner.books.remove(partition) {
                books.close();
            }
        }
    }

    /// Every partition that is ours.
    pub fn partitions(&self) -> Vec<Partition> {
        self.lock().books.keys().cloned().collect()
    }

    /// A ticket for a message; `None` if the partition is not ours. An offset that does not rise means that the partition's log was
    /// cut or made anew: these are new messages, for which new books are opened.
    pub fn take(&self, topic: &str, partition: i32, offset: i64) -> Option<Ticket> {
        let mut inner = self.lock();
        let epoch = inner.epoch + 1;
        // The key is built anew each time: a lookup by borrowed parts would need a map of maps for some nanoseconds.
        let books = inner.books.get_mut(&(topic.to_owned(), partition))?;
        if let Some(ticket) = books.tracker.take(offset) {
            return Some(ticket);
        }
        warn!(topic, partition, offset, "offsets fell: the partition's log was cut or made anew; reading on from here");
        let old = std::mem::replace(&mut books.tracker, Tracker::new(topic.into(), partition, epoch));
        books.before.push(old);
        books.before.retain(|t| t.unresolved() > 0);
        books.stored = None;
        let ticket = books.tracker.take(offset);
        inner.epoch = epoch;
        ticket
    }

    /// The most offsets that any partition has beyond its watermark.
    pub fn longest(&self) -> usize {
        self.lock().books.values().map(|b| b.tracker.held()).max().unwrap_or(0)
    }

    /// Items without a verdict, of all partitions or of some.
    pub fn unresolved(&self, partitions: Option<&[Partition]>) -> usize {
        let inner = self.lock();
        match partitions {
            None => inner.books.values().map(Books::unresolved).sum(),
            Some(some) => some.iter().filter_map(|p| inner.books.get(p)).map(Books::unresolved).sum(),
        }
    }

    /// Items that were dropped without a verdict.
    pub fn lost(&self) -> u64 {
        self.lock().books.values().flat_map(Books::trackers).map(|t| t.lost()).sum()
    }

    /// Offsets that moved since they were last stored, of all partitions or of some.
    pub fn to_store(&self, partitions: Option<&[Partition]>) -> Vec<(Partition, i64)> {
        let inner = self.lock();
        let books = inner.books.iter().filter(|(p, _)| partitions.is_none_or(|some| some.contains(p)));
        books.filter_map(|(p, b)| Some((p.clone(), b.committable()?))).collect()
    }

    /// Notes that an offset was stored.
    pub fn stored(&self, partition: &Partition, offset: i64) {
        if let Some(books) = self.lock().books.get_mut(partition) {
            books.stored = Some(offset);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(partition: i32) -> Partition {
        ("images".into(), partition)
    }

    #[test]
    fn only_what_moved_is_stored_again() {
        let a = Assignments::default();
        a.assign([p(0), p(1)].into_iter());
        a.take("images", 0, 5).unwrap().resolve();
        assert_eq!(a.to_store(None), [(p(0), 6)]);
        a.stored(&p(0), 6);
        assert!(a.to_store(None).is_empty());
        a.take("images", 0, 6).unwrap().resolve();
        assert_eq!(a.to_store(Some(&[p(0)])), [(p(0), 7)]);
        assert!(a.to_store(Some(&[p(1)])).is_empty());
    }

    #[test]
    fn offsets_that_fall_are_new_messages_and_nothing_is_stored_before_the_old_ones_are_done() {
        let a = Assignments::default();
        a.assign([p(0)].into_iter());
        let old = a.take("images", 0, 90).unwrap();
        a.take("images", 0, 3).unwrap().resolve();
        assert!(old.is_current(), "its verdict is still ours to give");
        assert!(a.to_store(None).is_empty());
        assert_eq!((a.unresolved(None), a.longest()), (1, 0));
        old.resolve();
        assert_eq!(a.to_store(None), [(p(0), 4)]);
    }

    #[test]
    fn a_new_epoch_starts_new_books_and_late_verdicts_do_not_reach_them() {
        let a = Assignments::default();
        a.assign([p(0)].into_iter());
        let late = a.take("images", 0, 5).unwrap();
        a.close(&[p(0)]);
        assert!(a.take("images", 0, 6).is_none(), "not ours");
        a.assign([p(0)].into_iter());
        let again = a.take("images", 0, 5).unwrap();
        assert!(!late.is_current() && again.is_current());
        late.resolve();
        assert!(a.to_store(None).is_empty());
        assert_eq!((a.unresolved(None), a.lost()), (1, 0));
        again.resolve();
        assert_eq!(a.to_store(None), [(p(0), 6)]);
    }
}
