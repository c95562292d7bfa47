//! Reads a [`Config`] from YAML and the environment.

use serde_json::{Map, Value};

use super::{Config, ConfigError};

/// The prefix of environment variables that set keys: `DORFMAN_GROUP__SIZE=8` sets `group.size`.
pub const ENVIRONMENT_PREFIX: &str = "DORFMAN_";

/// Tables of librdkafka properties. In the environment, `_` stands for the dots of a property.
const PROPERTY_TABLES: &[&str] = &["properties"];

pub(super) fn read(
    yaml: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut tree = tree(yaml)?;
    let mut overrides: Vec<(String, String)> =
        environment.filter_map(|(name, value)| Some((key(&name)?, value))).collect();
    overrides.sort();
    let schema = Config::schema();
    for (path, value) in &overrides {
        set(&mut tree, path, value, &schema)?;
    }
    serde_path_to_error::deserialize(tree).map_err(|e| explain(&e))
}

fn tree(yaml: &str) -> Result<Value, ConfigError> {
    if yaml.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
        return Ok(Value::Object(Map::new()));
    }
    let value: Value = serde_yaml_ng::from_str(yaml)
        .map_err(|e| ConfigError::new(".", format!("is not YAML: {e}")))?;
    match value {
        Value::Null => Ok(Value::Object(Map::new())),
        Value::Object(_) => Ok(value),
        _ => Err(ConfigError::new(
            ".",
            "must be sections with keys, such as `group:` with `size: 16` below it",
        )),
    }
}

/// The key of a variable: `DORFMAN_GROUP__SIZE` sets `group.size`. `None` for a name without `__`,
/// such as `DORFMAN_SERVICE_HOST`, which Kubernetes sets.
fn key(name: &str) -> Option<String> {
    let rest = name.strip_prefix(ENVIRONMENT_PREFIX)?;
    rest.contains("__").then(|| rest.to_lowercase())
}

/// A value from the environment, read as YAML: a number, a boolean, a list in brackets, or else a
/// string.
fn scalar(text: &str) -> Value {
    serde_yaml_ng::from_str(text)
        .ok()
        .filter(|v: &Value| !v.is_null() || text == "null")
        .unwrap_or_else(|| text.into())
}

fn set(tree: &mut Value, path: &str, text: &str, schema: &Value) -> Result<(), ConfigError> {
    let mut parts: Vec<String> = path.split("__").map(str::to_owned).collect();
    if let Some(at) = parts.iter().position(|p| PROPERTY_TABLES.contains(&p.as_str())) {
        let property = parts.split_off(at + 1).join("_").replace('_', ".");
        parts.push(property);
    }
    let dotted = parts.join(".");
    // A string is not parsed as YAML: a password may look like YAML.
    let value = if is_string(schema, &parts) { text.into() } else { scalar(text) };
    let mut node = tree;
    let last = parts.pop().unwrap_or_default();
    for part in &parts {
        let Value::Object(map) = node else { return Err(not_a_section(&dotted)) };
        node = map.entry(part.clone()).or_insert_with(|| Value::Object(Map::new()));
    }
    let Value::Object(map) = node else { return Err(not_a_section(&dotted)) };
    map.insert(last, value);
    Ok(())
}

/// Whether the value of a key is a string: a librdkafka property, or a string by the schema.
fn is_string(schema: &Value, parts: &[String]) -> bool {
    let [section, key, rest @ ..] = parts else { return false };
    if !rest.is_empty() {
        return PROPERTY_TABLES.contains(&key.as_str());
    }
    let name = schema["properties"][section]["$ref"]
        .as_str()
        .and_then(|r| r.strip_prefix("#/$defs/"))
        .unwrap_or_default();
    schema["$defs"][name]["properties"][key]["type"] == "string"
}

fn not_a_section(path: &str) -> ConfigError {
    ConfigError::new(path, "is set by the environment, but its parent in the file is not a section")
}

fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> ConfigError {
    let what = error.inner().to_string();
    let mut key = error.path().to_string();
    // serde names the section of an unknown key; people look for the key.
    if let Some(unknown) =
        what.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next())
        && !key.ends_with(unknown)
    {
        key = if key == "." { unknown.to_owned() } else { format!("{key}.{unknown}") };
    }
    ConfigError::new(key, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::group::GroupSize;

    fn parse(yaml: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        read(yaml, environment.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())))
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let c = parse(
            "group: {size: 16}",
            &[("DORFMAN_GROUP__SIZE", "8"), ("DORFMAN_GROUP__MAX_WAIT", "50ms")],
        )
        .unwrap();
        assert_eq!(c.group.size, GroupSize::Fixed(8));
        assert_eq!(c.group.max_wait.as_millis(), 50);
    }

    #[test]
    fn a_size_is_a_number_or_auto() {
        assert_eq!(parse("group: {size: auto}", &[]).unwrap().group.size, GroupSize::Auto);
        assert_eq!(
            parse("", &[("DORFMAN_GROUP__SIZE", "auto")]).unwrap().group.size,
            GroupSize::Auto
        );
        let e = parse("group: {size: many}", &[]).unwrap_err();
        assert!(e.key == "group.size" && e.what.contains("1 to 64, or auto"), "{e}");
    }

    #[test]
    fn lists_and_properties_can_be_set_from_the_environment() {
        let env = [
            ("DORFMAN_RETEST__CHAIN", "[8, 2]"),
            ("DORFMAN_KAFKA__PROPERTIES__SASL_PASSWORD", "x"),
        ];
        let c = parse("", &env).unwrap();
        assert_eq!(c.retest.chain, [8, 2]);
        assert_eq!(c.kafka.properties["sasl.password"], "x");
    }

    #[test]
    fn strings_from_the_environment_are_not_parsed() {
        let env = [
            ("DORFMAN_KAFKA__PROPERTIES__SASL_PASSWORD", "abc #1"),
            ("DORFMAN_SINK__PROPERTIES__LINGER_MS", "5"),
            ("DORFMAN_KAFKA__GROUP_ID", "2024"),
        ];
        let c = parse("source: {properties: {session.timeout.ms: 45000, check.crcs: true}}", &env)
            .unwrap();
        assert_eq!(c.kafka.properties["sasl.password"], "abc #1");
        assert_eq!(
            (c.sink.properties["linger.ms"].as_str(), c.kafka.group_id.as_str()),
            ("5", "2024")
        );
        assert_eq!(
            (
                c.source.properties["session.timeout.ms"].as_str(),
                c.source.properties["check.crcs"].as_str()
            ),
            ("45000", "true")
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_the_known_keys() {
        let e = parse("group: {sise: 16}", &[]).unwrap_err();
        assert_eq!(e.key, "group.sise");
        assert!(e.what.contains("`size`"), "{}", e.what);
        assert_eq!(parse("gruop: {}", &[]).unwrap_err().key, "gruop");
        assert_eq!(parse("", &[("DORFMAN_GROUP__SISE", "1")]).unwrap_err().key, "group.sise");
    }

    #[test]
    fn a_wrong_type_is_named() {
        let e = parse("group: {size: many}", &[]).unwrap_err();
        assert_eq!(e.key, "group.size");
        assert!(e.what.contains("many"), "{}", e.what);
        assert!(parse("- a", &[]).unwrap_err().what.contains("sections"));
        assert!(parse("a: [", &[]).unwrap_err().what.contains("YAML"));
    }

    #[test]
    fn variables_of_kubernetes_are_ignored() {
        assert!(
            parse(
                "",
                &[
                    ("DORFMAN_SERVICE_HOST", "10.0.0.1"),
                    ("DORFMAN_PORT_9464_TCP", "tcp://10.0.0.1")
                ]
            )
            .is_ok()
        );
    }
}
