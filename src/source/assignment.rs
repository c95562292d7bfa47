//! The assigned partitions, each with its offset tracker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tracing::warn;

use super::caution::{Caution, LARGEST, Note};
use crate::offsets::{Ticket, Tracker};

/// A partition of a topic.
pub(super) type Partition = (String, i32);

/// The offset trackers of all assigned partitions. The polling thread and the rebalance callback,
/// which runs inside the poll, share them.
#[derive(Debug, Default)]
pub(super) struct Assignments {
    by_partition: Mutex<HashMap<Partition, Offsets>>,
    reader: Reader,
}

/// This process as a reader of partitions. Clones share its state; the consumers of a process have one.
#[derive(Debug, Clone, Default)]
pub(super) struct Reader {
    /// The number of the process in notes.
    id: u64,
    /// The trackers of partitions that were given up while some of their items had no verdict.
    given_up: Arc<Mutex<Vec<Weak<Tracker>>>>,
}

impl Reader {
    /// A reader that no note names yet.
    pub fn new() -> Self {
        Self { id: fastrand::u64(1..), ..Self::default() }
    }

    /// Ends the epochs of a partition.
    fn give_up(&self, offsets: &Offsets) {
        offsets.trackers().for_each(|tracker| tracker.close());
        self.given_up().extend(offsets.trackers().map(Arc::downgrade));
    }

    /// Whether the worker still judges items of partitions that were given up.
    fn judges_given_up(&self) -> bool {
        let mut given_up = self.given_up();
        // Each ticket holds its tracker.
        given_up.retain(|tracker| tracker.strong_count() > 0);
        !given_up.is_empty()
    }

    fn given_up(&self) -> MutexGuard<'_, Vec<Weak<Tracker>>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The offset trackers of one partition.
#[derive(Debug)]
struct Offsets {
    tracker: Arc<Tracker>,
    /// Trackers of the same assignment from before its offsets fell, with unresolved items.
    earlier: Vec<Arc<Tracker>>,
    stored: Option<i64>,
    /// The highest offset that was stored.
    highest: Option<i64>,
    /// The offset behind the last message, if there was one.
    next: Option<i64>,
    /// What the last statistics showed.
    seen: Option<Seen>,
    caution: Caution,
    /// The offset of the first message of this assignment, and when it was read.
    first: Option<(i64, Instant)>,
    /// Whether the note says that the reader has survived its first items.
    survived: bool,
}

/// A reader that has lived for this long has survived its first items.
const SURVIVED: Duration = Duration::from_secs(60);

/// What statistics show of a partition whose messages are all read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// The next offset to fetch. Every message below it is read.
    fetch: i64,
    /// The offset behind the last message at that time.
    next: Option<i64>,
}

/// An offset to commit, with the note beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    pub partition: Partition,
    pub offset: i64,
    pub note: Note,
}

/// A ticket, and what lies before its message.
#[derive(Debug)]
pub(super) struct Taken {
    pub ticket: Ticket,
    pub before: Before,
}

/// What lies between a message and the one before in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    Nothing,
    /// The message is the first one since the partition was assigned.
    Unknown,
    /// Offsets without messages, from this one on: markers of transactions, compacted messages, or
    /// messages that were deleted before they were read.
    Gap(i64),
}

impl Offsets {
    fn new(topic: &str, partition: i32) -> Self {
        let tracker = Tracker::new(topic.into(), partition);
        Self {
            tracker,
            earlier: Vec::new(),
            stored: None,
            highest: None,
            next: None,
            seen: None,
            caution: Caution::default(),
            first: None,
            survived: false,
        }
    }

    fn trackers(&self) -> impl Iterator<Item = &Arc<Tracker>> {
        self.earlier.iter().chain([&self.tracker])
    }

    fn unresolved(&self) -> usize {
        self.trackers().map(|t| t.unresolved()).sum()
    }

