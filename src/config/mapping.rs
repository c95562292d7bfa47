//! `source.mapping`: where the fields of a reference are in a message.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// Where a field is: a JSON Pointer, a header of the record, or its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// A JSON Pointer (RFC 6901) into the payload. The empty pointer is the whole payload.
    Pointer(String),
    /// The last header of the record with this name.
    Header(String),
    /// The key of the record.
    Key,
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.starts_with('/') {
            return Ok(Self::Pointer(text));
        }
        match text.strip_prefix("header:") {
            Some(name) if !name.is_empty() => Ok(Self::Header(name.to_owned())),
            None if text == "key" => Ok(Self::Key),
            _ => Err(format!(
                "is `{text}`, must be a JSON Pointer such as /event/id, `header:NAME`, or `key`"
            )),
        }
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Pointer(pointer) => f.write_str(pointer),
            Place::Header(name) => write!(f, "header:{name}"),
            Place::Key => f.write_str("key"),
        }
    }
}

impl JsonSchema for Place {
    fn schema_name() -> Cow<'static, str> {
        "Place".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^(/.*|header:.+|key|)$"})
    }
}

/// Where the fields of a reference are in a message. A field without a place is not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingConfig {
    /// The id of the image: a string or a number.
    pub id: Place,
    /// The URI of the image. A message must have a URI or data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<Place>,
    /// The bytes of the image in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Place>,
    /// The media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Place>,
    /// The sender's estimate of the probability that the image is positive, 0 to 1: a number, or a
    /// string with a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Place>,
    /// The object that is copied to the flag. The empty pointer copies the whole payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Place>,
}

impl Default for MappingConfig {
    /// The form of `config/reference.schema.json`.
    fn default() -> Self {
        let at = |name: &str| Place::Pointer(format!("/{name}"));
        Self {
            id: at("id"),
            uri: Some(at("uri")),
            data: Some(at("data")),
            content_type: Some(at("content_type")),
            risk: Some(at("risk")),
            metadata: Some(at("metadata")),
        }
    }
}

impl MappingConfig {
    /// The places of all fields that are read.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let others = [&self.uri, &self.data, &self.content_type, &self.risk, &self.metadata];
        std::iter::once(&self.id).chain(others.into_iter().flatten())
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let located = self.uri.is_some() || self.data.is_some();
        require(located, "source.mapping", "must say where `uri` or `data` is")?;
        let object = matches!(self.metadata, None | Some(Place::Pointer(_)));
        require(object, "source.mapping.metadata", "must be a JSON Pointer, such as /event")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_three_forms() {
        for text in ["/event/id", "", "header:ce_id", "key"] {
            assert_eq!(Place::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        for text in ["event", "header:", "Key", "$.event"] {
            let error = Place::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains("JSON Pointer"), "{error}");
        }
    }

    #[test]
    fn a_mapping_must_locate_the_image() {
        let mapping = |yaml: &str| serde_yaml_ng::from_str::<MappingConfig>(yaml);
        let key = |yaml: &str| mapping(yaml).unwrap().validate().map_err(|e| e.key);
        assert_eq!(key("{id: /a, uri: /b}"), Ok(()));
        assert_eq!(key("{id: /a}"), Err("source.mapping".into()));
        assert_eq!(key("{id: /a, uri: /b, metadata: key}"), Err("source.mapping.metadata".into()));
        assert!(mapping("{uri: /b}").is_err() && mapping("{id: /a, url: /b}").is_err());
        assert_eq!(MappingConfig::default().validate(), Ok(()));
    }
}
