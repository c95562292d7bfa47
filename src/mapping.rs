//! From the payload, the key and the headers of a Kafka record to a [`Reference`], by the places of a
//! configuration (pure).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::config::mapping::{MappingConfig, Place};
use crate::config::source::{Format, SourceConfig};
use crate::failure::{Failure, Reason};
use crate::item::Header;
use crate::message::{Fields, Reference};

/// A Kafka record, as the consumer reads it.
#[derive(Debug, Clone, Copy)]
pub struct RawMessage<'a> {
    /// The key, if the record has one.
    pub key: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [Header],
    /// The payload.
    pub payload: &'a [u8],
}

/// How references are read from messages.
#[derive(Debug, Clone)]
pub enum Form {
    /// From the fields of JSON.
    Json(Box<Mapping>),
    /// The payload is the image, the key is its id.
    Raw,
}

impl Form {
    /// The form of the messages of a configuration.
    pub fn new(config: &SourceConfig) -> Self {
        match config.format {
            Format::Json => {
                Self::Json(Box::new(Mapping::new(config.mapping.as_ref(), config.strict)))
            }
            Format::Raw => Self::Raw,
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Reason::Malformed`], with what is wrong and where.
    pub fn reference(&self, message: RawMessage<'_>) -> Result<Reference, Failure> {
        match self {
            Self::Json(mapping) => mapping.reference(message),
            Self::Raw => Reference::from_raw(message.key, message.payload),
        }
    }
}

/// Reads references from JSON messages.
#[derive(Debug, Clone)]
pub struct Mapping {
    config: MappingConfig,
    /// Whether the places are those of the worker's own form, and unknown fields are tolerated. Such
    /// messages are read directly.
    own: bool,
    /// The members of the payload that are known. `None`: all are.
    known: Option<BTreeSet<String>>,
}

impl Mapping {
    /// A mapping by the places of `config`, or of the worker's own form. `strict`: members of the payload
    /// at its top level that no place names are refused.
    pub fn new(config: Option<&MappingConfig>, strict: bool) -> Self {
        let own = config.is_none() && !strict;
        let config = config.cloned().unwrap_or_default();
        let known = strict.then(|| config.places().filter_map(member).collect());
        Self { config, own, known }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Reason::Malformed`], with what is wrong and where.
    pub fn reference(&self, message: RawMessage<'_>) -> Result<Reference, Failure> {
        if self.own {
            return Reference::from_json(message.payload);
        }
        let malformed = |detail: String| Failure::new(Reason::Malformed, detail);
        self.fields(message).map_err(malformed).and_then(Reference::new)
    }

    fn fields(&self, message: RawMessage<'_>) -> Result<Fields, String> {
        let payload = if self.reads_payload() {
            crate::message::parse(message.payload)?
        } else {
            Value::Null
        };
        self.check_members(&payload)?;
        let MappingConfig { id, uri, data, content_type, risk, metadata } = &self.config;
        let found = |place: &Place| find(place, &payload, message);
        let text = |place: &Option<Place>| match place {
            None => Ok(None),
            Some(place) => found(place)?.map(|value| text(place, value)).transpose(),
        };
        let id = match found(id)? {
            Some(Value::Number(number)) => number.to_string(),
            Some(value) => self::text(id, value)?,
            None => return Err(format!("`{id}` is missing; `source.mapping` reads the id there")),
        };
        Ok(Fields {
            id,
            uri: text(uri)?,
            data: text(data)?,
            content_type: text(content_type)?,
            risk: match risk {
                None => None,
                Some(place) => found(place)?.map(|value| number(place, &value)).transpose()?,
            },
            metadata: match metadata {
                None => None,
                Some(place) => found(place)?.map(|value| object(place, value)).transpose()?,
            },
        })
    }

    /// Whether any field is in the payload, which is otherwise not read.
    fn reads_payload(&self) -> bool {
        self.known.is_some() || self.config.places().any(|place| matches!(place, Place::Pointer(_)))
    }

    /// Refuses unknown members, if the mapping is strict.
    fn check_members(&self, payload: &Value) -> Result<(), String> {
        let (Some(known), Some(members)) = (&self.known, payload.as_object()) else {
            return Ok(());
        };
        match members.keys().find(|name| !known.contains(*name)) {
            Some(name) if !known.contains("") => {
                Err(format!("unknown field `{name}`; `source.strict` refuses it"))
            }
            _ => Ok(()),
        }
    }
}

/// The member of the payload that a place is in. Empty for the whole payload.
fn member(place: &Place) -> Option<String> {
    let Place::Pointer(pointer) = place else { return None };
    let first = pointer.split('/').nth(1).unwrap_or_default();
    Some(first.replace("~1", "/").replace("~0", "~"))
}

/// The value at a place. `None` if there is none, or if it is null.
fn find(place: &Place, payload: &Value, message: RawMessage<'_>) -> Result<Option<Value>, String> {
    let utf8 = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).map_err(|_| format!("`{place}` is not UTF-8"))?;
        Ok(Some(Value::from(text)))
    };
    match place {
        Place::Pointer(pointer) => {
            Ok(payload.pointer(pointer).filter(|value| !value.is_null()).cloned())
        }
        Place::Header(name) => {
            let header = message.headers.iter().rfind(|header| header.key == *name);
            header.and_then(|header| header.value.as_deref()).map_or(Ok(None), utf8)
        }
        Place::Key => message.key.map_or(Ok(None), utf8),
    }
}

