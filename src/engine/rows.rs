//! Which rows of a level are free (pure).

use std::ops::Range;

/// Hands out runs of neighbouring rows, so that a stage's batch is written where it stays.
#[derive(Debug)]
pub struct Rows {
    free: Vec<bool>,
    available: usize,
    cursor: usize,
}

impl Rows {
    /// `count` free rows.
    pub fn new(count: usize) -> Self {
        Self { free: vec![true; count], available: count, cursor: 0 }
    }

    /// Takes up to `want` neighbouring rows: the first run of that length after the last one taken, or else the longest run there is.
    /// An empty range if none is free.
    pub fn take(&mut self, want: usize) -> Range<usize> {
        let mut best = 0..0;
        if self.available == 0 || want == 0 {
            return best;
        }
        let halves = [self.cursor..self.free.len(), 0..self.free.len()];
        for run in halves.into_iter().flat_map(|half| self.runs(half)) {
            if run.len() > best.len() {
                best = run.start..run.end.min(run.start + want);
            }
            if best.len() == want {
                break;
            }
        }
        self.free[best.clone()].fill(false);
        self.available -= best.len();
        self.cursor = best.end % self.free.len();
        best
    }

    /// Gives a row back.
    pub fn give(&mut self, row: usize) {
        debug_assert!(!self.free[row], "row {row} was free");
        self.free[row] = true;
        self.available += 1;
    }

    /// How many rows are free.
    pub fn available(&self) -> usize {
        self.available
    }

    fn runs(&self, within: Range<usize>) -> impl Iterator<Item = Range<usize>> {
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
    fn runs_are_found_across_holes() {
        let mut rows = Rows::new(8);
        assert_eq!(rows.take(3), 0..3);
        assert_eq!(rows.take(3), 3..6);
        rows.give(1);
        rows.give(2);
        assert_eq!(rows.take(4), 6..8, "after the last taken first, as long as there is");
        assert_eq!(rows.take(4), 1..3);
        assert_eq!(rows.take(1), 0..0);
        assert_eq!(rows.available(), 0);
    }

    proptest! {
        /// No row is handed out twice, none is lost, and something is handed out whenever anything is free.
        #[test]
        fn rows_are_handed_out_once(count in 1usize..40, ops in prop::collection::vec((any::<bool>(), 1usize..12, any::<prop::sample::Index>()), 0..120)) {
            let mut rows = Rows::new(count);
            let mut held: Vec<usize> = Vec::new();
            for (take, want, which) in ops {
                if take {
                    let run = rows.take(want);
                    prop_assert!(run.len() <= want && run.end <= count);
                    prop_assert_eq!(run.is_empty(), held.len() == count);
                    prop_assert!(run.clone().all(|r| !held.contains(&r)));
                    held.extend(run);
                } else if !held.is_empty() {
                    rows.give(held.swap_remove(which.index(held.len())));
                }
                prop_assert_eq!(rows.available() + held.len(), count);
            }
        }
    }
}
