//! The partitions that are ours now, each with its books.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    stored: Option<i64>,
}

impl Assignments {
    /// Opens new books for partitions that were assigned.
    pub fn assign(&self, partitions: impl Iterator<Item = Partition>) {
        let mut inner = self.lock();
        inner.epoch += 1;
        let epoch = inner.epoch;
        for (topic, partition) in partitions {
            let tracker = Tracker::new(topic.as_str().into(), partition, epoch);
            if let Some(old) = inner.books.insert((topic, partition), Books { tracker, stored: None }) {
                old.tracker.close();
            }
        }
    }

    /// Closes the books of partitions that are gone: late verdicts no longer count.
    pub fn close(&self, partitions: &[Partition]) {
        let mut inner = self.lock();
        for partition in partitions {
            if let Some(books) = inner.books.remove(partition) {
                books.tracker.close();
            }
        }
    }

    /// Every partition that is ours.
    pub fn partitions(&self) -> Vec<Partition> {
        self.lock().books.keys().cloned().collect()
    }

    /// A ticket for a message; `None` if the partition is not ours or the offset was taken before.
    pub fn take(&self, topic: &str, partition: i32, offset: i64) -> Option<Ticket> {
        // The key is built anew each time: a lookup by borrowed parts would need a map of maps for some nanoseconds.
        self.lock().books.get(&(topic.to_owned(), partition))?.tracker.take(offset)
    }

    /// Items without a verdict, of all partitions or of some.
    pub fn unresolved(&self, partitions: Option<&[Partition]>) -> usize {
        let inner = self.lock();
        match partitions {
            None => inner.books.values().map(|b| b.tracker.unresolved()).sum(),
            Some(some) => some.iter().filter_map(|p| inner.books.get(p)).map(|b| b.tracker.unresolved()).sum(),
        }
    }

    /// Items that were dropped without a verdict.
    pub fn lost(&self) -> u64 {
        self.lock().books.values().map(|b| b.tracker.lost()).sum()
    }

    /// Offsets that moved since they were last stored, of all partitions or of some.
    pub fn to_store(&self, partitions: Option<&[Partition]>) -> Vec<(Partition, i64)> {
        let inner = self.lock();
        let books = inner.books.iter().filter(|(p, _)| partitions.is_none_or(|some| some.contains(p)));
        books
            .filter_map(|(p, b)| Some((p.clone(), b.tracker.committable().filter(|&o| Some(o) != b.stored)?)))
            .collect()
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
