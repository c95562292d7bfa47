//! References to images: from the bytes of a Kafka record to a [`Reference`], or a [`Failure`]
//! (pure).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use data_url::DataUrl;
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

/// The JSON form of a reference in the topic. Other fields are ignored, unless the configuration has
/// `source.strict`.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
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

/// The fields of a reference as a message has them.
pub(crate) type Fields = ReferenceMessage;

impl Reference {
    /// Reads the JSON form ([`ReferenceMessage`]). Unknown fields are ignored.
    ///
    /// # Errors
    /// [`Reason::Malformed`], with what is wrong and where.
    pub fn from_json(payload: &[u8]) -> Result<Self, Failure> {
        let malformed = |detail: String| Failure::new(Reason::Malformed, detail);
        parse_own(payload).map_err(malformed).and_then(Self::new)
    }

    /// Checks the fields of a message.
    ///
    /// # Errors
    /// [`Reason::Malformed`], with what is wrong.
    pub(crate) fn new(message: Fields) -> Result<Self, Failure> {
        let malformed = |detail: String| Failure::new(Reason::Malformed, detail);
        check_id(&message.id).map_err(|what| malformed(format!("`id` {what}")))?;
        if let Some(risk) = message.risk
            && !(0.0..=1.0).contains(&risk)
        {
            return Err(malformed(format!("`risk` is {risk}; it must be 0 to 1")));
        }
        let location = match (message.uri, message.data) {
            // As browsers do, white space around a URI is ignored.
            (Some(uri), None) => located(uri.trim_matches(|c| c <= ' ')).map_err(malformed)?,
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

/// The location of a URI. The bytes of a `data:` URI (RFC 2397) are in the message.
fn located(uri: &str) -> Result<Location, String> {
    let data = uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    if !data {
        return Ok(Location::Uri(uri.to_owned()));
    }
    let malformed = |what: String| format!("`uri` is a `data:` URI, and {what}");
    let url = DataUrl::process(uri).map_err(|e| malformed(format!("{e:?}")))?;
    let (bytes, _) = url.decode_to_vec().map_err(|_| malformed("not base64".into()))?;
    Ok(Location::Inline(bytes.into()))
}

/// Reads the worker's own form. In `metadata`, lone surrogates are replaced, as in [`parse`]; elsewhere
/// the message is refused.
fn parse_own(payload: &[u8]) -> Result<ReferenceMessage, String> {
    let error = match serde_json::from_slice(payload) {
        Ok(message) => return Ok(message),
        Err(error) => error.to_string(),
    };
    let Some(mended) = without_lone_surrogates(payload) else { return Err(error) };
    let Ok(message) = serde_json::from_slice::<ReferenceMessage>(&mended) else {
        return Err(error);
    };
    let strings = [Some(&message.id), message.uri.as_ref(), message.data.as_ref()];
    let replaced = strings.into_iter().flatten().any(|text| text.contains('\u{FFFD}'));
    if replaced { Err(error) } else { Ok(message) }
}

/// Reads JSON. JavaScript and Java can write half of a surrogate pair into a string, which is not
/// Unicode. It becomes U+FFFD.
pub(crate) fn parse(payload: &[u8]) -> Result<serde_json::Value, String> {
    serde_json::from_slice(payload).or_else(|error| {
        let mended = without_lone_surrogates(payload);
        let read = mended.and_then(|mended| serde_json::from_slice(&mended).ok());
        read.ok_or_else(|| error.to_string())
    })
}

/// A JSON text with U+FFFD instead of lone surrogates. `None` if there are none.
fn without_lone_surrogates(json: &[u8]) -> Option<Vec<u8>> {
    let mut mended = json.to_vec();
    let (mut at, mut found) = (0, false);
    while at < mended.len() {
        at += match (mended[at], surrogate(&mended[at..]), mended.get(at + 6..).and_then(surrogate))
        {
            (_, Some(Half::First), Some(Half::Second)) => 12,
            (_, Some(_), _) => {
                mended[at + 2..at + 6].copy_from_slice(b"fffd");
                found = true;
                6
            }
            // The character behind a backslash is not the start of an escape.
            (b'\\', None, _) => 2,
            _ => 1,
        };
    }
    found.then_some(mended)
}

/// A half of a surrogate pair.
enum Half {
    First,
    Second,
}

/// The half of a surrogate pair that a text starts with, as an escape such as `\ud83d`.
fn surrogate(text: &[u8]) -> Option<Half> {
    let digits = std::str::from_utf8(text.strip_prefix(b"\\u")?.get(..4)?).ok()?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xD800..=0xDBFF => Some(Half::First),
        0xDC00..=0xDFFF => Some(Half::Second),
        _ => None,
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
    fn the_bytes_of_a_data_uri_are_in_the_message() {
        for uri in ["data:image/png;base64,cGl4ZWxz", "DATA:;base64,cGl4 ZWxz", "data:,pixels"] {
            let message = serde_json::to_vec(&ReferenceMessage::uri("a", uri)).unwrap();
            let r = Reference::from_json(&message).unwrap();
            assert_eq!(r.location, Location::Inline(Bytes::from_static(b"pixels")), "{uri}");
        }
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert!(Reference::from_json(br#"{"id":"a","uri":"x","more":{}}"#).is_ok());
    }

    #[test]
    fn lone_surrogates_in_metadata_are_replaced() {
        let text = r#"{"id":"a","uri":"x","metadata":{"a":"\ud83dx","b":"\ude00\\ud83d","c":"\ud83d\ude00"}}"#;
        let metadata = Reference::from_json(text.as_bytes()).unwrap().metadata.unwrap();
        assert_eq!(metadata["a"], "\u{FFFD}x");
        assert_eq!(metadata["b"], "\u{FFFD}\\ud83d", "a backslash and five letters");
        assert_eq!(metadata["c"], "\u{1F600}");
        let id = Reference::from_json(br#"{"id":"\ud83d","uri":"x"}"#).unwrap_err();
        assert!(id.detail.contains("surrogate") || id.detail.contains("escape"), "{}", id.detail);
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
            (br#"{"id":"a","uri":"data:image/png"}"#, "`data:` URI"),
            (br#"{"id":"a","uri":"data:;base64,!"}"#, "not base64"),
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
