//! The records that the worker publishes (pure).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::failure::Reason;

/// Bytes of a payload that its dead letter repeats, at most.
pub(super) const PAYLOAD_KEPT: usize = 64 * 1024;

/// Bytes of a detail that a dead letter repeats, at most. It may contain a malformed URI of any length.
pub(super) const TEXT_KEPT: usize = 2048;

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

/// The position of an item as text, as in [`ORIGIN_HEADER`]: `topic/partition/offset@timestamp`, with
/// the timestamp in milliseconds since 1970, or -1.
pub fn origin_of(source: &SourcePosition, timestamp: Option<i64>) -> String {
    let SourcePosition { topic, partition, offset } = source;
    format!("{topic}/{partition}/{offset}@{}", timestamp.unwrap_or(-1))
}

/// The start of a text, at most [`TEXT_KEPT`] bytes.
pub(super) fn cut(text: &str) -> String {
    start(text, TEXT_KEPT)
}

/// The start of a text, at most `bytes` bytes and an ellipsis.
pub(super) fn start(text: &str, bytes: usize) -> String {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > bytes) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
