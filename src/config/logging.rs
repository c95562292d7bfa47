//! `logging`: the log on standard error.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// The format of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The log on standard error.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoggingConfig {
    /// The format of log lines.
    pub format: LogFormat,
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or tracing directives such as
    /// `info,dorfman::source=debug`.
    pub level: String,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info,ort=warn".into() }
    }
}

impl LoggingConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let directives = self.level.parse::<tracing_subscriber::filter::Targets>().is_ok();
        require(
            directives && !self.level.is_empty(),
            "logging.level",
            "must be a level such as info, or directives such as info,dorfman::source=debug",
        )
    }
}
