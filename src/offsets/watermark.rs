//! The contiguous watermark of one partition (pure).

use std::collections::VecDeque;

/// Offsets taken from one partition in one epoch, and how far they are resolved without a gap.
///
/// Offsets rise but need not be dense: compaction and transaction markers leave holes, over which the watermark steps.
#[derive(Debug, Default)]
pub struct Watermark {
    taken: VecDeque<(i64, State)>,
    unresolved: usize,
    committable: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Waits for its verdict.
    Open,
    /// Given back without one: it holds the watermark, but nobody waits for it.
    Released,
    /// Done.
    Resolved,
}

impl Watermark {
    /// Nothing taken yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `offset` was taken. False, and nothing noted, if it does not lie above every offset taken before.
    pub fn take(&mut self, offset: i64) -> bool {
        let last = self.taken.back().map(|&(o, _)| o).or(self.committable.map(|c| c - 1));
        if last.is_some_and(|last| offset <= last) {
            return false;
        }
        self.taken.push_back((offset, State::Open));
        self.unresolved += 1;
        true
    }

    /// Notes that `offset` has its verdict and that all its output is acknowledged. False if it was not open.
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

    /// Notes that `offset` is given back without a verdict: the watermark never passes it. False if it was not open.
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

    /// The offset to commit (the next one to read), if any offset is resolved up to it.
    pub fn committable(&self) -> Option<i64> {
        self.committable
    }

    /// How many offsets the books hold: all from the first unresolved one on.
    pub fn held(&self) -> usize {
        self.taken.len()
    }

    /// How many taken offsets are neither resolved nor released.
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
    fn a_released_offset_holds_the_watermark_but_is_not_waited_for() {
        let mut w = Watermark::new();
        assert!(w.take(0) && w.take(1));
        assert!(w.release(0) && !w.release(0) && !w.resolve(0));
        assert!(w.resolve(1));
        assert_eq!((w.committable(), w.unresolved()), (None, 0));
    }

    proptest! {
        /// Whatever the order of verdicts, what may be committed is exactly one past the resolved prefix.
        #[test]
        fn committable_is_the_resolved_prefix(
            steps in prop::collection::vec(1i64..4, 1..60),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
        ) {
            let mut offset = 0;
            let offsets: Vec<i64> = steps.iter().map(|s| { offset += s; offset }).collect();
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
