//! What the brokers say about the past of a partition, at its first message and behind a gap: messages
//! that were deleted before they were read, and the note of the last reader.
//!
//! If the retention of a topic, or a deletion of records, passes the position of the consumer group,
//! librdkafka goes on at the first offset that is left (`auto.offset.reset: earliest`). The images in
//! between have no verdict.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, warn};

use super::assignment::Before;
use super::caution::Note;
use super::rebalance::Context;

/// The longest wait for the brokers' answer. The consumer is not polled meanwhile.
const ANSWER: Duration = Duration::from_secs(2);

/// What the brokers say about the offsets before a message.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Offsets that were deleted before they were read. Some of them may be markers of
    /// transactions.
    pub skipped: Range<i64>,
    /// The offset that the consumer group has committed, if the message is below it: the offsets of
    /// the partition have fallen.
    pub above: Option<i64>,
    /// The offset that the consumer group has committed, at the first message of an assignment.
    pub committed: Option<i64>,
    /// The note beside this offset.
    pub note: Note,
}

/// Asks about the offsets before the message at `offset`. Finds nothing if the brokers do not answer.
pub(super) fn ask(
    consumer: &BaseConsumer<Context>,
    (topic, partition): (&str, i32),
    offset: i64,
    before: Before,
) -> Found {
    let mut found = Found::default();
    let from = match before {
        // A marker of a transaction takes one offset.
        Before::Gap(from) if offset - from > 1 => Some(from),
        Before::Gap(_) | Before::Nothing => None,
        Before::Unknown => {
            if let Some((committed, note)) = committed(consumer, topic, partition) {
                found = Found { committed: Some(committed), note, ..found };
            }
            found.committed
        }
    };
    let Some(from) = from else { return found };
    if from >= offset {
        return Found { above: (from > offset).then_some(from), ..found };
    }
    match consumer.fetch_watermarks(topic, partition, ANSWER) {
        Ok((first, _)) => found.skipped = from..first.min(offset).max(from),
        Err(error) => {
            debug!(%error, topic, partition, "the first offset of the partition is unknown");
        }
    }
    found
}

/// Reports deleted messages, and returns their number.
pub(super) fn report_skipped((topic, partition): (&str, i32), skipped: &Range<i64>) -> u64 {
    let messages = u64::try_from(skipped.end - skipped.start).unwrap_or(0);
    if messages > 0 {
        warn!(
            topic,
            partition,
            from = skipped.start,
            to = skipped.end,
            "messages were deleted before they were read: their images have no verdict"
        );
    }
    messages
}

/// The offset that the consumer group has committed, and the note beside it. `None` if there is none.
fn committed(consumer: &BaseConsumer<Context>, topic: &str, partition: i32) -> Option<(i64, Note)> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let answer = consumer.committed_offsets(asked, ANSWER);
    let answer = answer
        .inspect_err(|error| debug!(%error, topic, partition, "the committed offset is unknown"));
    let answer = answer.ok()?;
    let elements = answer.elements();
    let found = elements.first()?;
    let Offset::Offset(offset) = found.offset() else { return None };
    // The client library panics if another program has written metadata that are not UTF-8.
    let note = catch_unwind(AssertUnwindSafe(|| found.metadata().parse()));
    Some((offset, note.ok().and_then(Result::ok).unwrap_or_default()))
}
