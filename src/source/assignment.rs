//! The assigned partitions, each with its offset tracker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::caution::{Caution, LARGEST, Note};
use super::reader::{self, Reader};
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
        Note { at: reader::now(), ..self.caution.note(self.next.unwrap_or_default(), open) }
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
                self.reader.give_up(old.trackers());
            }
        }
    }

    /// Closes the trackers of revoked partitions. Later verdicts have no effect.
    pub fn close(&self, partitions: &[Partition]) {
        let mut assigned = self.lock();
        for partition in partitions {
            if let Some(offsets) = assigned.remove(partition) {
                self.reader.give_up(offsets.trackers());
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
        // The messages at these offsets are other ones now.
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
        let (caution, quarantine) = Caution::begin(note, first, self.reader.begins());
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

    /// Whether the worker judges any item, besides `waiting` items that were read and not sent on. Items
    /// of partitions that were given up count too.
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

    /// What to commit for partitions that this reader leaves because it fails, so that its end counts at
    /// once: a reader that fails leaves the group, which then gives the partitions to others. A reader
    /// that has survived its first items did not fail because of them.
    pub fn failed(&self, partitions: &[Partition]) -> Vec<Commit> {
        let assigned = self.lock();
        let failed = |partition: &Partition| {
            let offsets = assigned.get(partition)?;
            let cautious = offsets.caution.batch().is_some();
            let open = if cautious { offsets.unresolved() > 0 } else { !offsets.survived };
            // The batch that is judged begins at the last offset that was committed.
            let begin = offsets.stored.or(offsets.first.map(|(offset, _)| offset));
            let offset = (if cautious { begin } else { offsets.left_at() }).filter(|_| open)?;
            let note = Note { at: 0, ..offsets.note(true) };
            Some(Commit { partition: partition.clone(), offset, note })
        };
        partitions.iter().filter_map(failed).collect()
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
mod tests;
