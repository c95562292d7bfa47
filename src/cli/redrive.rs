//! `dorfman redrive`: sends the items of dead letters to the source topic again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header as KafkaHeader, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::progress::progress;
use super::{CliError, ConfigArgs};
use crate::config::Config;
use crate::failure::Reason;
use crate::redrive::Again;
use crate::sink::message::{DeadLetterRecord, ORIGIN_HEADER, SourcePosition, origin_of};

/// The longest wait for an answer of the brokers.
const ANSWER: Duration = Duration::from_secs(30);

/// Dead letters after which the position is committed.
const COMMIT_EVERY: u64 = 100;

/// Arguments of `redrive`.
#[derive(Debug, Args)]
pub(super) struct RedriveArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only dead letters with this reason, such as not_found. Can be given several times [default:
    /// all except quarantined, whose images end workers].
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Vec<String>,
    /// Only dead letters from this time on: an RFC 3339 time such as 2026-11-25T08:00:00Z. Without it,
    /// the command goes on where it stopped last, or begins with the first dead letter.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// Messages per second, at most [default: no limit].
    #[arg(long, value_name = "N", value_parser = super::produce::rate)]
    rate: Option<f64>,
    /// Only count the dead letters that would be sent.
    #[arg(long)]
    dry_run: bool,
}

fn reason(text: &str) -> Result<String, String> {
    let known: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    let unknown = || format!("is not a reason; the reasons are {}", known.join(", "));
    known.contains(&text).then(|| text.to_owned()).ok_or_else(unknown)
}

/// Milliseconds since 1970.
fn time(text: &str) -> Result<i64, String> {
    let time: jiff::Timestamp = text.parse().map_err(|e: jiff::Error| e.to_string())?;
    Ok(time.as_millisecond())
}

pub(super) fn run(args: &RedriveArgs) -> Result<(), CliError> {
    let config = args.config.load()?;
    let letters = DeadLetters::open(&config, args.since)?;
    let originals = consumer(&config, "originals")?;
    let producer: BaseProducer = config.kafka.client(&config.sink.properties).create()?;
    let bar = progress("redriving", letters.left());
    let mut counts: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
    let (begun, mut read, mut sent) = (Instant::now(), 0, 0);
    while let Some(letter) = letters.next()? {
        bar.inc(1);
        read += 1;
        let (reason, outcome) = match parse(&letter, args) {
            Err(skipped) => skipped,
            Ok(record) if args.dry_run => (record.reason, "to send"),
            Ok(record) => {
                if let Some(rate) = args.rate {
                    let due = Duration::from_secs_f64(sent as f64 / rate);
                    producer.poll(due.saturating_sub(begun.elapsed()));
                }
                sent += 1;
                let outcome = send(&producer, &originals, &letter, &record)?;
                (record.reason, outcome)
            }
        };
        *counts.entry((reason, outcome)).or_default() += 1;
        if !args.dry_run && read % COMMIT_EVERY == 0 {
            producer.flush(ANSWER)?;
            letters.commit()?;
        }
    }
    if !args.dry_run {
        producer.flush(ANSWER)?;
        letters.commit()?;
    }
    bar.finish_and_clear();
    report(&counts)
}

/// The record of a dead letter that is wanted, or its reason and why it is left out.
fn parse(
    letter: &OwnedMessage,
    args: &RedriveArgs,
) -> Result<DeadLetterRecord, (String, &'static str)> {
    let payload = letter.payload().unwrap_or_default();
    let Ok(record) = serde_json::from_slice::<DeadLetterRecord>(payload) else {
        return Err(("(none)".into(), "not a dead letter"));
    };
    let wanted = match args.reason.as_slice() {
        [] => record.reason != Reason::Quarantined.code(),
        reasons => reasons.contains(&record.reason),
    };
    if wanted { Ok(record) } else { Err((record.reason, "left out")) }
}

/// Sends the item of a dead letter again: its message, or if the source topic no longer has the
/// message, a reference with what the dead letter says.
fn send(
    producer: &BaseProducer,
    originals: &BaseConsumer,
    letter: &OwnedMessage,
    record: &DeadLetterRecord,
) -> Result<&'static str, CliError> {
    let original = original(originals, record)?;
    let (again, outcome) = match &original {
        Some(message) => (Again::of_message(message), "sent"),
        None => match Again::of_dead_letter(letter, record) {
            Some(again) => (again, "sent, from the dead letter"),
            None => return Ok("lost: the source topic no longer has the message"),
        },
    };
    let mut headers = OwnedHeaders::new();
    for (key, value) in &again.headers {
        headers = headers.insert(KafkaHeader { key, value: value.as_ref() });
    }
    if !again.headers.iter().any(|(key, _)| key == ORIGIN_HEADER) {
        let origin = origin_of(&record.source, record.source_timestamp);
        headers = headers.insert(KafkaHeader { key: ORIGIN_HEADER, value: Some(&origin) });
    }
    let mut message = BaseRecord::to(&record.source.topic).payload(&again.payload).headers(headers);
    message.key = again.key.as_ref();
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(outcome),
            Err((error, returned)) => {
                let full = rdkafka::types::RDKafkaErrorCode::QueueFull;
                if error.rdkafka_error_code() != Some(full) {
                    return Err(error.into());
                }
                message = returned;
                producer.poll(Duration::from_millis(10));
            }
        }
    }
}