    /// The offset to store. `None` while items from before the offsets fell are unresolved, or if
    /// the offset is already stored.
    fn committable(&self) -> Option<i64> {
        let open = self.earlier.iter().any(|t| t.unresolved() > 0);
        self.tracker.committable().filter(|&o| !open && Some(o) != self.stored)
    }

    /// The offset at which the next reader goes on, if anything was read.
    fn left_at(&self) -> Option<i64> {
        self.committable().or(self.stored).or(self.first.map(|(offset, _)| offset))
    }

    /// The note beside an offset that is committed.
    fn note(&self, open: bool) -> Note {
        self.caution.note(self.next.unwrap_or_default(), open)
    }
}

impl Assignments {
    /// No partitions yet.
    pub fn new(reader: Reader) -> Self {
        Self { reader, ..Self::default() }
    }

    /// Creates trackers for partitions that were assigned.
    pub fn assign(&self, partitions: impl Iterator<Item = Partition>) {
        let mut assigned = self.lock();
        for (topic, partition) in partitions {
            let offsets = Offsets::new(&topic, partition);
            if let Some(old) = assigned.insert((topic, partition), offsets) {
                self.reader.give_up(&old);
            }
        }
    }

    /// Closes the trackers of revoked partitions. Later verdicts have no effect.
    pub fn close(&self, partitions: &[Partition]) {
        let mut assigned = self.lock();
        for partition in partitions {
            if let Some(offsets) = assigned.remove(partition) {
                self.reader.give_up(&offsets);
            }
        }
    }

    /// Every assigned partition.
    pub fn partitions(&self) -> Vec<Partition> {
        self.lock().keys().cloned().collect()
    }

    /// A ticket for a message. `None` if the partition is not assigned. An offset that does not
    /// rise means that the log of the partition was truncated or recreated. Its messages are new
    /// and get a new tracker.
    pub fn take(&self, topic: &str, partition: i32, offset: i64) -> Option<Taken> {
        let mut assigned = self.lock();
        // The key is allocated for each message. A lookup without allocation would need a map of
        // maps and saves only nanoseconds.
        let offsets = assigned.get_mut(&(topic.to_owned(), partition))?;
        let before = match offsets.next.replace(offset + 1) {
            None => Before::Unknown,
            Some(next) if next < offset => Before::Gap(next),
            Some(_) => Before::Nothing,
        };
        if let Some(ticket) = offsets.tracker.take(offset) {
            return Some(Taken { ticket, before });
        }
        warn!(
            topic,
            partition,
            offset,
            "offsets went backwards: the log of the partition was truncated or recreated"
        );
        let next = Tracker::new(topic.into(), partition);
        let old = std::mem::replace(&mut offsets.tracker, next);
        offsets.earlier.push(old);
        offsets.earlier.retain(|t| t.unresolved() > 0);
        // Offsets from before are no longer those of the messages.
        (offsets.stored, offsets.first) = (None, None);
        let ticket = offsets.tracker.take(offset)?;
        Some(Taken { ticket, before })
    }

    /// Takes in statistics of a partition: `fetch` is the next offset to fetch if all messages below
    /// are read. Offsets between the last message and `fetch` have no messages, such as the markers
    /// of transactions. If two statistics in a row agree, they are passed. Otherwise the lag of a
    /// topic with transactions would never fall to 0.
    pub fn fetched(&self, partition: &Partition, fetch: Option<i64>) {
        let mut assigned = self.lock();
        let Some(offsets) = assigned.get_mut(partition) else { return };
        let seen = fetch.map(|fetch| Seen { fetch, next: offsets.next });
        let before = std::mem::replace(&mut offsets.seen, seen);
        let Some(Seen { fetch, next }) = seen.filter(|_| seen == before) else { return };
        let resolved = offsets.trackers().all(|tracker| tracker.unresolved() == 0);
        if resolved && next.is_none_or(|next| next < fetch) && offsets.tracker.pass(fetch) {
            offsets.next = Some(fetch);
        }
    }

