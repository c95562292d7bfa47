//! The records that the worker publishes (pure).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dorfman_core::engine::{ItemVerdict, NetworkPart, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::failure::{Failure, Reason};
use crate::item::{ImageFile, Item, Origin};
use crate::message::{Location, Reference};
use crate::offsets::Ticket;

/// Bytes of a payload that its dead letter repeats, at most.
const PAYLOAD_KEPT: usize = 64 * 1024;

/// Bytes of a detail that a dead letter repeats, at most. It may contain a malformed URI of any length.
const TEXT_KEPT: usize = 2048;

/// The header with the position at which an item was read first. `dorfman redrive` sets it. The id of
/// a flag follows from it, so that an item that is sent again has the same id.
pub const ORIGIN_HEADER: &str = "dorfman-origin";

/// Bytes of the detail in a dead letter that was refused in full.
const SLIM_DETAIL: usize = 200;

/// The name and version of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BundleName {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
}

/// Where an item was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourcePosition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A label and the score that passed the threshold of the label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LabelScore {
    /// The label.
    pub label: String,
    /// The score of the individual test, 0 to 1. With a one-round policy: the lowest score among
    /// the tests of the image.
    pub score: f32,
}

/// A flag: one record in the flagged topic. Delivered at least once; `flag_id` is the same each
/// time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlagRecord {
    /// A UUID that depends only on the item and the bundle. Repeated deliveries have the same UUID.
    pub flag_id: String,
    /// The id of the image, from its reference.
    pub id: String,
    /// The label with the highest score.
    pub label: String,
    /// The score of this label.
    pub score: f32,
    /// The confirm network's score for this label. Absent if no confirm network is used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confirm_score: Option<f32>,
    /// Every label that passed, by falling score.
    pub labels: Vec<LabelScore>,
    /// True if a pooled test or an exit cleared the image and an audit found it. Absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub audit: bool,
    /// The frame of an animation that scored highest, by its number from 0. Absent for a still image.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub frame: Option<u32>,
    /// Frames of the animation. Absent for a still image.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub frames: Option<u32>,
    /// True if the file ends early, so that pixels or frames are missing. Absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub incomplete: bool,
    /// The bundle that scored the image.
    pub bundle: BundleName,
    /// Tests that the image took part in, including the confirm network's. Those of all judged frames of
    /// an animation.
    pub tests: u16,
    /// Where the reference was read.
    pub source: SourcePosition,
    /// When the image was flagged, RFC 3339.
    pub time: String,
    /// The URI of the image. Absent if the image was in the message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uri: Option<String>,
    /// The sender's metadata.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata: Option<Map<String, Value>>,
}

/// A verdict of any kind: one record in the verdicts topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictRecord {
    /// The id of the image.
    pub id: String,
    /// `flagged`, `cleared` or `failed`.
    pub verdict: String,
    /// The score of the last test that the image took part in, except the confirm network's, or of
    /// the exit that cleared the image. Absent if there is no such score.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub score: Option<f32>,
    /// The confirm network's score, if the confirm network scored the image. A cleared image with
    /// this score was positive by its policy and negative in the confirm network.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confirm_score: Option<f32>,
    /// Images that shared the last test.
    pub arity: u8,
    /// Tests that the image took part in, including the confirm network's. 0 for an image that an
    /// exit cleared.
    pub tests: u16,
    /// Rounds until the verdict.
    pub rounds: u8,
    /// The frame of an animation whose verdict decided, by its number from 0. The other fields of the
    /// test are those of this frame. Absent for a still image.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub frame: Option<u32>,
    /// Frames of the animation. Absent for a still image.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub frames: Option<u32>,
    /// True if the file ends early, so that pixels or frames are missing. Absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub incomplete: bool,
    /// True if a pooled test or an exit cleared the image and an audit tested it. Absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub audit: bool,
    /// The exit that cleared the image or, with `audit`, would have cleared it: `screen`, or `stage0`
    /// for the early exit of stage 0. Absent if no exit cleared the image.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit: Option<String>,
    /// The bundle that scored the image.
    pub bundle: BundleName,
    /// Where the reference was read.
    pub source: SourcePosition,
    /// The time of the verdict, RFC 3339.
    pub time: String,
}