/// The message at the position of a dead letter. `None` if it was deleted, or if the topic was made
/// anew.
fn original(
    consumer: &BaseConsumer,
    record: &DeadLetterRecord,
) -> Result<Option<OwnedMessage>, CliError> {
    let SourcePosition { topic, partition, offset } = &record.source;
    let Ok((first, end)) = consumer.fetch_watermarks(topic, *partition, ANSWER) else {
        return Ok(None);
    };
    if !(first..end).contains(offset) {
        return Ok(None);
    }
    let mut at = TopicPartitionList::new();
    at.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    consumer.assign(&at)?;
    let found = consumer.poll(ANSWER).transpose()?.map(|message| message.detach());
    Ok(found.filter(|message| {
        let time = message.timestamp().to_millis();
        message.offset() == *offset
            && (record.source_timestamp.is_none() || time == record.source_timestamp)
    }))
}

/// The dead-letter topic, from where the command stopped last to the end at its start.
struct DeadLetters {
    consumer: BaseConsumer,
    topic: String,
    ends: BTreeMap<i32, i64>,
    next: std::cell::RefCell<BTreeMap<i32, i64>>,
}

impl DeadLetters {
    fn open(config: &Config, since: Option<i64>) -> Result<Self, CliError> {
        let topic = config.sink.dead_letter_topic.clone();
        let consumer = consumer(config, "redrive")?;
        let metadata = consumer.fetch_metadata(Some(&topic), ANSWER)?;
        let found = metadata.topics().first().filter(|found| found.error().is_none());
        let Some(found) = found.filter(|found| !found.partitions().is_empty()) else {
            return Err(CliError::Failed(format!("the topic {topic} does not exist")));
        };
        let mut partitions = TopicPartitionList::new();
        for partition in found.partitions() {
            let offset = since.map_or(Offset::Invalid, Offset::Offset);
            partitions.add_partition_offset(&topic, partition.id(), offset)?;
        }
        let starts = match since {
            Some(_) => consumer.offsets_for_times(partitions, ANSWER)?,
            None => consumer.committed_offsets(partitions, ANSWER)?,
        };
        let (mut next, mut ends) = (BTreeMap::new(), BTreeMap::new());
        let mut assigned = TopicPartitionList::new();
        for start in starts.elements() {
            let partition = start.partition();
            let (first, end) = consumer.fetch_watermarks(&topic, partition, ANSWER)?;
            let begin = match start.offset() {
                Offset::Offset(offset) => offset.clamp(first, end),
                Offset::End => end,
                _ => first,
            };
            next.insert(partition, begin);
            ends.insert(partition, end);
            assigned.add_partition_offset(&topic, partition, Offset::Offset(begin))?;
        }
        consumer.assign(&assigned)?;
        Ok(Self { consumer, topic, ends, next: next.into() })
    }

    /// Dead letters that are left.
    fn left(&self) -> u64 {
        let next = self.next.borrow();
        self.ends.iter().map(|(partition, end)| (end - next[partition]).max(0) as u64).sum()
    }

    /// The next dead letter. `None` at the end.
    fn next(&self) -> Result<Option<OwnedMessage>, CliError> {
        while self.left() > 0 {
            let message = match self.consumer.poll(ANSWER) {
                Some(message) => message?.detach(),
                // Only markers of transactions are left.
                None => return Ok(None),
            };
            let (partition, offset) = (message.partition(), message.offset());
            if offset < self.ends.get(&partition).copied().unwrap_or_default() {
                self.next.borrow_mut().insert(partition, offset + 1);
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Commits the position, so that the next run goes on from here.
    fn commit(&self) -> Result<(), CliError> {
        let mut offsets = TopicPartitionList::new();
        for (&partition, &offset) in self.next.borrow().iter() {
            offsets.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the group has no members: partitions are assigned by hand"
        )]
        self.consumer.commit(&offsets, CommitMode::Sync)?;
        Ok(())
    }
}

/// A consumer without automatic commits. Its group is that of the workers, with a suffix.
fn consumer(config: &Config, suffix: &str) -> Result<BaseConsumer, CliError> {
    let mut client = config.kafka.client(&config.source.properties);
    for key in ["group.instance.id", "group.protocol", "partition.assignment.strategy"] {
        client.remove(key);
    }
    client.set("group.id", format!("{}-{suffix}", config.kafka.group_id));
    client.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    Ok(client.create()?)
}

/// Prints the counts. Fails if an item is lost.
fn report(counts: &BTreeMap<(String, &'static str), u64>) -> Result<(), CliError> {
    let mut lost = 0;
    for ((reason, outcome), count) in counts {
        println!("{count:>8}  {reason:<20} {outcome}");
        if outcome.starts_with("lost") {
            lost += count;
        }
    }
    match lost {
        0 => Ok(()),
        lost => Err(CliError::Failed(format!(
            "{lost} items cannot be sent again: their messages were deleted, and the dead letters do \
             not hold their images"
        ))),
    }
}