    /// Offsets at or above the watermarks of all partitions, with or without verdicts.
    pub fn held(&self) -> usize {
        self.lock().values().map(|b| b.tracker.held()).sum()
    }

    /// Items without a verdict, of all partitions or of the given ones.
    pub fn unresolved(&self, partitions: Option<&[Partition]>) -> usize {
        let assigned = self.lock();
        match partitions {
            None => assigned.values().map(Offsets::unresolved).sum(),
            Some(some) => {
                some.iter().filter_map(|p| assigned.get(p)).map(Offsets::unresolved).sum()
            }
        }
    }

    /// Items that were dropped without a verdict.
    pub fn lost(&self) -> u64 {
        self.lock().values().flat_map(Offsets::trackers).map(|t| t.lost()).sum()
    }

    /// Offsets that rose since they were last stored, of all partitions or of the given ones. A
    /// partition that is read cautiously is not among them while a batch is judged.
    pub fn to_store(&self, partitions: Option<&[Partition]>) -> Vec<Commit> {
        let mut assigned = self.lock();
        let mut commits = Vec::new();
        for (partition, offsets) in assigned.iter_mut() {
            let wanted = partitions.is_none_or(|some| some.contains(partition));
            let cautious = offsets.caution.batch().is_some();
            if !wanted || (cautious && offsets.unresolved() > 0) {
                continue;
            }
            if let Some(offset) = offsets.committable() {
                offsets.caution.passed(offset);
                let open = !cautious && !offsets.survived;
                let (partition, note) = (partition.clone(), offsets.note(open));
                commits.push(Commit { partition, offset, note });
            }
        }
        commits
    }

    /// Begins to read a partition whose first message is at `first`, with the note beside the
    /// committed offset. Returns what to commit, unless the partition is read cautiously, and whether
    /// the first item is to be quarantined.
    pub fn begin(&self, partition: &Partition, first: i64, note: Note) -> Option<(Commit, bool)> {
        let mut assigned = self.lock();
        let offsets = assigned.get_mut(partition)?;
        let (caution, quarantine) = Caution::begin(note, first, self.reader.id);
        offsets.caution = caution;
        offsets.first = Some((first, Instant::now()));
        let note = offsets.note(true);
        Some((Commit { partition: partition.clone(), offset: first, note }, quarantine))
    }

    /// What to commit for partitions whose reader has just survived their first items.
    pub fn survived(&self) -> Vec<Commit> {
        let mut assigned = self.lock();
        let mut commits = Vec::new();
        for (partition, offsets) in assigned.iter_mut() {
            let long = offsets.first.is_some_and(|(_, since)| since.elapsed() >= SURVIVED);
            if offsets.survived || !long || offsets.caution.batch().is_some() {
                continue;
            }
            offsets.survived = true;
            if let Some(offset) = offsets.left_at() {
                let (partition, note) = (partition.clone(), offsets.note(false));
                commits.push(Commit { partition, offset, note });
            }
        }
        commits
    }

    /// Whether the worker judges other items than `waiting` ones that were read and not sent on, also
    /// of partitions that were given up.
    pub fn judges_others(&self, waiting: usize) -> bool {
        self.unresolved(None) > waiting || self.reader.judges_given_up()
    }

    /// Whether any partition is read cautiously.
    pub fn cautious(&self) -> bool {
        self.lock().values().any(|offsets| offsets.caution.batch().is_some())
    }

    /// Begins a batch of a partition at an offset, while nothing else is judged. Returns the number
    /// of its items, at most, and what to commit before, if the partition is read cautiously.
    pub fn begin_batch(&self, partition: &Partition, offset: i64) -> (usize, Option<Commit>) {
        let assigned = self.lock();
        let Some(offsets) = assigned.get(partition) else { return (LARGEST as usize, None) };
        let Some(most) = offsets.caution.batch() else { return (LARGEST as usize, None) };
        let (partition, note) = (partition.clone(), offsets.note(true));
        (most, Some(Commit { partition, offset, note }))
    }

