//! The records that are published (pure).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Ending, Subject};
use crate::engine::{Judged, Verdict};
use crate::message::{Failure, Location, Reference};
use crate::offsets::Ticket;
use crate::source::Origin;

/// Most bytes of a message that was no reference which its dead letter repeats.
const PAYLOAD_KEPT: usize = 64 * 1024;

/// Most bytes of a text that a dead letter repeats: a URI can be anything that a sender got wrong.
const TEXT_KEPT: usize = 2048;

/// The bundle as it stands in every record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BundleName {
    /// Its name.
    pub name: String,
    /// Its version.
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

/// A label and the score that passed its threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LabelScore {
    /// The label.
    pub label: String,
    /// Its score for the image alone, 0 to 1; of a one-round policy, the least that the image's tests gave it.
    pub score: f32,
}

/// A flag: one record in the flagged topic. Delivered at least once; `flag_id` is the same each time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlagRecord {
    /// A UUID, the same for the same item and bundle however often it is delivered.
    pub flag_id: String,
    /// The image's id, as the sender gave it.
    pub id: String,
    /// The most suspicious label.
    pub label: String,
    /// Its score.
    pub score: f32,
    /// The confirm network's score for that label; absent if the bundle has none or it is not used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confirm_score: Option<f32>,
    /// Every label that passed, the most suspicious first.
    pub labels: Vec<LabelScore>,
    /// True if pooling would have cleared it and an audit found it; absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub audit: bool,
    /// What flagged it.
    pub bundle: BundleName,
    /// How many tests the image took part in, the confirm network's among them.
    pub tests: u16,
    /// Where the reference was read.
    pub source: SourcePosition,
    /// When it was flagged, RFC 3339.
    pub time: String,
    /// The image's URI, unless it was inline.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uri: Option<String>,
    /// The sender's metadata.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata: Option<Map<String, Value>>,
}

/// A verdict of any kind: one record in the topic of all verdicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictRecord {
    /// The image's id.
    pub id: String,
    /// `flagged`, `cleared` or `failed`.
    pub verdict: String,
    /// The score of the last test it took part in, the confirm network's apart; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub score: Option<f32>,
    /// The confirm network's score, if it was asked: an image with one that is cleared all the same was positive alone, but not twice.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confirm_score: Option<f32>,
    /// How many images shared that test.
    pub arity: u8,
    /// How many tests it took part in, the confirm network's among them.
    pub tests: u16,
    /// How many rounds it took.
    pub rounds: u8,
    /// True if pooling would have cleared it and it was audited; absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub audit: bool,
    /// What judged it.
    pub bundle: BundleName,
    /// Where the reference was read.
    pub source: SourcePosition,
    /// When, RFC 3339.
    pub time: String,
}

/// An item that could not be scored: one record in the dead-letter topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterRecord {
    /// The image's id, if the message had one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// The reason code.
    pub reason: String,
    /// What exactly was wrong.
    pub detail: String,
    /// The image's URI, if it had one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uri: Option<String>,
    /// The sender's metadata.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata: Option<Map<String, Value>>,
    /// A message that was no reference, base64, its first 64 KiB.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload: Option<String>,
    /// Where the message was read.
    pub source: SourcePosition,
    /// When, RFC 3339.
    pub time: String,
}

/// Makes records.
#[derive(Debug, Clone)]
pub struct Records {
    /// The bundle.
    pub bundle: BundleName,
    /// The names of the score columns.
    pub labels: Vec<String>,
}

impl Records {
    /// The record of a flag; `passed` are the labels with their scores.
    pub fn flag(&self, judged: &Judged<Subject>, passed: &[(usize, f32)], time: &str) -> FlagRecord {
        let mut labels: Vec<LabelScore> =
            passed.iter().map(|&(column, score)| LabelScore { label: self.labels[column].clone(), score }).collect();
        labels.sort_by(|a, b| b.score.total_cmp(&a.score));
        let first = labels.first().cloned().unwrap_or(LabelScore { label: String::new(), score: judged.score });
        let Subject { reference, origin } = &judged.payload;
        FlagRecord {
            flag_id: self.flag_id(&origin.ticket),
            id: reference.id.clone(),
            label: first.label,
            score: first.score,
            confirm_score: judged.confirm_score,
            labels,
            audit: judged.audited,
            bundle: self.bundle.clone(),
            tests: judged.tests,
            source: position(&origin.ticket),
            time: time.to_owned(),
            uri: uri(reference),
            metadata: reference.metadata.clone(),
        }
    }

    /// The record of a verdict.
    pub fn verdict(&self, judged: &Judged<Subject>, time: &str) -> VerdictRecord {
        VerdictRecord {
            id: judged.payload.reference.id.clone(),
            verdict: word(&judged.verdict).to_owned(),
            score: (!judged.score.is_nan()).then_some(judged.score),
            confirm_score: judged.confirm_score,
            arity: judged.arity,
            tests: judged.tests,
            rounds: judged.rounds,
            audit: judged.audited,
            bundle: self.bundle.clone(),
            source: position(&judged.payload.origin.ticket),
            time: time.to_owned(),
        }
    }

