//! Which run of the network comes next (pure; the caller supplies the time).

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use super::item::{GroupId, ItemId};
use super::job_queue::{JobQueue, Priority};
use super::network::NetworkShape;
use super::settings::BatchSettings;
use super::slots::SlotAllocator;
use crate::policy::{MAX_GROUP, Members, Test};

/// A merge that waits: the slots of `members` become one slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MergeJob {
    pub group: GroupId,
    pub members: Members,
}

/// A test that waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TestJob {
    pub group: GroupId,
    pub test: Test,
}

/// The next run: one part of the network, once, on a batch of jobs. A batch is at least as large as
/// its jobs; the rest is padding.
#[derive(Debug, PartialEq)]
pub(super) enum Run {
    /// Stage 0 on the images of `items`, into `slots` of level 0, one per item.
    Embed { items: Vec<ItemId>, slots: Range<usize>, batch: usize },
    /// The stage of the item level `level`, on the slots that `items` have in the level below, into
    /// `slots`, one per item.
    Refine { level: usize, items: Vec<ItemId>, slots: Range<usize>, batch: usize },
    /// The stage of `level` on merges of `arity` slots, into `slots`, one per job.
    Merge { level: usize, arity: usize, jobs: Vec<MergeJob>, slots: Range<usize>, batch: usize },
    /// The last stage on tests of `arity` slots.
    Test { arity: usize, jobs: Vec<TestJob>, batch: usize },
    /// The confirm network on the images of `items`.
    Confirm { items: Vec<ItemId>, batch: usize },
}

/// A kind of run, without its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunKind {
    Embed,
    Refine { level: usize },
    Merge { level: usize, arity: usize },
    Test { arity: usize },
    Confirm,
}

/// A run that is possible now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    kind: RunKind,
    /// How many rows of a full batch it fills.
    fill: usize,
    /// The priority of its first job.
    priority: Option<Priority>,
    /// How deep the stage is in the network.
    depth: usize,
}

/// All jobs that wait for the network, and the slots of all levels.
pub(super) struct Scheduler {
    settings: BatchSettings,
    /// By level.
    slots: Vec<SlotAllocator>,
    /// Items without features.
    items: VecDeque<ItemId>,
    /// Items that wait for the stage of an item level above 0, by level.
    refinements: Vec<JobQueue<ItemId>>,
    /// By level and arity.
    merges: Vec<Vec<JobQueue<MergeJob>>>,
    /// By arity.
    tests: Vec<JobQueue<TestJob>>,
    /// Items that wait for the confirm network.
    confirmations: JobQueue<ItemId>,
}

fn queues<J>() -> Vec<JobQueue<J>> {
    (0..=MAX_GROUP).map(|_| JobQueue::default()).collect()
}

impl Scheduler {
    /// A scheduler without jobs, all slots free.
    pub fn new(shape: &NetworkShape, settings: BatchSettings) -> Self {
        Self {
            settings,
            slots: shape.levels.iter().map(|level| SlotAllocator::new(level.slots)).collect(),
            items: VecDeque::new(),
            refinements: shape.levels.iter().map(|_| JobQueue::default()).collect(),
            merges: shape.levels.iter().map(|_| queues()).collect(),
            tests: queues(),
            confirmations: JobQueue::default(),
        }
    }

    /// The settings.
    pub fn settings(&self) -> &BatchSettings {
        &self.settings
    }

    /// Adds an item whose features are not computed.
    pub fn add_item(&mut self, item: ItemId) {
        self.items.push_back(item);
    }

    /// Adds an item whose slot of the level below `level` is computed. `level` is an item level
    /// above 0.
    pub fn add_refinement(&mut self, level: usize, item: ItemId) {
        self.refinements[level].push(Priority::Item, item);
    }

    /// Adds a merge into `level`.
    pub fn add_merge(&mut self, level: usize, arity: usize, priority: Priority, job: MergeJob) {
        self.merges[level][arity].push(priority, job);
    }

    /// Adds a test whose slots are computed.
    pub fn add_test(&mut self, arity: usize, job: TestJob) {
        self.tests[arity].push(Priority::Round(job.test.round), job);
    }

    /// Adds an item for the confirm network.
    pub fn add_confirmation(&mut self, item: ItemId) {
        self.confirmations.push(Priority::Confirm, item);
    }

    /// Frees a slot of `level`.
    pub fn free_slot(&mut self, level: usize, slot: usize) {
        self.slots[level].free(slot);
    }

    /// Chooses the next run and removes its jobs from their queues. `None` if no run is possible.
    ///
    /// The candidate with the fullest batch wins. A batch counts as full from the preferred size
    /// on, or when its queue is overdue ([`JobQueue::fill`]). Among equals the later round wins,
    /// since its group holds back offsets, and then the deeper stage.
    pub fn next_run(&mut self, now: Instant) -> Option<Run> {
        let rank = |candidate: &Candidate| (candidate.fill, candidate.priority, candidate.depth);
        let chosen = self.candidates(now).max_by_key(rank)?.kind;
        self.record_run(chosen, now);
        Some(match chosen {
            RunKind::Embed => self.take_items(),
            RunKind::Refine { level } => self.take_refinements(level),
            RunKind::Merge { level, arity } => self.take_merges(level, arity),
            RunKind::Test { arity } => self.take_tests(arity),
            RunKind::Confirm => self.take_confirmations(),
        })
    }

