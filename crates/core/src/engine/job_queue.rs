//! Jobs that wait for the same stage at the same arity (pure).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::policy::Round;

/// The priority of a job. Greater priorities run first within a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    /// Stage 0 of an item, or the stage of another item level: before all rounds.
    Item,
    /// A test, or a merge that a test needs: later rounds first.
    Round(Round),
    /// A test by the confirm network: after all rounds.
    Confirm,
}

/// Runs of other queues after which a queue with few jobs counts as full, if its jobs waited long
/// enough.
const PASSES: u32 = 8;

/// A priority queue of jobs. Jobs of equal priority leave in the order in which they came.
#[derive(Debug)]
pub(super) struct JobQueue<J> {
    heap: BinaryHeap<Entry<J>>,
    sequence: u64,
    /// Runs of other queues since this queue last ran or was empty.
    passed_over: u32,
    /// When the queue was passed over first.
    since: Option<Instant>,
}

#[derive(Debug)]
struct Entry<J> {
    key: (Priority, Reverse<u64>),
    job: J,
}

impl<J> Default for JobQueue<J> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0, passed_over: 0, since: None }
    }
}

impl<J> JobQueue<J> {
    /// Adds a job.
    pub fn push(&mut self, priority: Priority, job: J) {
        self.heap.push(Entry { key: (priority, Reverse(self.sequence)), job });
        self.sequence += 1;
    }

    /// Removes the next `count` jobs, or all if there are fewer.
    pub fn take(&mut self, count: usize) -> Vec<J> {
        std::iter::from_fn(|| self.heap.pop()).take(count).map(|entry| entry.job).collect()
    }

    /// Records that a run was chosen: of this queue (`taken`) or of another one.
    pub fn record_run(&mut self, taken: bool, now: Instant) {
        if taken || self.heap.is_empty() {
            (self.passed_over, self.since) = (0, None);
            return;
        }
        self.passed_over += 1;
        self.since.get_or_insert(now);
    }

    /// How many rows of a full batch (`full` rows) this queue fills.
    ///
    /// A queue that was passed over [`PASSES`] times and for `max_wait` counts as full. Its jobs
    /// have then waited as long as any item waits for its group, and they hold back offsets.
    pub fn fill(&self, full: usize, max_wait: Duration, now: Instant) -> usize {
        let waited = |since: Instant| now.saturating_duration_since(since) >= max_wait;
        let overdue = self.passed_over >= PASSES && self.since.is_some_and(waited);
        if overdue { full } else { self.len().min(full) }
    }

    /// The number of jobs.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there are no jobs.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The priority of the next job.
    pub fn priority(&self) -> Option<Priority> {
        self.heap.peek().map(|entry| entry.key.0)
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

    const FIRST: Priority = Priority::Round(Round::FIRST);

    #[test]
    fn a_queue_that_was_passed_over_long_enough_counts_as_full() {
        let (mut queue, start) = (JobQueue::default(), Instant::now());
        let wait = Duration::from_millis(200);
        queue.push(FIRST, 'a');
        for _ in 0..PASSES {
            assert_eq!(queue.fill(64, wait, start + wait), 1);
            queue.record_run(false, start);
        }
        assert_eq!(queue.fill(64, wait, start + wait / 2), 1, "more jobs may still come");
        assert_eq!(queue.fill(64, wait, start + wait), 64);
        queue.record_run(true, start + wait);
        assert_eq!(queue.fill(64, wait, start + 2 * wait), 1);
    }

    #[test]
    fn a_few_long_runs_do_not_make_a_queue_overdue() {
        let (mut queue, start) = (JobQueue::default(), Instant::now());
        let wait = Duration::from_millis(200);
        queue.push(FIRST, 'a');
        for _ in 1..PASSES {
            queue.record_run(false, start);
        }
        assert_eq!(queue.fill(64, wait, start + 9 * wait), 1);
    }

    #[test]
    fn later_rounds_leave_first_and_equal_ones_in_order() {
        let second = Priority::Round(Round::Number(2));
        let audit = Priority::Round(Round::Audit);
        let mut queue = JobQueue::default();
        for (priority, job) in
            [(FIRST, 'a'), (second, 'b'), (FIRST, 'c'), (second, 'd'), (audit, 'e')]
        {
            queue.push(priority, job);
        }
        assert_eq!((queue.len(), queue.priority()), (5, Some(audit)));
        assert_eq!(queue.take(9).into_iter().collect::<String>(), "ebdac");
        assert_eq!(queue.priority(), None);
        assert!(audit < Priority::Confirm);
    }
}