    /// The record of an item that never reached the engine, for the topic of all verdicts.
    pub fn failed(&self, origin: &Origin, reference: Option<&Reference>, time: &str) -> VerdictRecord {
        VerdictRecord {
            id: reference.map(|r| r.id.clone()).unwrap_or_default(),
            verdict: "failed".to_owned(),
            score: None,
            confirm_score: None,
            arity: 0,
            tests: 0,
            rounds: 0,
            audit: false,
            bundle: self.bundle.clone(),
            source: position(&origin.ticket),
            time: time.to_owned(),
        }
    }

    /// The record of a dead letter.
    pub fn dead(
        &self,
        origin: &Origin,
        reference: Option<&Reference>,
        payload: &[u8],
        failure: &Failure,
        time: &str,
    ) -> DeadLetterRecord {
        let kept = &payload[..payload.len().min(PAYLOAD_KEPT)];
        DeadLetterRecord {
            id: reference.map(|r| r.id.clone()),
            reason: failure.reason.code().to_owned(),
            detail: cut(&failure.detail),
            uri: reference.and_then(uri).map(|u| cut(&u)),
            metadata: reference.and_then(|r| r.metadata.clone()),
            payload: (!kept.is_empty()).then(|| STANDARD.encode(kept)),
            source: position(&origin.ticket),
            time: time.to_owned(),
        }
    }

    /// A name-based UUID (RFC 9562, version 5) of the item's place and the bundle.
    fn flag_id(&self, t: &Ticket) -> String {
        let BundleName { name, version } = &self.bundle;
        let text = format!("kafka:{}/{}/{}#{name}@{version}", t.topic(), t.partition(), t.offset());
        Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()).to_string()
    }
}

/// A verdict in one word.
pub fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Flagged(_) => "flagged",
        Verdict::Cleared => "cleared",
        Verdict::Failed(_) => "failed",
    }
}

impl Ending {
    /// Where the item came from.
    pub fn origin(&self) -> &Origin {
        match self {
            Ending::Judged(judged) => &judged.payload.origin,
            Ending::Dead { origin, .. } => origin,
        }
    }
}

/// A text, at most [`TEXT_KEPT`] bytes of it.
fn cut(text: &str) -> String {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > TEXT_KEPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn position(ticket: &Ticket) -> SourcePosition {
    SourcePosition { topic: ticket.topic().to_owned(), partition: ticket.partition(), offset: ticket.offset() }
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
    use crate::message::Reason;
    use crate::offsets::Tracker;

    fn judged(offset: i64) -> Judged<Subject> {
        let ticket = Tracker::new("images".into(), 3, 1).take(offset).unwrap();
        let origin = Origin { ticket, headers: vec![], key: None, received: Instant::now() };
        let reference = Reference::from_json(br#"{"id":"a","uri":"/a.png","metadata":{"album":7}}"#).unwrap();
        let payload = Subject { reference, origin };
        let (verdict, confirm_score) = (Verdict::Cleared, Some(0.4));
        Judged { payload, verdict, tests: 4, rounds: 3, score: 0.9, arity: 1, audited: false, confirm_score }
    }

    fn records(version: &str) -> Records {
        let bundle = BundleName { name: "fashion-bag".into(), version: version.into() };
        Records { bundle, labels: vec!["bag".into(), "hat".into()] }
    }

    #[test]
    fn a_flag_names_every_label_the_most_suspicious_first() {
        let flag = records("1").flag(&judged(5), &[(0, 0.7), (1, 0.9)], "2026-01-01T00:00:00Z");
        assert_eq!((flag.label.as_str(), flag.score, flag.labels.len()), ("hat", 0.9, 2));
        assert_eq!(flag.source, SourcePosition { topic: "images".into(), partition: 3, offset: 5 });
        assert_eq!((flag.id.as_str(), flag.uri.as_deref(), flag.tests), ("a", Some("/a.png"), 4));
        assert_eq!(flag.confirm_score, Some(0.4));
        assert_eq!(flag.metadata.unwrap()["album"], 7);
    }

    #[test]
    fn a_flag_id_depends_on_the_item_and_the_bundle_alone() {
        let id = |version: &str, offset, time: &str| records(version).flag(&judged(offset), &[(0, 0.7)], time).flag_id;
        assert_eq!(id("1", 5, "now"), id("1", 5, "later"));
        assert_ne!(id("1", 5, "now"), id("1", 6, "now"));
        assert_ne!(id("1", 5, "now"), id("2", 5, "now"));
    }

    #[test]
    fn a_dead_letter_has_the_reason_and_what_was_sent() {
        let origin = judged(5).payload.origin;
        let failure = Failure::new(Reason::Malformed, "no id");
        let letter = records("1").dead(&origin, None, &vec![b'x'; 100_000], &failure, "now");
        assert_eq!((letter.reason.as_str(), letter.detail.as_str(), letter.id), ("malformed", "no id", None));
        assert_eq!(STANDARD.decode(letter.payload.unwrap()).unwrap().len(), PAYLOAD_KEPT);
        let failure = Failure::new(Reason::NotFound, "é".repeat(TEXT_KEPT));
        assert!(records("1").dead(&origin, None, &[], &failure, "now").detail.len() <= TEXT_KEPT + '…'.len_utf8());
    }
}
