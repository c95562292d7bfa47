//! The worker's process as a reader of partitions, over all of its consumers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::caution::Begins;
use crate::offsets::Tracker;

/// This process as a reader of partitions. Clones share its state; the consumers of a process have one.
#[derive(Debug, Clone, Default)]
pub(super) struct Reader {
    id: u64,
    /// How soon the group may notice that a reader has ended.
    noticed: Duration,
    given_up: Arc<Mutex<Vec<Weak<Tracker>>>>,
}

impl Reader {
    /// A reader that no note names yet. `noticed`: how soon the consumer group may notice that one of its
    /// members has ended.
    pub fn new(noticed: Duration) -> Self {
        Self { id: fastrand::u64(1..), noticed, ..Self::default() }
    }

    /// This process, beginning to read a partition now.
    pub fn begins(&self) -> Begins {
        Begins { reader: self.id, now: now(), noticed: milliseconds(self.noticed) }
    }

    /// Ends the epochs of a partition. Later verdicts of its items have no effect.
    pub fn give_up<'a>(&self, trackers: impl Iterator<Item = &'a Arc<Tracker>>) {
        let mut given_up = self.in_use();
        for tracker in trackers {
            tracker.close();
            given_up.push(Arc::downgrade(tracker));
        }
    }

    /// Whether the worker still judges items of partitions that were given up.
    pub fn judges_given_up(&self) -> bool {
        !self.in_use().is_empty()
    }

    /// The trackers of partitions that were given up whose items are not all judged. Each ticket of an
    /// item holds its tracker.
    fn in_use(&self) -> MutexGuard<'_, Vec<Weak<Tracker>>> {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.retain(|tracker| tracker.strong_count() > 0);
        given_up
    }
}

/// The time of a note: milliseconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, milliseconds)
}

fn milliseconds(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trackers_without_items_are_forgotten() {
        let reader = Reader::new(Duration::ZERO);
        for partition in 0..100 {
            reader.give_up(std::iter::once(&Tracker::new("images".into(), partition)));
        }
        assert_eq!(reader.given_up.lock().unwrap().len(), 1, "only the last one was alive");
        assert!(!reader.judges_given_up());
    }
}