    fn candidates(&self, now: Instant) -> impl Iterator<Item = Candidate> {
        let (full, max_wait) = (self.settings.preferred_batch, self.settings.max_wait);
        let top = self.merges.len();
        let ready = self.items.len().min(self.slots[0].available());
        let kind = RunKind::Embed;
        let priority = Some(Priority::Item);
        let embed = Candidate { kind, fill: ready.min(full), priority, depth: 0 };
        let refinements = self.refinements.iter().enumerate().filter(|(_, q)| !q.is_empty());
        let refinements = refinements.map(move |(level, queue)| Candidate {
            kind: RunKind::Refine { level },
            fill: queue.fill(full, max_wait, now),
            priority: queue.priority(),
            depth: level,
        });
        let merges = self.merges.iter().enumerate().skip(1).flat_map(move |(level, queues)| {
            let free = self.slots[level].available() > 0;
            let waiting = queues.iter().enumerate().filter(move |(_, q)| free && !q.is_empty());
            waiting.map(move |(arity, queue)| Candidate {
                kind: RunKind::Merge { level, arity },
                fill: queue.fill(full, max_wait, now),
                priority: queue.priority(),
                depth: level,
            })
        });
        let tests = self.tests.iter().enumerate().filter(|(_, queue)| !queue.is_empty());
        let tests = tests.map(move |(arity, queue)| Candidate {
            kind: RunKind::Test { arity },
            fill: queue.fill(full, max_wait, now),
            priority: queue.priority(),
            depth: top,
        });
        let confirm = Candidate {
            kind: RunKind::Confirm,
            fill: self.confirmations.fill(full, max_wait, now),
            priority: self.confirmations.priority(),
            depth: top + 1,
        };
        let embed = (ready > 0).then_some(embed);
        let confirm = (!self.confirmations.is_empty()).then_some(confirm);
        embed.into_iter().chain(refinements).chain(merges).chain(tests).chain(confirm)
    }

    fn record_run(&mut self, chosen: RunKind, now: Instant) {
        for (level, queue) in self.refinements.iter_mut().enumerate() {
            queue.record_run(chosen == RunKind::Refine { level }, now);
        }
        for (level, queues) in self.merges.iter_mut().enumerate() {
            for (arity, queue) in queues.iter_mut().enumerate() {
                queue.record_run(chosen == RunKind::Merge { level, arity }, now);
            }
        }
        for (arity, queue) in self.tests.iter_mut().enumerate() {
            queue.record_run(chosen == RunKind::Test { arity }, now);
        }
        self.confirmations.record_run(chosen == RunKind::Confirm, now);
    }

    fn take_items(&mut self) -> Run {
        let (slots, batch) = self.take_slots(0, self.items.len());
        let count = batch.min(self.items.len());
        let slots = self.keep_slots(0, slots, count);
        Run::Embed { items: self.items.drain(..count).collect(), slots, batch }
    }

    fn take_refinements(&mut self, level: usize) -> Run {
        let (slots, batch) = self.take_slots(level, self.refinements[level].len());
        let items = self.refinements[level].take(batch);
        let slots = self.keep_slots(level, slots, items.len());
        Run::Refine { level, items, slots, batch }
    }

    fn take_merges(&mut self, level: usize, arity: usize) -> Run {
        let (slots, batch) = self.take_slots(level, self.merges[level][arity].len());
        let jobs = self.merges[level][arity].take(batch);
        let slots = self.keep_slots(level, slots, jobs.len());
        Run::Merge { level, arity, jobs, slots, batch }
    }

    fn take_tests(&mut self, arity: usize) -> Run {
        let batch = self.batch(self.tests[arity].len());
        Run::Test { arity, jobs: self.tests[arity].take(batch), batch }
    }

    fn take_confirmations(&mut self) -> Run {
        let batch = self.batch(self.confirmations.len());
        Run::Confirm { items: self.confirmations.take(batch), batch }
    }

    /// Slots for a batch of `jobs`, and the size of the batch. Free slots may be too scattered for
    /// the whole batch; the batch is then the largest warmed-up size that fits.
    fn take_slots(&mut self, level: usize, jobs: usize) -> (Range<usize>, usize) {
        let wanted = self.batch(jobs);
        let slots = self.slots[level].take(wanted);
        let fits = |&size: &usize| size <= slots.len();
        let batch = self.settings.buckets.iter().rev().copied().find(fits).unwrap_or(slots.len());
        (slots, batch)
    }

