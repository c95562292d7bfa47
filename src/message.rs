//! References to images: from the bytes of a Kafka record to a [`Reference`], or a [`Failure`]
//! (pure).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Reason};

/// One image reference: an id, where the bytes are, and what the sender knows about the image.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The sender's name for the image, copied to every record about it.
    pub id: String,
    /// Where the bytes are.
    pub location: Location,
    /// The sender's media type. It is not used: the format is detected from the bytes.
    pub content_type: Option<String>,
    /// Prior probability (0 to 1) that the image is positive, as the sender estimates it.
    pub risk: Option<f32>,
    /// Free fields, copied to the flag unchanged.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Where the bytes of an image are.
#[derive(Debug, Clone, PartialEq)]
pub enum Location {
    /// In the message itself.
    Inline(Bytes),
    /// At a URI: `file:`, `http:` or `https:`, or a bare path.
    Uri(String),
}

/// The JSON form of a reference in the topic. Unknown fields are refused, so that a misspelt `risk`
/// is noticed.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceMessage {
    /// The sender's name for the image.
    pub id: String,
    /// Where the image is. Exactly one of `uri` and `data` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The bytes of the image in base64 (standard alphabet, padded).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The media type. Not used: the format is detected from the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Prior probability that the image is positive, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<f32>,
    /// Copied to the flag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

impl ReferenceMessage {
    /// A message that names an image by URI.
    pub fn uri(id: impl Into<String>, uri: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            uri: Some(uri.into()),
            data: None,
            content_type: None,
            risk: None,
            metadata: None,
        }
    }

    /// A message that carries the image.
    pub fn inline(id: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            id: id.into(),
            uri: None,
            data: Some(STANDARD.encode(bytes)),
            content_type: None,
            risk: None,
            metadata: None,
        }
    }
}

impl Reference {
    /// Reads the JSON form ([`ReferenceMessage`]).
    ///
    /// # Errors
    /// [`Reason::Malformed`], with what is wrong and where.
    pub fn from_json(payload: &[u8]) -> Result<Self, Failure> {
        let malformed = |detail: String| Failure::new(Reason::Malformed, detail);
        let message: ReferenceMessage =
            serde_json::from_slice(payload).map_err(|e| malformed(e.to_string()))?;
        check_id(&message.id).map_err(|what| malformed(format!("`id` {what}")))?;
        if let Some(risk) = message.risk
            && !(0.0..=1.0).contains(&risk)
        {
            return Err(malformed(format!("`risk` is {risk}; it must be 0 to 1")));
        }
        let location = match (message.uri, message.data) {
            // As browsers do, white space around a URI is ignored.
            (Some(uri), None) => Location::Uri(uri.trim_matches(|c| c <= ' ').to_owned()),
            (None, Some(data)) => {
                let bytes = STANDARD
                    .decode(data)
                    .map_err(|e| malformed(format!("`data` is not base64: {e}")))?;
                Location::Inline(bytes.into())
            }
            (Some(_), Some(_)) => {
                return Err(malformed(
                    "both `uri` and `data` are given; only one is allowed".into(),
                ));
            }
            (None, None) => return Err(malformed("neither `uri` nor `data` is given".into())),
        };
        Ok(Self {
            id: message.id,
            location,
            content_type: message.content_type,
            risk: message.risk,
            metadata: message.metadata,
        })
    }

    /// Reads the raw form: the payload is the image, the key is its id.
    ///
    /// # Errors
    /// [`Reason::Malformed`] if the key is missing, empty or not UTF-8, or if there is no payload.
    pub fn from_raw(key: Option<&[u8]>, payload: &[u8]) -> Result<Self, Failure> {
        let malformed = |detail: &str| Failure::new(Reason::Malformed, detail);
        let key = key
            .filter(|k| !k.is_empty())
            .ok_or_else(|| malformed("a raw image needs its id as the record's key"))?;
        let id =
            std::str::from_utf8(key).map_err(|_| malformed("the record's key is not UTF-8"))?;
        check_id(id).map_err(|what| malformed(&format!("the record's key {what}")))?;
        if payload.is_empty() {
            return Err(malformed("the record has no payload"));
        }
        Ok(Self {
            id: id.to_owned(),
            location: Location::Inline(Bytes::copy_from_slice(payload)),
            content_type: None,
            risk: None,
            metadata: None,
        })
    }
}

/// The longest id, in bytes. The id is the key of every record about the item.
const LONGEST_ID: usize = 1024;

fn check_id(id: &str) -> Result<(), String> {
    match id.len() {
        0 => Err("is empty".into()),
        1..=LONGEST_ID => Ok(()),
        n => Err(format!("is {n} bytes long; at most {LONGEST_ID} are allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_with_a_uri_is_read() {
        let r = Reference::from_json(
            br#"{"id":"a","uri":"file:///x.png","risk":0.5,"metadata":{"album":7}}"#,
        )
        .unwrap();
        assert_eq!(r.id, "a");
        assert_eq!(r.location, Location::Uri("file:///x.png".into()));
        assert_eq!(r.risk, Some(0.5));
        assert_eq!(r.metadata.unwrap()["album"], 7);
    }

    #[test]
    fn white_space_around_a_uri_is_ignored() {
        let r = Reference::from_json(br#"{"id":"a","uri":"\t https://x.org/a b.png\n"}"#).unwrap();
        assert_eq!(r.location, Location::Uri("https://x.org/a b.png".into()));
    }

    #[test]
    fn json_with_inline_data_is_read() {
        let message = serde_json::to_vec(&ReferenceMessage::inline("a", b"pixels")).unwrap();
        let r = Reference::from_json(&message).unwrap();
        assert_eq!(r.location, Location::Inline(Bytes::from_static(b"pixels")));
    }

    #[test]
    fn a_malformed_message_is_named() {
        for (payload, word) in [
            (&b"{"[..], "EOF"),
            (br#"{"uri":"x"}"#, "id"),
            (br#"{"id":"","uri":"x"}"#, "`id` is empty"),
            (format!(r#"{{"id":"{}","uri":"x"}}"#, "a".repeat(1025)).as_bytes(), "at most 1024"),
            (br#"{"id":"a"}"#, "neither"),
            (br#"{"id":"a","uri":"x","data":"eA=="}"#, "both"),
            (br#"{"id":"a","data":"!"}"#, "base64"),
            (br#"{"id":"a","uri":"x","risk":2}"#, "must be 0 to 1"),
            (br#"{"id":"a","uri":"x","rsik":1}"#, "rsik"),
        ] {
            let failure = Reference::from_json(payload).unwrap_err();
            assert_eq!(failure.reason, Reason::Malformed);
            assert!(failure.detail.contains(word), "{} lacks {word}", failure.detail);
        }
    }

    #[test]
    fn a_raw_image_needs_a_key() {
        assert!(Reference::from_raw(None, b"x").is_err());
        assert!(Reference::from_raw(Some(b""), b"x").is_err());
        assert!(Reference::from_raw(Some(b"k"), b"").is_err());
        assert_eq!(Reference::from_raw(Some(b"k"), b"x").unwrap().id, "k");
    }
}
