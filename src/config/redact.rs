//! The configuration without its secrets.

use serde::Serialize;
use serde_json::Value;

/// Words in the name of a key whose value is a secret.
const SECRETS: &[&str] = &[
    "password",
    "secret",
    "token",
    "jaas",
    "ssl.key.pem",
    "credential",
    "oauthbearer.config",
    "passphrase",
    "private.key",
    "ssl_key",
];

pub(super) fn yaml(config: &impl Serialize) -> String {
    let Ok(mut tree) = serde_json::to_value(config) else { return String::new() };
    redact(&mut tree);
    serde_yaml_ng::to_string(&tree).unwrap_or_default()
}

fn redact(node: &mut Value) {
    let Value::Object(map) = node else { return };
    for (key, value) in map.iter_mut() {
        let secret = SECRETS.iter().any(|s| key.to_lowercase().contains(s));
        if secret && !value.is_null() {
            *value = "***".into();
        }
        redact(value);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn secrets_are_replaced() {
        let mut config = Config::default();
        config.kafka.properties.insert("sasl.password".into(), "hunter2".into());
        config.kafka.properties.insert("sasl.username".into(), "worker".into());
        let text = config.redacted();
        assert!(!text.contains("hunter2") && text.contains("***") && text.contains("worker"));
    }
}