fn text(place: &Place, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(format!("`{place}` is not a string")),
    }
}

fn number(place: &Place, value: &Value) -> Result<f32, String> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.map(|number| number as f32).ok_or_else(|| format!("`{place}` is not a number"))
}

fn object(place: &Place, value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(format!("`{place}` is not an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Location;

    fn read(yaml: &str, strict: bool, message: RawMessage<'_>) -> Result<Reference, String> {
        let config: MappingConfig = serde_yaml_ng::from_str(yaml).unwrap();
        Mapping::new(Some(&config), strict).reference(message).map_err(|failure| failure.detail)
    }

    fn plain(payload: &str) -> RawMessage<'_> {
        RawMessage { key: None, headers: &[], payload: payload.as_bytes() }
    }

    #[test]
    fn fields_are_read_where_a_company_puts_them() {
        let payload =
            r#"{"event":{"upload":{"id":42,"where":" https://x.org/a.png"},"album":7},"p":"0.25"}"#;
        let yaml = "{id: /event/upload/id, uri: /event/upload/where, risk: /p, metadata: /event}";
        let reference = read(yaml, false, plain(payload)).unwrap();
        assert_eq!((reference.id.as_str(), reference.risk), ("42", Some(0.25)));
        assert_eq!(reference.location, Location::Uri("https://x.org/a.png".into()));
        assert_eq!(reference.metadata.unwrap()["album"], 7);
    }

    #[test]
    fn a_structured_cloud_event_is_read() {
        let payload = r#"{"specversion":"1.0","id":"A234","source":"/uploads","type":"org.example.uploaded",
            "datacontenttype":"application/json","data":{"url":"/mnt/a.png"}}"#;
        let reference =
            read("{id: /id, uri: /data/url, metadata: ''}", false, plain(payload)).unwrap();
        assert_eq!(
            (reference.id.as_str(), reference.location),
            ("A234", Location::Uri("/mnt/a.png".into()))
        );
        assert_eq!(reference.metadata.unwrap()["type"], "org.example.uploaded");
    }

    #[test]
    fn headers_and_the_key_are_read() {
        let header = |key: &str, value: &str| Header { key: key.into(), value: Some(value.into()) };
        let headers = [header("ce_id", "old"), header("ce_id", "A234"), header("risk", "0.5")];
        let message =
            RawMessage { key: Some(b"upload-7"), headers: &headers, payload: br#"{"url":"/a"}"# };
        let reference =
            read("{id: 'header:ce_id', uri: /url, risk: 'header:risk'}", false, message).unwrap();
        assert_eq!((reference.id.as_str(), reference.risk), ("A234", Some(0.5)));
        assert_eq!(read("{id: key, uri: /url}", false, message).unwrap().id, "upload-7");
        let missing = read("{id: 'header:other', uri: /url}", false, message).unwrap_err();
        assert!(missing.contains("`header:other` is missing"), "{missing}");
    }

    /// The examples of docs/input.md: a mapping, the headers if there are any, and a message.
    #[test]
    fn the_documented_examples_are_read() {
        let page = include_str!("../docs/input.md");
        let section =
            page.split("\n## ").find(|s| s.starts_with("Messages of other forms")).unwrap();
        let blocks =
            section.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap());
        let (mut config, mut headers, mut read) = (SourceConfig::default(), Vec::new(), Vec::new());
        for (language, block) in blocks {
            match language {
                "yaml" => {
                    let yaml: serde_json::Value = serde_yaml_ng::from_str(block).unwrap();
                    config = serde_json::from_value(yaml["source"].clone()).unwrap();
                    config.validate().unwrap();
                    headers.clear();
                }
                "text" => {
                    let header = |line: &str| {
                        let (key, value) = line.split_once(": ").unwrap();
                        Header { key: key.into(), value: Some(value.into()) }
                    };
                    headers = block.lines().map(header).collect();
                }
                "json" => {
                    let message =
                        RawMessage { key: None, headers: &headers, payload: block.as_bytes() };
                    read.push(Form::new(&config).reference(message).unwrap());
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!(read.len(), 3);
        for reference in read {
            assert_eq!(reference.id, "upload-1");
            let location = Location::Uri("https://images.example.org/1.jpg".into());
            assert_eq!(reference.location, location);
        }
    }

    #[test]
    fn unknown_members_are_refused_only_if_strict() {
        let payload = r#"{"id":"a","uri":"/a","more":1,"risk":null}"#;
        let own = |strict| Mapping::new(None, strict).reference(plain(payload));
        assert_eq!(own(false).unwrap().id, "a");
        assert!(own(true).unwrap_err().detail.contains("unknown field `more`"));
        let known = r#"{"id":"a","uri":"/a","metadata":{"more":1}}"#;
        let (strict, lenient) = (Mapping::new(None, true), Mapping::new(None, false));
        assert_eq!(strict.reference(plain(known)), lenient.reference(plain(known)));
        assert!(read("{id: /id, uri: /uri, metadata: ''}", true, plain(payload)).is_ok());
        let nested = read(
            "{id: /a~1b/id, uri: /a~1b/uri}",
            true,
            plain(r#"{"a/b":{"id":"1","uri":"/x","y":2}}"#),
        );
        assert_eq!(nested.unwrap().id, "1", "only the top level is checked");
    }

    #[test]
    fn a_wrong_field_is_named_by_its_place() {
        for (yaml, payload, word) in [
            ("{id: /a/id, uri: /u}", r#"{"u":"/x"}"#, "`/a/id` is missing"),
            ("{id: /id, uri: /u}", r#"{"id":"a","u":7}"#, "`/u` is not a string"),
            ("{id: /id, uri: /u}", r#"{"id":[],"u":"/x"}"#, "`/id` is not a string"),
            (
                "{id: /id, uri: /u, risk: /r}",
                r#"{"id":"a","u":"/x","r":"high"}"#,
                "`/r` is not a number",
            ),
            ("{id: /id, uri: /u, risk: /r}", r#"{"id":"a","u":"/x","r":7}"#, "0 to 1"),
            (
                "{id: /id, uri: /u, metadata: /m}",
                r#"{"id":"a","u":"/x","m":[]}"#,
                "`/m` is not an object",
            ),
            ("{id: /id, uri: /u}", r#"{"id":"a"}"#, "neither"),
            ("{id: /id, uri: /u}", "[", "EOF"),
        ] {
            let error = read(yaml, false, plain(payload)).unwrap_err();
            assert!(error.contains(word), "{error} lacks {word}");
        }
    }
}
