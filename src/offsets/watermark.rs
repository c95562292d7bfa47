//! The contiguous watermark of one partition (pure).

use std::collections::VecDeque;

/// The offsets that were read from one partition in one epoch, and the end of their resolved
/// prefix.
///
/// Offsets rise but need not be dense: compaction and transaction markers leave gaps, which the
/// watermark skips.
#[derive(Debug, Default)]
pub struct Watermark {
    taken: VecDeque<(i64, State)>,
    unresolved: usize,
    committable: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Without a verdict.
    Open,
    /// Released without a verdict. The watermark does not pass it, but no stage waits for it.
    Released,
    /// Acknowledged.
    Resolved,
}

impl Watermark {
    /// A watermark without offsets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters an offset. Returns false, and does not enter it, if it is not above every offset
    /// before.
    pub fn take(&mut self, offset: i64) -> bool {
        let last = self.taken.back().map(|&(o, _)| o).or(self.committable.map(|c| c - 1));
        if last.is_some_and(|last| offset <= last) {
            return false;
        }
        self.taken.push_back((offset, State::Open));
        self.unresolved += 1;
        true
    }

    /// Resolves an offset. Returns false if it is not open.
    pub fn resolve(&mut self, offset: i64) -> bool {
        if !self.settle(offset, State::Resolved) {
            return false;
        }
        while let Some(&(offset, State::Resolved)) = self.taken.front() {
            self.taken.pop_front();
            self.committable = Some(offset + 1);
        }
        true
    }

    /// Releases an offset without a verdict; the watermark never passes it. Returns false if it is
    /// not open.
    pub fn release(&mut self, offset: i64) -> bool {
        self.settle(offset, State::Released)
    }

    fn settle(&mut self, offset: i64, state: State) -> bool {
        let Ok(at) = self.taken.binary_search_by_key(&offset, |&(o, _)| o) else { return false };
        if self.taken[at].1 != State::Open {
            return false;
        }
        self.taken[at].1 = state;
        self.unresolved -= 1;
        true
    }

    /// The offset to commit, which is the next offset to read. `None` if the first offset is not
    /// resolved.
    pub fn committable(&self) -> Option<i64> {
        self.committable
    }

    /// Passes offsets without messages, such as the markers of transactions, up to `offset`. Returns
    /// false if an offset is not resolved, or if `offset` is not above the offset to commit.
    pub fn pass(&mut self, offset: i64) -> bool {
        let passes = self.taken.is_empty() && self.committable.is_none_or(|o| o < offset);
        if passes {
            self.committable = Some(offset);
        }
        passes
    }

    /// Offsets from the first unresolved offset on.
    pub fn held(&self) -> usize {
        self.taken.len()
    }

    /// Offsets that are neither resolved nor released.
    pub fn unresolved(&self) -> usize {
        self.unresolved
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_gap_holds_the_watermark() {
        let mut w = Watermark::new();
        for offset in [5, 6, 9] {
            assert!(w.take(offset));
        }
        assert!(w.resolve(6));
        assert_eq!(w.committable(), None);
        assert!(w.resolve(5));
        assert_eq!(w.committable(), Some(7));
        assert!(w.resolve(9));
        assert_eq!(w.committable(), Some(10));
        assert_eq!(w.unresolved(), 0);
    }

    #[test]
    fn offsets_must_rise_and_resolve_once() {
        let mut w = Watermark::new();
        assert!(w.take(3));
        assert!(!w.take(3));
        assert!(!w.take(2));
        assert!(!w.resolve(2));
        assert!(w.resolve(3));
        assert!(!w.resolve(3));
        assert!(!w.take(3), "a resolved offset is not taken again in the same epoch");
        assert!(w.take(4));
    }

    #[test]
    fn offsets_without_messages_are_passed_only_behind_resolved_ones() {
        let mut w = Watermark::new();
        assert!(w.pass(3) && w.committable() == Some(3), "nothing was read before");
        assert!(!w.take(2) && w.take(3) && !w.pass(5));
        assert!(w.resolve(3) && w.pass(5) && !w.pass(5) && !w.pass(4));
        assert_eq!(w.committable(), Some(5));
        assert!(w.take(5) && w.release(5) && !w.pass(7), "it will be read again");
    }

    #[test]
    fn a_released_offset_holds_the_watermark_but_is_not_waited_for() {
        let mut w = Watermark::new();
        assert!(w.take(0) && w.take(1));
        assert!(w.release(0) && !w.release(0) && !w.resolve(0));
        assert!(w.resolve(1));
        assert_eq!((w.committable(), w.unresolved()), (None, 0));
    }

    proptest! {
        /// In any order of verdicts, the offset to commit is one above the resolved prefix.
        #[test]
        fn committable_is_the_resolved_prefix(
            steps in prop::collection::vec(1i64..4, 1..60),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
        ) {
            let mut offset = 0;
            let offsets: Vec<i64> = steps
                .iter()
                .map(|s| {
                    offset += s;
                    offset
                })
                .collect();
            let mut w = Watermark::new();
            let mut resolved = std::collections::BTreeSet::new();
            let mut taken = 0;
            for pick in order {
                if taken < offsets.len() {
                    prop_assert!(w.take(offsets[taken]));
                    taken += 1;
                }
                let o = offsets[pick.index(taken)];
                prop_assert_eq!(w.resolve(o), resolved.insert(o));
                let prefix = offsets[..taken].iter().take_while(|o| resolved.contains(o)).last();
                prop_assert_eq!(w.committable(), prefix.map(|o| o + 1));
                prop_assert_eq!(w.unresolved(), taken - resolved.len());
            }
        }
    }
}
