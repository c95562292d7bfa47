//! How cautiously a partition is read after workers have ended without warning (pure).
//!
//! An item can end the process that judges it: by a bug in a decoder, or by more memory than there is.
//! The next worker would read the same item, and end too. The worker therefore writes a [`Note`]
//! beside each offset that it commits. The note says that somebody reads the partition, and up to
//! where. A worker that leaves a partition, or that has lived for a minute, says so in the note. If the
//! note of a partition says that it is read, although its reader is gone and has committed nothing, the
//! reader has ended without warning.
//!
//! In a rebalance, the brokers may refuse the note with which a reader leaves. Such a reader lives. The
//! group does not notice that a reader has ended before its session ends, unless the reader leaves the
//! group or is a static member that returns. A note that is younger than that is therefore no sign of an
//! end. A reader that fails and leaves the group writes a note without a time, which always counts.
//!
//! After [`TOLERATED`] such ends, the items that may be the cause are judged in small batches, while
//! the worker judges nothing else. After each further end, the items of the batch that was judged are
//! judged in smaller ones. An item that ended the process while it was alone is *quarantined*: it is
//! not judged, and becomes a dead letter.

use std::fmt;
use std::str::FromStr;

/// Ends in a row that do not slow the stream: workers are killed for other reasons too.
const TOLERATED: u32 = 2;

/// Items in a batch, at most.
pub(super) const LARGEST: u32 = 32;

/// A batch becomes so many times smaller after an end.
const SHRINK: u32 = 8;

/// Offsets that may have been read after a note was written, at least.
const MARGIN: i64 = 1000;

/// What the next reader of a partition must know. Kafka keeps it as the metadata of the committed
/// offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Note {
    /// Ends without warning since `until` was last passed.
    pub ends: u32,
    /// Items in a batch. 0: any number of items is judged at once.
    pub batch: u32,
    /// The offset from which batches are as large as possible again.
    pub within: i64,
    /// The offset behind the last message that was read.
    pub read: i64,
    /// The offset behind the items that may be the cause of the ends.
    pub until: i64,
    /// The offset at which the reader began.
    pub began: i64,
    /// Whether items are being judged that may end the reader.
    pub open: bool,
    /// The process that reads. 0: unknown.
    pub reader: u64,
    /// When the note was written, in milliseconds since 1970 by the clock of the reader. 0: unknown.
    pub at: u64,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ends, batch, within, read, until, began, open, reader, at } = self;
        write!(f, "dorfman ends={ends} batch={batch} within={within} ")?;
        write!(f, "read={read} until={until} began={began} open={open} reader={reader} at={at}")
    }
}

impl FromStr for Note {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut note = Self::default();
        let fields = text.strip_prefix("dorfman ").ok_or(())?;
        for (key, value) in fields.split(' ').filter_map(|field| field.split_once('=')) {
            match key {
                "ends" => note.ends = value.parse().map_err(|_| ())?,
                "batch" => note.batch = value.parse().map_err(|_| ())?,
                "within" => note.within = value.parse().map_err(|_| ())?,
                "read" => note.read = value.parse().map_err(|_| ())?,
                "until" => note.until = value.parse().map_err(|_| ())?,
                "began" => note.began = value.parse().map_err(|_| ())?,
                "open" => note.open = value.parse().map_err(|_| ())?,
                "reader" => note.reader = value.parse().map_err(|_| ())?,
                "at" => note.at = value.parse().map_err(|_| ())?,
                // A later version may write more.
                _ => {}
            }
        }
        Ok(note)
    }
}

/// The process that begins to read a partition.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Begins {
    /// Its number in notes.
    pub reader: u64,
    /// The time, in milliseconds since 1970.
    pub now: u64,
    /// The time from the last note of a reader that has ended to the next reader, in milliseconds, at
    /// least. 0 for static members, which may return at once.
    pub noticed: u64,
}

/// How a partition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Caution {
    ends: u32,
    batch: u32,
    within: i64,
    until: i64,
    began: i64,
    reader: u64,
}

impl Caution {
    /// How a process begins with a partition at the committed offset, and whether its first item is to
    /// be quarantined.
    pub fn begin(note: Note, committed: i64, by: Begins) -> (Self, bool) {
        let Note { ends, batch, within, read, until, began, open, reader: before, at } = note;
        let reader = by.reader;
        // This process has lost the partition meanwhile, or its consumer, or another process lives.
        // A note from the future is of another clock, and says nothing.
        let lives = (before == reader && reader != 0)
            || (at..at.saturating_add(by.noticed)).contains(&by.now);
        // A reader that has committed what it judged was not ended by its first items.
        if !open || lives || (batch == 0 && began != committed) {
            return (Self { ends, batch, within, until, began: committed, reader }, false);
        }
        let ends = ends.saturating_add(1);
        let read = read.max(committed);
        let until = until.max(read + (read - committed) + MARGIN);
        let smaller = match batch {
            0 => LARGEST,
            batch => (batch / SHRINK).max(1),
        };
        let batch = if ends > TOLERATED { smaller } else { 0 };
        // Each message may be followed by the marker of a transaction.
        let within = committed + 2 * i64::from(note.batch);
        (Self { ends, batch, within, until, began: committed, reader }, note.batch == 1)
    }

    /// Items that may be judged at once. `None`: any number.
    pub fn batch(&self) -> Option<usize> {
        (self.batch > 0).then_some(self.batch as usize)
    }