/// An image that could not be scored: one record in the dead-letter topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterRecord {
    /// The id of the image, if the message had an id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// The reason code.
    pub reason: String,
    /// The details of the error.
    pub detail: String,
    /// The URI of the image, up to 64 KiB, if the reference had a URI.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uri: Option<String>,
    /// The sender's media type.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub content_type: Option<String>,
    /// The sender's estimate of the probability that the image is positive, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub risk: Option<f32>,
    /// The sender's metadata.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata: Option<Map<String, Value>>,
    /// The message in base64, up to 64 KiB, if the message was not a reference or was not read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload: Option<String>,
    /// True if `uri` or `payload` is only the start. Absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub truncated: bool,
    /// Where the message was read. It holds everything, until the topic's retention deletes it.
    pub source: SourcePosition,
    /// The timestamp of the message, in milliseconds since 1970, if it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_timestamp: Option<i64>,
    /// The time of the dead letter, RFC 3339.
    pub time: String,
}

/// A record about an item.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Record {
    /// In the flagged topic.
    Flag(FlagRecord),
    /// In the verdicts topic.
    Verdict(VerdictRecord),
    /// In the dead-letter topic.
    DeadLetter(DeadLetterRecord),
}

impl Record {
    /// The id of the image, which is the record's key. Empty if the message had no id.
    pub fn key(&self) -> &str {
        match self {
            Record::Flag(flag) => &flag.id,
            Record::Verdict(verdict) => &verdict.id,
            Record::DeadLetter(dead) => dead.id.as_deref().unwrap_or_default(),
        }
    }

    /// The record without the sender's fields, which can have any size. A dead letter keeps the
    /// start of its detail.
    pub fn slim(self) -> Self {
        match self {
            Record::Flag(flag) => Record::Flag(FlagRecord { uri: None, metadata: None, ..flag }),
            Record::Verdict(verdict) => Record::Verdict(verdict),
            Record::DeadLetter(dead) => Record::DeadLetter(DeadLetterRecord {
                detail: start(&dead.detail, SLIM_DETAIL),
                payload: None,
                metadata: None,
                uri: None,
                ..dead
            }),
        }
    }

    /// The dead letter of a record that `topic` refuses with `error`. `None` for a dead letter.
    pub fn refused(self, topic: &str, error: &str) -> Option<DeadLetterRecord> {
        let (what, id, source, time) = match self {
            Record::Flag(FlagRecord { label, score, id, source, time, .. }) => {
                (format!("a flag for `{label}` with score {score}"), id, source, time)
            }
            Record::Verdict(VerdictRecord { verdict, id, source, time, .. }) => {
                (format!("the verdict `{verdict}`"), id, source, time)
            }
            Record::DeadLetter(_) => return None,
        };
        Some(DeadLetterRecord {
            id: Some(id),
            reason: Reason::Undeliverable.code().to_owned(),
            detail: cut(&format!("topic `{topic}` refuses {what}: {error}")),
            uri: None,
            content_type: None,
            risk: None,
            metadata: None,
            payload: None,
            truncated: false,
            source,
            source_timestamp: None,
            time,
        })
    }
}

/// Creates records.
#[derive(Debug, Clone)]
pub struct Records {
    /// The bundle.
    pub bundle: BundleName,
    /// The names of the score columns.
    pub labels: Vec<String>,
}

impl Records {
    /// The record of a flag. `passed` has (score column, score) of every label that passed.
    pub fn flag(
        &self,
        verdict: &ItemVerdict<Item>,
        passed: &[(usize, f32)],
        time: &str,
    ) -> FlagRecord {
        let mut labels: Vec<LabelScore> = passed
            .iter()
            .map(|&(column, score)| LabelScore { label: self.labels[column].clone(), score })
            .collect();
        labels.sort_by(|a, b| b.score.total_cmp(&a.score));
        let first = labels
            .first()
            .cloned()
            .unwrap_or(LabelScore { label: String::new(), score: verdict.score });
        let Item { reference, origin, file } = &verdict.payload;
        FlagRecord {
            flag_id: self.flag_id(&reference.id, origin),
            id: reference.id.clone(),
            label: first.label,
            score: first.score,
            confirm_score: verdict.confirm_score,
            labels,
            audit: verdict.audited,
            frame: animated(file).map(|_| file.frame),
            frames: animated(file),
            incomplete: file.incomplete,
            bundle: self.bundle.clone(),
            tests: verdict.tests,
            source: position(&origin.ticket),
            time: time.to_owned(),
            uri: uri(reference),
            metadata: reference.metadata.clone(),
        }
    }

