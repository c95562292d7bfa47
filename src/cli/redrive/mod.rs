//! `dorfman redrive`: sends the items of dead letters to the source topic again.

mod again;
mod letters;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::BaseRecord;
use rdkafka::{Offset, TopicPartitionList};

use self::again::Again;
use self::letters::{DeadLetters, consumer};
use super::producer::MessageProducer;
use super::progress::progress;
use super::{CliError, ConfigArgs};
use crate::failure::Reason;
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
    /// the command goes on where it stopped last with the same reasons, or begins with the first dead
    /// letter.
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
    let reasons: BTreeSet<&str> = args.reason.iter().map(String::as_str).collect();
    let mut letters = DeadLetters::open(&config, args.since, &reasons)?;
    let originals = consumer(&config, "redrive-originals")?;
    let producer = MessageProducer::new(&config.kafka, &config.sink.properties)?;
    let bar = progress("redriving", letters.left());
    let mut counts: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
    let (begun, mut read, mut sent) = (Instant::now(), 0, 0);
    while let Some(letter) = letters.next()? {
        bar.inc(1);
        read += 1;
        let (reason, outcome) = match parse(&letter, &reasons) {
            Err(skipped) => skipped,
            Ok(record) if args.dry_run => (record.reason, "to send"),
            Ok(record) => {
                if let Some(rate) = args.rate {
                    let due = Duration::from_secs_f64(sent as f64 / rate);
                    producer.wait(due.saturating_sub(begun.elapsed()));
                }
                sent += 1;
                let outcome = send(&producer, &originals, &letter, &record)?;
                (record.reason, outcome)
            }
        };
        *counts.entry((reason, outcome)).or_default() += 1;
        if !args.dry_run && read % COMMIT_EVERY == 0 {
            producer.flush()?;
            letters.commit()?;
        }
    }
    if !args.dry_run {
        producer.flush()?;
        letters.commit()?;
    }
    bar.finish_and_clear();
    report(&counts)
}

/// The record of a dead letter that is wanted, or its reason and why it is left out.
fn parse(
    letter: &OwnedMessage,
    reasons: &BTreeSet<&str>,
) -> Result<DeadLetterRecord, (String, &'static str)> {
    let payload = letter.payload().unwrap_or_default();
    let Ok(record) = serde_json::from_slice::<DeadLetterRecord>(payload) else {
        return Err(("(none)".into(), "not a dead letter"));
    };
    let wanted = if reasons.is_empty() {
        record.reason != Reason::Quarantined.code()
    } else {
        reasons.contains(record.reason.as_str())
    };
    if wanted { Ok(record) } else { Err((record.reason, "left out")) }
}

/// Sends the item of a dead letter again: its message, or if the source topic no longer has the
/// message, a reference with what the dead letter says.
fn send(
    producer: &MessageProducer,
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
    producer.send(message)?;
    Ok(outcome)
}

/// The message at the position of a dead letter. `None` if it was deleted, or if its topic was deleted
/// or recreated.
///
/// # Errors
/// If the brokers do not answer: the message may still exist.
fn original(
    consumer: &BaseConsumer,
    record: &DeadLetterRecord,
) -> Result<Option<OwnedMessage>, CliError> {
    let SourcePosition { topic, partition, offset } = &record.source;
    let (first, end) = match consumer.fetch_watermarks(topic, *partition, ANSWER) {
        Ok(found) => found,
        Err(error) if gone(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !(first..end).contains(offset) {
        return Ok(None);
    }
    let mut at = TopicPartitionList::new();
    at.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    consumer.assign(&at)?;
    let Some(found) = consumer.poll(ANSWER) else {
        return Err(CliError::Failed(format!(
            "the message at {topic}/{partition}/{offset} has not arrived for {} s; run the command \
             again, it goes on from here",
            ANSWER.as_secs()
        )));
    };
    let message = found?.detach();
    let time = message.timestamp().to_millis();
    let same = message.offset() == *offset
        && (record.source_timestamp.is_none() || time == record.source_timestamp);
    Ok(same.then_some(message))
}

/// Whether an error says that a topic or its partition does not exist.
fn gone(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(code, Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition))
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
