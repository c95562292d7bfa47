//! Which slots of a level are free (pure).

use std::ops::Range;

/// Hands out contiguous slots, so that the output of a batch is written where it stays.
#[derive(Debug)]
pub(super) struct SlotAllocator {
    free: Vec<bool>,
    available: usize,
    cursor: usize,
}

impl SlotAllocator {
    /// An allocator of `count` slots, all free.
    pub fn new(count: usize) -> Self {
        Self { free: vec![true; count], available: count, cursor: 0 }
    }

    /// Takes up to `count` contiguous slots: the first free range of that length after the last
    /// range taken, or else the longest free range. Returns an empty range if no slot is free.
    pub fn take(&mut self, count: usize) -> Range<usize> {
        let mut best = 0..0;
        if self.available == 0 || count == 0 {
            return best;
        }
        let searched = [self.cursor..self.free.len(), 0..self.free.len()];
        for range in searched.into_iter().flat_map(|within| self.free_ranges(within)) {
            if range.len() > best.len() {
                best = range.start..range.end.min(range.start + count);
            }
            if best.len() == count {
                break;
            }
        }
        self.free[best.clone()].fill(false);
        self.available -= best.len();
        self.cursor = best.end % self.free.len();
        best
    }

    /// Frees a slot.
    pub fn free(&mut self, slot: usize) {
        debug_assert!(!self.free[slot], "slot {slot} was free");
        self.free[slot] = true;
        self.available += 1;
    }

    /// The number of free slots.
    pub fn available(&self) -> usize {
        self.available
    }

    fn free_ranges(&self, within: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let (mut at, end) = (within.start, within.end);
        std::iter::from_fn(move || {
            let start = (at..end).find(|&i| self.free[i])?;
            at = (start..end).find(|&i| !self.free[i]).unwrap_or(end);
            Some(start..at)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_found_across_holes() {
        let mut slots = SlotAllocator::new(8);
        assert_eq!(slots.take(3), 0..3);
        assert_eq!(slots.take(3), 3..6);
        slots.free(1);
        slots.free(2);
        assert_eq!(slots.take(4), 6..8, "the search starts after the last range taken");
        assert_eq!(slots.take(4), 1..3);
        assert_eq!(slots.take(1), 0..0);
        assert_eq!(slots.available(), 0);
    }

    proptest! {
        /// No slot is handed out twice, no slot is lost, and a request succeeds whenever a slot is
        /// free.
        #[test]
        fn slots_are_handed_out_once(
            count in 1usize..40,
            ops in prop::collection::vec(
                (any::<bool>(), 1usize..12, any::<prop::sample::Index>()), 0..120,
            ),
        ) {
            let mut slots = SlotAllocator::new(count);
            let mut held: Vec<usize> = Vec::new();
            for (take, wanted, which) in ops {
                if take {
                    let range = slots.take(wanted);
                    prop_assert!(range.len() <= wanted && range.end <= count);
                    prop_assert_eq!(range.is_empty(), held.len() == count);
                    prop_assert!(range.clone().all(|slot| !held.contains(&slot)));
                    held.extend(range);
                } else if !held.is_empty() {
                    slots.free(held.swap_remove(which.index(held.len())));
                }
                prop_assert_eq!(slots.available() + held.len(), count);
            }
        }
    }
}
