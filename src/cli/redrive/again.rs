//! What is sent to the source topic again for a dead letter (pure, over messages of the client
//! library).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rdkafka::message::{Headers, Message, OwnedMessage};

use crate::message::ReferenceMessage;
use crate::sink::message::DeadLetterRecord;

/// A message that is sent again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Again {
    pub key: Option<Vec<u8>>,
    pub payload: Vec<u8>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Again {
    /// The same message again.
    pub fn of_message(message: &OwnedMessage) -> Self {
        Self {
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().unwrap_or_default().to_vec(),
            headers: headers(message),
        }
    }

    /// A message with what a dead letter says. `None` if that is not enough.
    pub fn of_dead_letter(letter: &OwnedMessage, record: &DeadLetterRecord) -> Option<Self> {
        if record.truncated {
            return None;
        }
        let headers = headers(letter);
        if let Some(payload) = &record.payload {
            return Some(Self { key: None, payload: STANDARD.decode(payload).ok()?, headers });
        }
        let id = record.id.clone()?;
        let reference = ReferenceMessage {
            content_type: record.content_type.clone(),
            risk: record.risk,
            metadata: record.metadata.clone(),
            ..ReferenceMessage::uri(&*id, record.uri.clone()?)
        };
        let payload = serde_json::to_vec(&reference).ok()?;
        Some(Self { key: Some(id.into_bytes()), payload, headers })
    }
}

fn headers(message: &OwnedMessage) -> Vec<(String, Option<Vec<u8>>)> {
    let Some(headers) = message.headers() else { return Vec::new() };
    let all = headers.iter();
    all.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;

    use super::*;
    use crate::failure::Reason;
    use crate::sink::message::SourcePosition;

    fn record(reason: Reason) -> DeadLetterRecord {
        DeadLetterRecord {
            id: Some("a".into()),
            reason: reason.code().into(),
            detail: "".into(),
            uri: Some("/a.png".into()),
            risk: Some(0.5),
            content_type: None,
            metadata: None,
            payload: None,
            truncated: false,
            source: SourcePosition { topic: "images".into(), partition: 3, offset: 7 },
            source_timestamp: Some(12),
            time: "".into(),
        }
    }

    fn letter() -> OwnedMessage {
        OwnedMessage::new(None, None, "dead".into(), Timestamp::NotAvailable, 0, 0, None)
    }

    #[test]
    fn a_reference_is_made_from_a_dead_letter() {
        let again = Again::of_dead_letter(&letter(), &record(Reason::NotFound)).unwrap();
        assert_eq!(again.key.as_deref(), Some(&b"a"[..]));
        let text = String::from_utf8(again.payload).unwrap();
        assert_eq!(text, r#"{"id":"a","uri":"/a.png","risk":0.5}"#);
        let cut = DeadLetterRecord { truncated: true, ..record(Reason::NotFound) };
        assert_eq!(Again::of_dead_letter(&letter(), &cut), None);
        let inline = DeadLetterRecord { uri: None, ..record(Reason::Undecodable) };
        assert_eq!(Again::of_dead_letter(&letter(), &inline), None);
    }

    #[test]
    fn a_malformed_message_is_sent_again_as_it_was() {
        let malformed =
            DeadLetterRecord { payload: Some(STANDARD.encode(b"{")), ..record(Reason::Malformed) };
        let again = Again::of_dead_letter(&letter(), &malformed).unwrap();
        assert_eq!(again.payload, b"{");
    }
}
