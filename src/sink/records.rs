//! Creates the records about items (pure).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dorfman_core::engine::{ItemVerdict, NetworkPart, Verdict};
use uuid::Uuid;

use super::message::{
    BundleName, DeadLetterRecord, FlagRecord, LabelScore, ORIGIN_HEADER, PAYLOAD_KEPT,
    SourcePosition, VerdictRecord, cut, origin_of, start,
};
use crate::failure::Failure;
use crate::item::{ImageFile, Item, Origin};
use crate::message::{Location, Reference};
use crate::offsets::Ticket;

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

/// The name of a verdict in records and metrics.
pub fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Flagged(_) => "flagged",
        Verdict::Cleared => "cleared",
        Verdict::Failed(_) => "failed",
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

    use super::super::message::TEXT_KEPT;
    use super::*;
    use crate::failure::Reason;
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
    fn the_records_of_an_animation_name_the_frame() {
        let mut animated = verdict(5);
        animated.payload.file = ImageFile { frames: 12, frame: 8, incomplete: true };
        let flag = records("1").flag(&animated, &[(0, 0.7)], "now");
        assert_eq!((flag.frame, flag.frames, flag.incomplete), (Some(8), Some(12), true));
        let record = records("1").verdict(&animated, "now");
        assert_eq!((record.frame, record.frames, record.incomplete), (Some(8), Some(12), true));
        let still = serde_json::to_value(records("1").verdict(&verdict(5), "now")).unwrap();
        assert!(["frame", "frames", "incomplete"].iter().all(|key| still.get(key).is_none()));
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
