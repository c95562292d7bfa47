//! YAML and environment to a [`Config`].

use serde_json::{Map, Value};

use super::{Config, ConfigError};

/// What an override's name starts with: `DORFMAN_GROUP__SIZE=8` sets `group.size`.
pub const ENVIRONMENT_PREFIX: &str = "DORFMAN_";

/// Tables whose keys are librdkafka's: in the environment `_` stands for their dots.
const PROPERTY_TABLES: &[&str] = &["properties"];

pub(super) fn read(yaml: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
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
    let value: Value = serde_yaml_ng::from_str(yaml).map_err(|e| ConfigError::new(".", format!("is no YAML: {e}")))?;
    match value {
        Value::Null => Ok(Value::Object(Map::new())),
        Value::Object(_) => Ok(value),
        _ => Err(ConfigError::new(".", "must be sections with keys, such as `group:` with `size: 16` below it")),
    }
}

/// `DORFMAN_GROUP__SIZE` is `group.size`. A name without `__` is none of ours: Kubernetes sets `DORFMAN_SERVICE_HOST` and the like.
fn key(name: &str) -> Option<String> {
    let rest = name.strip_prefix(ENVIRONMENT_PREFIX)?;
    rest.contains("__").then(|| rest.to_lowercase())
}

/// A value from the environment, read as YAML: numbers, booleans, lists in brackets; anything else is a string.
fn scalar(text: &str) -> Value {
    serde_yaml_ng::from_str(text).ok().filter(|v: &Value| !v.is_null() || text == "null").unwrap_or_else(|| text.into())
}

fn set(tree: &mut Value, path: &str, text: &str, schema: &Value) -> Result<(), ConfigError> {
    let mut parts: Vec<String> = path.split("__").map(str::to_owned).collect();
    if let Some(at) = parts.iter().position(|p| PROPERTY_TABLES.contains(&p.as_str())) {
        let property = parts.split_off(at + 1).join("_").replace('_', ".");
        parts.push(property);
    }
    let dotted = parts.join(".");
    // A text is taken as it stands, so that neither a password nor a number in it is read as YAML.
    let value = if is_text(schema, &parts) { text.into() } else { scalar(text) };
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

/// Whether a key holds a text: a librdkafka property, or what the schema says is a string.
fn is_text(schema: &Value, parts: &[String]) -> bool {
    let [section, key, rest @ ..] = parts else { return false };
    if !rest.is_empty() {
        return PROPERTY_TABLES.contains(&key.as_str());
    }
    let name =
        schema["properties"][section]["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")).unwrap_or_default();
    schema["$defs"][name]["properties"][key]["type"] == "string"
}

fn not_a_section(path: &str) -> ConfigError {
    ConfigError::new(path, "set by the environment, but what is above it in the file is no section")
}

fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> ConfigError {
    let what = error.inner().to_string();
    let mut key = error.path().to_string();
    // serde reports an unknown key at its section; the key itself is what people look for.
    if let Some(unknown) = what.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next())
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
    fn the_environment_wins_over_the_file() {
        let c =
            parse("group: {size: 16}", &[("DORFMAN_GROUP__SIZE", "8"), ("DORFMAN_GROUP__MAX_WAIT", "50ms")]).unwrap();
        assert_eq!(c.group.size, GroupSize::Of(8));
        assert_eq!(c.group.max_wait.as_millis(), 50);
    }

    #[test]
    fn a_size_is_a_number_or_auto() {
        assert_eq!(parse("group: {size: auto}", &[]).unwrap().group.size, GroupSize::Auto);
        assert_eq!(parse("", &[("DORFMAN_GROUP__SIZE", "auto")]).unwrap().group.size, GroupSize::Auto);
        let e = parse("group: {size: many}", &[]).unwrap_err();
        assert!(e.key == "group.size" && e.what.contains("1 to 64, or auto"), "{e}");
    }

    #[test]
    fn lists_and_properties_can_be_set_from_the_environment() {
        let env = [("DORFMAN_RETEST__CHAIN", "[8, 2]"), ("DORFMAN_KAFKA__PROPERTIES__SASL_PASSWORD", "x")];
        let c = parse("", &env).unwrap();
        assert_eq!(c.retest.chain, [8, 2]);
        assert_eq!(c.kafka.properties["sasl.password"], "x");
    }

    #[test]
    fn texts_are_taken_as_they_stand() {
        let env = [
            ("DORFMAN_KAFKA__PROPERTIES__SASL_PASSWORD", "abc #1"),
            ("DORFMAN_SINK__PROPERTIES__LINGER_MS", "5"),
            ("DORFMAN_KAFKA__GROUP_ID", "2024"),
        ];
        let c = parse("source: {properties: {session.timeout.ms: 45000, check.crcs: true}}", &env).unwrap();
        assert_eq!(c.kafka.properties["sasl.password"], "abc #1");
        assert_eq!((c.sink.properties["linger.ms"].as_str(), c.kafka.group_id.as_str()), ("5", "2024"));
        assert_eq!(
            (c.source.properties["session.timeout.ms"].as_str(), c.source.properties["check.crcs"].as_str()),
            ("45000", "true")
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_those_that_exist() {
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
    fn what_kubernetes_sets_is_left_alone() {
        assert!(
            parse("", &[("DORFMAN_SERVICE_HOST", "10.0.0.1"), ("DORFMAN_PORT_9464_TCP", "tcp://10.0.0.1")]).is_ok()
        );
    }
}