    /// All items of a batch are judged. Returns what to commit.
    pub fn end_batch(&self, partition: &Partition) -> Option<Commit> {
        let mut assigned = self.lock();
        let offsets = assigned.get_mut(partition)?;
        let offset = offsets.tracker.committable()?;
        offsets.caution.batch_ended(offset);
        let (partition, note) = (partition.clone(), offsets.note(false));
        Some(Commit { partition, offset, note })
    }

    /// What to commit for partitions that were read, so that the next reader knows that this one has
    /// left them on purpose.
    pub fn leave(&self, partitions: &[Partition]) -> Vec<Commit> {
        let assigned = self.lock();
        let leave = |partition: &Partition| {
            let offsets = assigned.get(partition)?;
            let offset = offsets.left_at()?;
            Some(Commit { partition: partition.clone(), offset, note: offsets.note(false) })
        };
        partitions.iter().filter_map(leave).collect()
    }

    /// Records that an offset was stored. Returns whether a higher one was stored before: the
    /// offsets of the partition have fallen, and librdkafka does not commit the lower one by itself.
    pub fn stored(&self, partition: &Partition, offset: i64) -> bool {
        let mut assigned = self.lock();
        let Some(offsets) = assigned.get_mut(partition) else { return false };
        offsets.stored = Some(offset);
        let highest = offsets.highest.max(Some(offset));
        offsets.highest = highest;
        highest > Some(offset)
    }

