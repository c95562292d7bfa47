//! Jobs that wait for the same stage at the same arity: later rounds first, then first come, first served (pure).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A queue of jobs.
#[derive(Debug)]
pub struct Lane<J> {
    heap: BinaryHeap<Entry<J>>,
    sequence: u64,
    passed_over: u32,
}

/// Runs of other lanes after which a lane's turn has come, however few jobs it has: what it holds, holds offsets.
const PATIENCE: u32 = 8;

#[derive(Debug)]
struct Entry<J> {
    key: (u8, Reverse<u64>),
    job: J,
}

impl<J> Default for Lane<J> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0, passed_over: 0 }
    }
}

impl<J> Lane<J> {
    /// Adds a job of a round.
    pub fn push(&mut self, round: u8, job: J) {
        self.heap.push(Entry { key: (round, Reverse(self.sequence)), job });
        self.sequence += 1;
    }

    /// Takes the next job.
    pub fn pop(&mut self) -> Option<J> {
        self.heap.pop().map(|e| e.job)
    }

    /// Notes that a run went to this lane, or to another one.
    pub fn note(&mut self, taken: bool) {
        self.passed_over = if taken || self.heap.is_empty() { 0 } else { self.passed_over + 1 };
    }

    /// How full a batch of this lane is, of `full`; a lane that was passed over often enough counts as full.
    pub fn fill(&self, full: usize) -> usize {
        match self.passed_over {
            PATIENCE.. => full,
            _ => self.len().min(full),
        }
    }

    /// How many jobs wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// The round of the next job; 0 if there is none.
    pub fn round(&self) -> u8 {
        self.heap.peek().map_or(0, |e| e.key.0)
    }
}

impl<J> PartialEq for Entry<J> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<J> Eq for Entry<J> {}

impl<J> PartialOrd for Entry<J> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<J> Ord for Entry<J> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_passed_over_has_its_turn() {
        let mut lane = Lane::default();
        lane.push(1, 'a');
        for _ in 0..PATIENCE {
            assert_eq!(lane.fill(64), 1);
            lane.note(false);
        }
        assert_eq!(lane.fill(64), 64);
        lane.note(true);
        assert_eq!(lane.fill(64), 1);
    }

    #[test]
    fn later_rounds_go_first_and_equals_in_order() {
        let mut lane = Lane::default();
        for (round, job) in [(1, 'a'), (2, 'b'), (1, 'c'), (2, 'd')] {
            lane.push(round, job);
        }
        assert_eq!((lane.len(), lane.round()), (4, 2));
        assert_eq!(std::iter::from_fn(|| lane.pop()).collect::<String>(), "bdac");
        assert_eq!(lane.round(), 0);
    }
}