    /// A batch has ended well, and all items below `offset` are judged.
    pub fn batch_ended(&mut self, offset: i64) {
        if self.batch > 0 && offset >= self.within {
            self.batch = LARGEST;
        }
        self.passed(offset);
    }

    /// All items below `offset` are judged.
    pub fn passed(&mut self, offset: i64) {
        if self.ends > 0 && offset >= self.until {
            *self = Self { began: self.began, reader: self.reader, ..Self::default() };
        }
    }

    /// The note to write beside an offset, without its time. `read` is the offset behind the last
    /// message that was read.
    pub fn note(&self, read: i64, open: bool) -> Note {
        let Self { ends, batch, within, until, began, reader } = *self;
        Note { ends, batch, within, read, until, began, open, reader, at: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by(reader: u64) -> Begins {
        Begins { reader, ..Begins::default() }
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let (ends, batch, within, read, until, began) = (3, 4, 90, 120, 1_300, 80);
        let note = Note { ends, batch, within, read, until, began, open: true, reader: 7, at: 9 };
        assert_eq!(note.to_string().parse(), Ok(note));
        assert_eq!("dorfman ends=1 later=x".parse(), Ok(Note { ends: 1, ..Note::default() }));
        for other in ["", "of another program", "dorfman ends=many"] {
            assert_eq!(other.parse::<Note>(), Err(()), "{other}");
        }
    }

    #[test]
    fn a_reader_that_leaves_is_not_counted() {
        let (caution, quarantine) = Caution::begin(Note::default(), 5, by(0));
        assert!(!quarantine && caution.batch().is_none());
        let note = caution.note(9, false);
        assert_eq!(Caution::begin(note, 9, by(0)).0.ends, 0);
        assert_eq!(Caution::begin(Note { open: true, ..note }, 5, by(0)).0.ends, 1);
        assert_eq!(
            Caution::begin(Note { open: true, ..note }, 6, by(0)).0.ends,
            0,
            "it has committed"
        );
    }

    #[test]
    fn a_reader_that_gets_its_partition_again_has_not_ended() {
        let (caution, _) = Caution::begin(Note::default(), 5, by(7));
        let note = caution.note(9, true);
        assert_eq!(Caution::begin(note, 5, by(7)).0.ends, 0);
        assert_eq!(Caution::begin(note, 5, by(8)).0.ends, 1);
        let alone = Note { batch: 1, ..note };
        assert!(!Caution::begin(alone, 5, by(7)).1 && Caution::begin(alone, 5, by(8)).1);
    }

    #[test]
    fn a_reader_that_another_replaces_sooner_than_the_group_notices_an_end_lives() {
        let note = Note { open: true, batch: 1, reader: 7, at: 50_000, ..Note::default() };
        let begin = |now, noticed| Caution::begin(note, 0, Begins { reader: 8, now, noticed });
        for now in [50_000, 72_499] {
            let (caution, quarantine) = begin(now, 22_500);
            assert_eq!((caution.ends, caution.batch, quarantine), (0, 1, false), "{now}");
        }
        for (now, noticed) in [(72_500, 22_500), (50_000, 0), (49_999, 22_500)] {
            let (caution, quarantine) = begin(now, noticed);
            assert_eq!((caution.ends, quarantine), (1, true), "{now} {noticed}");
        }
    }

    #[test]
    fn caution_ends_behind_the_items_that_may_be_the_cause() {
        let note = Note { ends: 2, read: 500, began: 100, open: true, ..Note::default() };
        let (mut caution, _) = Caution::begin(note, 100, by(0));
        assert_eq!(caution.batch(), Some(32));
        caution.batch_ended(1_899);
        assert_eq!(caution.batch(), Some(32));
        caution.batch_ended(1_900);
        assert_eq!(caution, Caution { began: 100, ..Caution::default() });
    }

    /// A partition with an item that ends the process, and workers that read it one after the other.
    /// Each commits only what is judged, and notes of normal reading are `stale` offsets old.
    fn run(poison: i64, stale: i64, ahead: i64) -> (u32, Option<i64>) {
        let (mut committed, mut note) = (0, Note::default());
        for worker in 0..200 {
            let (mut caution, quarantine) = Caution::begin(note, committed, by(0));
            if quarantine {
                return (worker, Some(committed));
            }
            loop {
                let Some(batch) = caution.batch() else {
                    // Normal reading: what is judged before the end is committed in part.
                    let judged = (poison - ahead).max(committed);
                    let before = (judged - stale).max(committed);
                    caution.passed(before);
                    note = caution.note((before + ahead).min(poison), true);
                    committed = before;
                    break;
                };
                note = caution.note(committed + batch as i64, true);
                if (committed..committed + batch as i64).contains(&poison) {
                    break;
                }
                committed += batch as i64;
                caution.batch_ended(committed);
            }
        }
        (200, None)
    }

    #[test]
    fn an_item_is_quarantined_after_few_ends() {
        assert_eq!(run(0, 0, 100), (6, Some(0)));
    }

    proptest! {
        /// Exactly the item that ends the process is quarantined, and after few ends.
        #[test]
        fn the_cause_is_found(poison in 0i64..20_000, stale in 0i64..3_000, ahead in 0i64..900) {
            let (ends, found) = run(poison, stale, ahead);
            prop_assert_eq!(found, Some(poison));
            prop_assert!(ends <= 25, "{} ends", ends);
        }
    }
}
