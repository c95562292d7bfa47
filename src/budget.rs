//! A limit of the bytes of items between two stages: how much of it is free, and whose turn it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

/// A limit of the bytes and the number of items between two stages.
#[derive(Debug)]
pub(crate) struct Budget {
    most_bytes: usize,
    most_items: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    items: usize,
    bytes: usize,
    /// The places in the queue, in order of arrival. A message wakes the thread of a place.
    waiting: VecDeque<Sender<()>>,
}

/// A part of a [`Budget`]. It is freed when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of `most_bytes` bytes for `most_items` items.
    pub(crate) fn new(most_bytes: usize, most_items: usize) -> Arc<Self> {
        Arc::new(Self { most_bytes, most_items, used: Mutex::default() })
    }

    /// Takes `bytes` if the budget has room for them and no [`Place`] is in the queue. If no item
    /// holds a part of the budget, an item of any size has room.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let mut used = self.used();
        if !used.waiting.is_empty() {
            return None;
        }
        self.take_from(&mut used, bytes)
    }

    /// A place at the end of the queue for the budget.
    pub(crate) fn queue(self: &Arc<Self>) -> Place {
        let (wake, woken) = bounded(1);
        self.used().waiting.push_back(wake.clone());
        Place { budget: Arc::clone(self), wake, woken }
    }

    /// The number of items that hold a part of the budget.
    pub(crate) fn items(&self) -> usize {
        self.used().items
    }

    fn take_from(self: &Arc<Self>, used: &mut Used, bytes: usize) -> Option<Held> {
        let fits = used.bytes + bytes <= self.most_bytes && used.items < self.most_items;
        if used.items > 0 && !fits {
            return None;
        }
        used.items += 1;
        used.bytes += bytes;
        Some(Held { budget: Arc::clone(self), bytes })
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    /// Wakes the thread of the first place in the queue.
    fn wake_first(&self) {
        if let Some(first) = self.waiting.front() {
            // A message that is not read yet suffices.
            let _ = first.try_send(());
        }
    }
}

/// A place in the queue for a [`Budget`]. Small images do not overtake large ones, which would
/// otherwise wait without limit. The place is given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    budget: Arc<Budget>,
    wake: Sender<()>,
    woken: Receiver<()>,
}

impl Place {
    /// Takes `bytes` if the budget has room for them and this place is the first.
    pub(crate) fn take(&self, bytes: usize) -> Option<Held> {
        let mut used = self.budget.used();
        let first = used.waiting.front().is_some_and(|first| first.same_channel(&self.wake));
        first.then(|| self.budget.take_from(&mut used, bytes))?
    }

    /// Receives a message when it is worth trying again.
    pub(crate) fn woken(&self) -> &Receiver<()> {
        &self.woken
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut used = self.budget.used();
        used.waiting.retain(|waiting| !waiting.same_channel(&self.wake));
        used.wake_first();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut used = self.budget.used();
        used.items -= 1;
        used.bytes -= self.bytes;
        used.wake_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_freed_with_what_it_holds() {
        let budget = Budget::new(100, 1024);
        let first = budget.take(60);
        assert!(first.is_some() && budget.take(60).is_none() && budget.items() == 1);
        let second = budget.take(40);
        assert!(second.is_some() && budget.take(1).is_none());
        drop(first);
        assert!(budget.take(60).is_some());
        drop(second);
        assert_eq!(budget.items(), 0);
    }

    #[test]
    fn an_image_larger_than_the_budget_is_allowed_alone() {
        let budget = Budget::new(100, 1024);
        let large = budget.take(1000);
        assert!(large.is_some() && budget.take(1).is_none());
        drop(large);
        assert!(budget.take(1).is_some());
    }

    #[test]
    fn small_images_do_not_overtake_a_large_one() {
        let budget = Budget::new(100, 1024);
        let held = [budget.take(50), budget.take(40)];
        let (large, small) = (budget.queue(), budget.queue());
        assert!(budget.take(1).is_none(), "somebody waits");
        assert!(small.take(1).is_none() && large.take(90).is_none());
        drop(held);
        assert!(large.woken().try_recv().is_ok() && small.woken().try_recv().is_err());
        let first = large.take(90);
        drop(large);
        assert!(first.is_some() && small.woken().try_recv().is_ok());
        assert!(small.take(1).is_some());
        drop(small);
        assert!(budget.take(1).is_some());
    }

    #[test]
    fn the_number_of_items_is_limited_too() {
        let budget = Budget::new(1 << 30, 3);
        let held: Vec<_> = (0..3).map(|_| budget.take(1)).collect();
        assert!(held.iter().all(Option::is_some) && budget.take(1).is_none());
    }
}