    /// Keeps the first `count` slots of a range and frees the others, which only hold padding.
    fn keep_slots(&mut self, level: usize, slots: Range<usize>, count: usize) -> Range<usize> {
        slots.clone().skip(count).for_each(|slot| self.slots[level].free(slot));
        slots.start..slots.start + count
    }

    /// The batch size for `jobs` jobs: at most `max_batch`, rounded up to a bucket.
    fn batch(&self, jobs: usize) -> usize {
        let jobs = jobs.min(self.settings.max_batch);
        self.settings.buckets.iter().copied().find(|&size| size >= jobs).unwrap_or(jobs)
    }

    #[cfg(test)]
    pub fn available_slots(&self, level: usize) -> usize {
        self.slots[level].available()
    }

    #[cfg(test)]
    pub fn confirmations(&self) -> usize {
        self.confirmations.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::{Level, single_label_shape};
    use crate::policy::Round;

    fn scheduler(slots: usize, buckets: Vec<usize>) -> Scheduler {
        let max_wait = Duration::from_millis(200);
        let settings = BatchSettings { max_batch: 8, preferred_batch: 4, buckets, max_wait };
        Scheduler::new(&single_label_shape(slots, 1, 1), settings)
    }

    fn test(group: GroupId, round: Round) -> TestJob {
        TestJob { group, test: Test { members: Members::first(2), round } }
    }

    #[test]
    fn the_fullest_batch_runs_first() {
        let (mut scheduler, now) = (scheduler(8, vec![]), Instant::now());
        (0..3).for_each(|item| scheduler.add_item(item));
        scheduler.add_test(2, test(0, Round::FIRST));
        let embed = scheduler.next_run(now);
        assert_eq!(embed, Some(Run::Embed { items: vec![0, 1, 2], slots: 0..3, batch: 3 }));
        let jobs = vec![test(0, Round::FIRST)];
        assert_eq!(scheduler.next_run(now), Some(Run::Test { arity: 2, jobs, batch: 1 }));
        assert_eq!(scheduler.next_run(now), None);
    }

    #[test]
    fn of_equal_batches_the_later_round_runs_first() {
        let (mut scheduler, now) = (scheduler(8, vec![]), Instant::now());
        scheduler.add_item(0);
        scheduler.add_test(4, test(1, Round::FIRST));
        scheduler.add_test(2, test(2, Round::Number(2)));
        scheduler.add_confirmation(3);
        let order: Vec<Run> = std::iter::from_fn(|| scheduler.next_run(now)).collect();
        assert_eq!(order[0], Run::Confirm { items: vec![3], batch: 1 });
        assert!(matches!(&order[1], Run::Test { arity: 2, .. }));
        assert!(matches!(&order[2], Run::Test { arity: 4, .. }));
        assert!(matches!(&order[3], Run::Embed { .. }));
    }

    #[test]
    fn slots_of_padding_are_freed_at_once() {
        let (mut scheduler, now) = (scheduler(8, vec![1, 4, 8]), Instant::now());
        (0..3).for_each(|item| scheduler.add_item(item));
        let run = scheduler.next_run(now);
        assert_eq!(run, Some(Run::Embed { items: vec![0, 1, 2], slots: 0..3, batch: 4 }));
        assert_eq!(scheduler.available_slots(0), 5);
    }

    #[test]
    fn scattered_slots_shorten_the_batch_to_a_bucket() {
        let (mut scheduler, now) = (scheduler(8, vec![1, 2, 4, 8]), Instant::now());
        (0..8).for_each(|item| scheduler.add_item(item));
        scheduler.next_run(now);
        [0, 1, 2, 5].into_iter().for_each(|slot| scheduler.free_slot(0, slot));
        (8..12).for_each(|item| scheduler.add_item(item));
        let run = scheduler.next_run(now);
        assert_eq!(run, Some(Run::Embed { items: vec![8, 9], slots: 0..2, batch: 2 }));
    }

    #[test]
    fn a_merge_waits_for_a_free_slot() {
        let mut shape = single_label_shape(4, 1, 1);
        shape.levels.push(Level { fan_in: 2, slots: 1, macs: 1, exit: false });
        let max_wait = Duration::from_millis(200);
        let settings =
            BatchSettings { max_batch: 8, preferred_batch: 4, buckets: vec![], max_wait };
        let (mut scheduler, now) = (Scheduler::new(&shape, settings), Instant::now());
        let first = Priority::Round(Round::FIRST);
        let job = |group| MergeJob { group, members: Members::first(2) };
        (0..2).for_each(|group| scheduler.add_merge(1, 2, first, job(group)));
        let run = |group| Run::Merge {
            level: 1,
            arity: 2,
            jobs: vec![job(group)],
            slots: 0..1,
            batch: 1,
        };
        assert_eq!(scheduler.next_run(now), Some(run(0)));
        assert_eq!(scheduler.next_run(now), None);
        scheduler.free_slot(1, 0);
        assert_eq!(scheduler.next_run(now), Some(run(1)));
    }
}