    /// The record of a verdict.
    pub fn verdict(&self, verdict: &ItemVerdict<Item>, time: &str) -> VerdictRecord {
        let file = &verdict.payload.file;
        VerdictRecord {
            id: verdict.payload.reference.id.clone(),
            verdict: verdict_name(&verdict.verdict).to_owned(),
            score: (!verdict.score.is_nan()).then_some(verdict.score),
            confirm_score: verdict.confirm_score,
            arity: verdict.arity,
            tests: verdict.tests,
            rounds: verdict.rounds,
            frame: animated(file).map(|_| file.frame),
            frames: animated(file),
            incomplete: file.incomplete,
            audit: verdict.audited,
            exit: verdict.exit.map(NetworkPart::name),
            bundle: self.bundle.clone(),
            source: position(&verdict.payload.origin.ticket),
            time: time.to_owned(),
        }
    }

    /// The record of an item that did not reach the engine, for the verdicts topic.
    pub fn failed(
        &self,
        origin: &Origin,
        reference: Option<&Reference>,
        time: &str,
    ) -> VerdictRecord {
        VerdictRecord {
            id: reference.map(|r| r.id.clone()).unwrap_or_default(),
            verdict: "failed".to_owned(),
            score: None,
            confirm_score: None,
            arity: 0,
            tests: 0,
            rounds: 0,
            frame: None,
            frames: None,
            incomplete: false,
            audit: false,
            exit: None,
            bundle: self.bundle.clone(),
            source: position(&origin.ticket),
            time: time.to_owned(),
        }
    }

    /// The record of a dead letter.
    pub fn dead_letter(
        &self,
        origin: &Origin,
        reference: Option<&Reference>,
        payload: &[u8],
        failure: &Failure,
        time: &str,
    ) -> DeadLetterRecord {
        let kept = &payload[..payload.len().min(PAYLOAD_KEPT)];
        let whole_uri = reference.and_then(uri);
        let truncated = kept.len() < payload.len()
            || whole_uri.as_ref().is_some_and(|uri| uri.len() > PAYLOAD_KEPT);
        DeadLetterRecord {
            id: reference.map(|r| r.id.clone()),
            reason: failure.reason.code().to_owned(),
            detail: cut(&failure.detail),
            uri: whole_uri.map(|uri| start(&uri, PAYLOAD_KEPT)),
            content_type: reference.and_then(|r| r.content_type.clone()),
            risk: reference.and_then(|r| r.risk),
            metadata: reference.and_then(|r| r.metadata.clone()),
            payload: (!kept.is_empty()).then(|| STANDARD.encode(kept)),
            truncated,
            source: position(&origin.ticket),
            source_timestamp: origin.timestamp,
            time: time.to_owned(),
        }
    }

    /// A name-based UUID (RFC 9562, version 5) of the item and the bundle. It includes the id and
    /// the timestamp, because a recreated or truncated topic uses the same offsets again. For an item
    /// that is sent again, it is the id of the first time.
    fn flag_id(&self, id: &str, origin: &Origin) -> String {
        let BundleName { name, version } = &self.bundle;
        let first = origin.headers.iter().find(|header| header.key == ORIGIN_HEADER);
        let first = first.and_then(|header| std::str::from_utf8(header.value.as_deref()?).ok());
        let here = || origin_of(&position(&origin.ticket), origin.timestamp);
        let place = first.map_or_else(here, str::to_owned);
        let text = format!("kafka:{place}/{id}#{name}@{version}");
        Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()).to_string()
    }
}

/// The position of an item as text, as in [`ORIGIN_HEADER`]: `topic/partition/offset@timestamp`, with
/// the timestamp in milliseconds since 1970, or -1.
pub fn origin_of(source: &SourcePosition, timestamp: Option<i64>) -> String {
    let SourcePosition { topic, partition, offset } = source;
    format!("{topic}/{partition}/{offset}@{}", timestamp.unwrap_or(-1))
}

/// The name of a verdict in records and metrics.
pub fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Flagged(_) => "flagged",
        Verdict::Cleared => "cleared",
        Verdict::Failed(_) => "failed",
    }
}

/// The start of a text, at most [`TEXT_KEPT`] bytes.
fn cut(text: &str) -> String {
    start(text, TEXT_KEPT)
}

