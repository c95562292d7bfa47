//! The worker's process as a reader of partitions, over all of its consumers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::offsets::Tracker;

/// This process as a reader of partitions. Clones share its state; the consumers of a process have one.
#[derive(Debug, Clone, Default)]
pub(super) struct Reader {
    id: u64,
    given_up: Arc<Mutex<Vec<Weak<Tracker>>>>,
}

impl Reader {
    /// A reader that no note names yet.
    pub fn new() -> Self {
        Self { id: fastrand::u64(1..), ..Self::default() }
    }

    /// The number of the process in notes.
    pub fn id(&self) -> u64 {
        self.id
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trackers_without_items_are_forgotten() {
        let reader = Reader::new();
        for partition in 0..100 {
            reader.give_up(std::iter::once(&Tracker::new("images".into(), partition)));
        }
        assert_eq!(reader.given_up.lock().unwrap().len(), 1, "only the last one was alive");
        assert!(!reader.judges_given_up());
    }
}