    /// Records that the group has committed an offset above the next message: the offsets have
    /// fallen while no worker read the partition.
    pub fn fell(&self, partition: &Partition, committed: i64) {
        if let Some(offsets) = self.lock().get_mut(partition) {
            offsets.highest = offsets.highest.max(Some(committed));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Partition, Offsets>> {
        self.by_partition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(a: &Assignments, offset: i64) -> Ticket {
        a.take("images", 0, offset).unwrap().ticket
    }

    fn to_store(a: &Assignments) -> Vec<(Partition, i64)> {
        a.to_store(None).into_iter().map(|commit| (commit.partition, commit.offset)).collect()
    }

    fn p(partition: i32) -> Partition {
        ("images".into(), partition)
    }

    #[test]
    fn only_offsets_that_rose_are_stored_again() {
        let a = Assignments::default();
        a.assign([p(0), p(1)].into_iter());
        take(&a, 5).resolve();
        assert_eq!(to_store(&a), [(p(0), 6)]);
        a.stored(&p(0), 6);
        assert!(to_store(&a).is_empty());
        take(&a, 6).resolve();
        assert_eq!(a.to_store(Some(&[p(0)]))[0].offset, 7);
        assert!(a.to_store(Some(&[p(1)])).is_empty());
    }

    #[test]
    fn after_offsets_fall_nothing_is_stored_before_the_earlier_items_are_resolved() {
        let a = Assignments::default();
        a.assign([p(0)].into_iter());
        let old = take(&a, 90);
        take(&a, 3).resolve();
        assert!(old.is_current(), "its verdict still counts");
        assert!(to_store(&a).is_empty());
        assert_eq!((a.unresolved(None), a.held()), (1, 0));
        assert!(!a.stored(&p(0), 90));
        old.resolve();
        assert_eq!(to_store(&a), [(p(0), 4)]);
        assert!(a.stored(&p(0), 4), "it is lower than an earlier one");
    }

    #[test]
    fn after_offsets_fall_the_first_offset_is_not_committed_again() {
        let a = Assignments::default();
        a.assign([p(0)].into_iter());
        take(&a, 90).resolve();
        a.begin(&p(0), 90, Note::default()).unwrap();
        let new = take(&a, 3);
        assert!(a.leave(&[p(0)]).is_empty(), "the messages from 3 to 90 would be skipped");
        new.resolve();
        assert_eq!(a.leave(&[p(0)])[0].offset, 4);
    }

    #[test]
    fn offsets_that_are_left_out_are_noticed() {
        let a = Assignments::default();
        a.assign([p(0)].into_iter());
        let before = [5, 6, 9, 10, 3, 4].map(|offset| {
            let Taken { ticket, before } = a.take("images", 0, offset).unwrap();
            ticket.resolve();
            before
        });
        let (unknown, nothing) = (Before::Unknown, Before::Nothing);
        assert_eq!(before, [unknown, nothing, Before::Gap(7), nothing, nothing, nothing]);
    }

    #[test]
    fn offsets_without_messages_are_passed_when_all_is_resolved_and_statistics_agree() {
        let a = Assignments::default();
        a.assign([p(0)].into_iter());
        let last = take(&a, 5);
        let twice = |fetch| (0..2).for_each(|_| a.fetched(&p(0), Some(fetch)));
        twice(8);
        assert!(to_store(&a).is_empty(), "an item is unresolved");
        last.resolve();
        a.fetched(&p(0), Some(9));
        a.fetched(&p(0), None);
        a.fetched(&p(0), Some(9));
        assert_eq!(to_store(&a), [(p(0), 6)], "statistics have not agreed");
        a.fetched(&p(0), Some(9));
        assert_eq!(to_store(&a), [(p(0), 9)]);
        let next = a.take("images", 0, 9).unwrap();
        assert_eq!(next.before, Before::Nothing, "the markers are no gap");
        twice(8);
        next.ticket.resolve();
        twice(8);
        assert_eq!(to_store(&a), [(p(0), 10)], "an offset below the last message");
    }

    #[test]
    fn a_late_verdict_has_no_effect_on_the_next_epoch() {
        let a = Assignments::default();
        a.assign([p(0)].into_iter());
        let late = take(&a, 5);
        a.close(&[p(0)]);
        assert!(a.take("images", 0, 6).is_none(), "not assigned");
        a.assign([p(0)].into_iter());
        let again = take(&a, 5);
        assert!(!late.is_current() && again.is_current());
        late.resolve();
        assert!(to_store(&a).is_empty());
        assert_eq!((a.unresolved(None), a.lost()), (1, 0));
        again.resolve();
        assert_eq!(to_store(&a), [(p(0), 6)]);
    }

    #[test]
    fn items_of_partitions_that_were_given_up_are_waited_for() {
        let reader = Reader::new();
        let a = Assignments::new(reader.clone());
        a.assign([p(0)].into_iter());
        let late = take(&a, 5);
        assert!(a.judges_others(0) && !a.judges_others(1));
        a.close(&[p(0)]);
        // The consumer is replaced.
        let b = Assignments::new(reader);
        assert!(b.judges_others(0));
        drop(late);
        assert!(!b.judges_others(0));
    }

    #[test]
    fn a_cautious_partition_is_committed_batch_by_batch() {
        let a = Assignments::default();
        a.assign([p(0)].into_iter());
        let ticket = take(&a, 5);
        let note = Note { ends: 2, read: 9, began: 5, open: true, ..Note::default() };
        let (begun, quarantine) = a.begin(&p(0), 5, note).unwrap();
        assert_eq!((begun.offset, begun.note.ends, quarantine), (5, 3, false));
        assert!(a.cautious());
        let (most, commit) = a.begin_batch(&p(0), 5);
        assert_eq!((most, commit.unwrap().note.open), (32, true));
        assert!(to_store(&a).is_empty());
        ticket.resolve();
        assert!(!a.to_store(None)[0].note.open, "no item is judged");
        let ended = a.end_batch(&p(0)).unwrap();
        assert_eq!((ended.offset, ended.note.open), (6, false));
        assert_eq!(a.leave(&[p(0), p(1)]).len(), 1);
    }
}