/// The start of a text, at most `bytes` bytes and an ellipsis.
fn start(text: &str, bytes: usize) -> String {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > bytes) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The frames of an animation. `None` for a still image.
fn animated(file: &ImageFile) -> Option<u32> {
    (file.frames > 1).then_some(file.frames)
}

fn position(ticket: &Ticket) -> SourcePosition {
    SourcePosition {
        topic: ticket.topic().to_owned(),
        partition: ticket.partition(),
        offset: ticket.offset(),
    }
}

fn uri(reference: &Reference) -> Option<String> {
    match &reference.location {
        Location::Uri(uri) => Some(uri.clone()),
        Location::Inline(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::item::Header;
    use crate::offsets::Tracker;

    fn verdict(offset: i64) -> ItemVerdict<Item> {
        let ticket = Tracker::new("images".into(), 3).take(offset).unwrap();
        let received = Instant::now();
        let origin = Origin { ticket, headers: vec![], key: None, timestamp: Some(7), received };
        let reference =
            Reference::from_json(br#"{"id":"a","uri":"/a.png","metadata":{"album":7}}"#).unwrap();
        let payload = Item::new(reference, origin);
        let (verdict, confirm_score) = (Verdict::Cleared, Some(0.4));
        ItemVerdict {
            payload,
            verdict,
            tests: 4,
            rounds: 3,
            score: 0.9,
            arity: 1,
            audited: false,
            exit: None,
            confirm_score,
        }
    }

    fn records(version: &str) -> Records {
        let bundle = BundleName { name: "fashion-bag".into(), version: version.into() };
        Records { bundle, labels: vec!["bag".into(), "hat".into()] }
    }

    #[test]
    fn a_flag_lists_labels_by_falling_score() {
        let flag = records("1").flag(&verdict(5), &[(0, 0.7), (1, 0.9)], "2026-01-01T00:00:00Z");
        assert_eq!((flag.label.as_str(), flag.score, flag.labels.len()), ("hat", 0.9, 2));
        assert_eq!(flag.source, SourcePosition { topic: "images".into(), partition: 3, offset: 5 });
        assert_eq!((flag.id.as_str(), flag.uri.as_deref(), flag.tests), ("a", Some("/a.png"), 4));
        assert_eq!(flag.confirm_score, Some(0.4));
        assert_eq!(flag.metadata.unwrap()["album"], 7);
    }

    #[test]
    fn a_flag_id_depends_only_on_the_item_and_the_bundle() {
        let id = |version: &str, offset, time: &str| {
            records(version).flag(&verdict(offset), &[(0, 0.7)], time).flag_id
        };
        assert_eq!(id("1", 5, "now"), id("1", 5, "later"));
        assert_ne!(id("1", 5, "now"), id("1", 6, "now"));
        assert_ne!(id("1", 5, "now"), id("2", 5, "now"));
        let mut recreated = verdict(5);
        recreated.payload.origin.timestamp = Some(8);
        let other = records("1").flag(&recreated, &[(0, 0.7)], "now").flag_id;
        assert_ne!(id("1", 5, "now"), other, "another record at the same offset");
        let mut again = verdict(6);
        let origin = origin_of(&position(&verdict(5).payload.origin.ticket), Some(7));
        assert_eq!(origin, "images/3/5@7");
        let value = Some(origin.into_bytes());
        again.payload.origin.headers = vec![Header { key: ORIGIN_HEADER.into(), value }];
        let again = records("1").flag(&again, &[(0, 0.7)], "now").flag_id;
        assert_eq!(id("1", 5, "now"), again, "an item that is sent again");
    }

    #[test]
    fn a_dead_letter_has_the_reason_and_the_payload() {
        let origin = verdict(5).payload.origin;
        let failure = Failure::new(Reason::Malformed, "no id");
        let record = records("1").dead_letter(&origin, None, &vec![b'x'; 100_000], &failure, "now");
        assert_eq!(
            (record.reason.as_str(), record.detail.as_str(), record.id),
            ("malformed", "no id", None)
        );
        assert_eq!(STANDARD.decode(record.payload.unwrap()).unwrap().len(), PAYLOAD_KEPT);
        let failure = Failure::new(Reason::NotFound, "é".repeat(TEXT_KEPT));
        assert!(
            records("1").dead_letter(&origin, None, &[], &failure, "now").detail.len()
                <= TEXT_KEPT + '…'.len_utf8()
        );
    }
}
