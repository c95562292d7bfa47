//! The commented example, made from the defaults and the doc comments, so that it can't lie.

use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

use super::Config;

/// Width to which comments are wrapped.
const WIDTH: usize = 110;

/// Every key with its default and what it means, as YAML.
pub(super) fn yaml() -> String {
    let schema = Config::schema();
    let mut out = String::from(HEAD);
    let Ok(Yaml::Mapping(sections)) = serde_yaml_ng::to_value(Config::default()) else { return out };
    for (name, section) in sections {
        let (Some(name), Yaml::Mapping(keys)) = (name.as_str(), section) else { continue };
        let property = &schema["properties"][name];
        out.push('\n');
        comment(&mut out, "", text(property));
        out.push_str(&format!("{name}:\n"));
        let section = resolve(&schema, property);
        for (key, value) in keys {
            let Some(key) = key.as_str() else { continue };
            let property = &section["properties"][key];
            comment(&mut out, "  ", &describe(&schema, property));
            out.push_str(&format!("  {key}: {}\n", flow(&value)));
        }
    }
    out
}

const HEAD: &str = "\
# Every key of the worker's configuration with its default; made by `dorfman schema example`.
# The environment overrides any of them: DORFMAN_GROUP__SIZE=8 sets group.size, and
# DORFMAN_KAFKA__PROPERTIES__SASL_PASSWORD sets the property sasl.password.
";

/// A property's description and, for an enumeration, what its values mean.
fn describe(schema: &Value, property: &Value) -> String {
    let mut all = text(property).to_owned();
    let Some(values) = resolve(schema, property)["oneOf"].as_array() else { return all };
    for value in values {
        if let Some(name) = value["const"].as_str().filter(|_| !text(value).is_empty()) {
            all.push_str(&format!("\n  {name}: {}", text(value)));
        }
    }
    all
}

fn text(property: &Value) -> &str {
    property["description"].as_str().unwrap_or_default()
}

/// The definition behind a property's `$ref`, or the property itself.
fn resolve<'a>(schema: &'a Value, property: &'a Value) -> &'a Value {
    let name = property["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/"));
    name.map_or(property, |name| &schema["$defs"][name])
}

/// A value on one line.
fn flow(value: &Yaml) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn comment(out: &mut String, indent: &str, text: &str) {
    // The doc comment's own line breaks are those of the source; a line that begins with spaces is an item of a list.
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut() {
            Some(last) if !line.starts_with(' ') => last.push_str(&format!(" {}", line.trim())),
            _ => lines.push(line.to_owned()),
        }
    }
    for line in lines {
        let hang = if line.starts_with(' ') { "    " } else { "" };
        for (i, part) in wrap(&line, WIDTH - indent.len() - 2 - hang.len()).into_iter().enumerate() {
            let hang = if i > 0 { hang } else { "" };
            out.push_str(format!("{indent}# {hang}{part}").trim_end());
            out.push('\n');
        }
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![text.chars().take_while(|c| *c == ' ').collect::<String>()];
    for word in text.split_whitespace() {
        let last =
            lines.last_mut().filter(|l| l.trim().is_empty() || l.chars().count() + 1 + word.chars().count() <= width);
        match last {
            Some(line) if line.trim().is_empty() => line.push_str(word),
            Some(line) => line.push_str(&format!(" {word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}
