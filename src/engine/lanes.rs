//! Jobs that wait for the same stage at the same arity: later rounds first, then first come, first served (pure).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// A queue of jobs.
#[derive(Debug)]
pub struct Lane<J> {
    heap: BinaryHeap<Entry<J>>,
    sequence: u64,
    passed_over: u32,
    /// When it was passed over first.
    since: Option<Instant>,
}

/// Runs of other lanes that a lane with few jobs sits out, however long they take.
const PATIENCE: u32 = 8;

#[derive(Debug)]
struct Entry<J> {
    key: (u8, Reverse<u64>),
    job: J,
}

impl<J> Default for Lane<J> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0, passed_over: 0, since: None }
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

    /// Notes that a run goes to this lane, or to another one.
    pub fn note(&mut self, taken: bool, now: Instant) {
        if taken || self.heap.is_empty() {
            (self.passed_over, self.since) = (0, None);
            return;
        }
        self.passed_over += 1;
        self.since.get_or_insert(now);
    }

    /// How full a batch of this lane is, of `full`. A lane that was passed over often, and for as long as a group waits for members, counts as
    /// full: its jobs have waited for company as long as anything should, and what they hold, holds offsets.
    pub fn fill(&self, full: usize, max_wait: Duration, now: Instant) -> usize {
        let waited = self.since.is_some_and(|since| now.saturating_duration_since(since) >= max_wait);
        match self.passed_over {
            PATIENCE.. if waited => full,
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
        let (mut lane, start, wait) = (Lane::default(), Instant::now(), Duration::from_millis(200));
        lane.push(1, 'a');
        for _ in 0..PATIENCE {
            assert_eq!(lane.fill(64, wait, start + wait), 1);
            lane.note(false, start);
        }
        assert_eq!(lane.fill(64, wait, start + wait / 2), 1, "company may still come");
        assert_eq!(lane.fill(64, wait, start + wait), 64);
        lane.note(true, start + wait);
        assert_eq!(lane.fill(64, wait, start + 2 * wait), 1);
    }

    #[test]
    fn a_few_long_runs_do_not_make_a_lane_impatient() {
        let (mut lane, start, wait) = (Lane::default(), Instant::now(), Duration::from_millis(200));
        lane.push(1, 'a');
        for _ in 1..PATIENCE {
            lane.note(false, start);
        }
        assert_eq!(lane.fill(64, wait, start + 9 * wait), 1);
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
