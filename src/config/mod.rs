//! One YAML file, every key overridable by the environment.
//!
//! In: a file and the environment. Out: a [`Config`] that is whole and valid, or an error that names the key and what would be right.
//! Unknown keys are refused; nothing here opens a connection or another file.

pub mod audit;
pub mod decode;
pub mod engine;
mod example;
pub mod fetch;
pub mod group;
pub mod kafka;
mod load;
pub mod logging;
pub mod model;
pub mod ops;
pub mod planning;
mod redact;
pub mod retest;
pub mod shutdown;
pub mod sink;
pub mod source;

use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use group::GroupSize;
pub use load::ENVIRONMENT_PREFIX;
use retest::PolicyKind;
use sink::SinkConfig;

use crate::planner::{Steering, Wanted};
use crate::retest::{Knowledge, Plan};

/// The worker's configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The brokers and how to reach them.
    pub kafka: kafka::KafkaConfig,
    /// Where image references come from.
    pub source: source::SourceConfig,
    /// How an image's bytes are fetched.
    pub fetch: fetch::FetchConfig,
    /// How bytes become a tensor.
    pub decode: decode::DecodeConfig,
    /// How items are pooled.
    pub group: group::GroupConfig,
    /// How a positive group is resolved.
    pub retest: retest::RetestConfig,
    /// What `group.size: auto` goes by, and the planned policy's prevalence.
    pub planning: planning::PlanningConfig,
    /// A second look at some of what pooling clears.
    pub audit: audit::AuditConfig,
    /// How tests are batched.
    pub engine: engine::EngineConfig,
    /// The network.
    pub model: model::ModelConfig,
    /// Where flags, verdicts and dead letters go.
    pub sink: sink::SinkConfig,
    /// Health and metrics.
    pub ops: ops::OpsConfig,
    /// The log.
    pub logging: logging::LoggingConfig,
    /// The way out.
    pub shutdown: shutdown::ShutdownConfig,
}

/// A key and what is wrong with it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("configuration: `{key}`: {what}")]
pub struct ConfigError {
    /// The key, as `section.key`; `.` for the file as a whole.
    pub key: String,
    /// What is wrong and what would be right.
    pub what: String,
}

impl ConfigError {
    /// An error at a key.
    pub fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into() }
    }
}

impl Config {
    /// Reads a file, lays the environment (`DORFMAN_SECTION__KEY`) over it, and validates the whole.
    ///
    /// # Errors
    /// [`ConfigError`] for the first key that is wrong.
    pub fn load(file: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|e| ConfigError::new(".", format!("can't read {}: {e}", file.display())))?;
        Self::parse(&text, environment)
    }

    /// The same from the file's text.
    ///
    /// # Errors
    /// [`ConfigError`] for the first key that is wrong.
    pub fn parse(yaml: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let config = load::read(yaml, environment)?;
        config.validate()?;
        Ok(config)
    }

    /// Checks what types can't say.
    ///
    /// # Errors
    /// [`ConfigError`] for the first key that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.kafka.validate()?;
        self.source.validate()?;
        self.fetch.validate()?;
        self.decode.validate()?;
        self.group.validate()?;
        let (key, size) = match self.group.size {
            GroupSize::Auto => ("planning.largest", self.planning.largest),
            GroupSize::Of(size) => ("group.size", size),
        };
        self.planning.validate()?;
        let chains = "is nothing that `group.size: auto` plans by; give `group.size` a number, or take multi-round";
        let planned = self.group.size == GroupSize::Auto;
        let plannable = !self.retest.policy.looks_ahead() && self.retest.policy != PolicyKind::OneRound;
        require(!planned || plannable, "retest.policy", chains)?;
        let one = "is nested, which goes by one prevalence; with `group.risk_bands` take another policy";
        let nested = self.retest.policy == PolicyKind::Nested;
        require(!nested || self.group.risk_bands.is_empty(), "retest.policy", one)?;
        self.retest.validate(size)?;
        self.audit.validate()?;
        self.engine.validate(key, size, self.group.waiting(self.fixed_size().unwrap_or(size)).max(size))?;
        self.model.validate()?;
        self.sink.validate()?;
        self.ops.validate()?;
        self.logging.validate()?;
        self.shutdown.validate()?;
        self.validate_together()
    }

    /// Checks what no section can say alone.
    fn validate_together(&self) -> Result<(), ConfigError> {
        let SinkConfig { flagged_topic, verdicts_topic, dead_letter_topic, .. } = &self.sink;
        for (key, topic) in [
            ("sink.flagged_topic", Some(flagged_topic)),
            ("sink.verdicts_topic", verdicts_topic.as_ref()),
            ("sink.dead_letter_topic", Some(dead_letter_topic)),
        ] {
            let loops = topic == Some(&self.source.topic);
            require(!loops, key, "is the source's own topic; what is published would be read again, without end")?;
        }
        let slowest = (self.fetch.timeout + Duration::from_secs(10)) * self.fetch.attempts;
        let what = format!("must be above {slowest:?}, the longest that a fetch may take, tries included");
        require(self.ops.stalled_after > slowest, "ops.stalled_after", what)
    }

    /// The plan by `group` and `retest`; none where it is the worker's to make. `known` as in [`retest::RetestConfig::plan`].
    ///
    /// # Errors
    /// [`ConfigError`] as [`retest::RetestConfig::plan`].
    pub fn plan(&self, known: Option<&Knowledge>) -> Result<Option<Box<dyn Plan>>, ConfigError> {
        match self.fixed_size() {
            None => Ok(None),
            Some(size) => self.retest.plan(size, known).map(Some),
        }
    }

    /// That plan in words.
    ///
    /// # Errors
    /// As [`Config::plan`].
    pub fn plan_in_words(&self) -> Result<String, ConfigError> {
        match self.fixed_size() {
            None => Ok("auto".into()),
            Some(size) => self.retest.describe(size),
        }
    }

    /// The group size; none if the worker chooses it. With `retest.policy: individual` there are no groups.
    pub fn fixed_size(&self) -> Option<usize> {
        match self.group.size {
            _ if self.retest.policy == PolicyKind::Individual => Some(1),
            GroupSize::Auto => None,
            GroupSize::Of(size) => Some(size),
        }
    }

    /// What plans that the worker makes must keep to.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            individual_sensitivity: self.retest.individual_sensitivity,
            recall_loss: self.planning.recall_loss,
            largest: self.planning.largest,
            rounds: self.planning.rounds,
        }
    }

    /// How the worker changes plans.
    pub fn steering(&self) -> Steering {
        let planning = &self.planning;
        Steering { prevalence: planning.prevalence, memory: planning.memory as f64, gain: planning.gain }
    }

    /// The configuration as YAML with every secret blotted out, for the log.
    pub fn redacted(&self) -> String {
        redact::yaml(self)
    }

    /// Every key with its default and its meaning, as a commented YAML file.
    pub fn example() -> String {
        example::yaml()
    }

    /// The JSON Schema of the file.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Config).to_value()
    }
}

/// An error unless `ok`.
pub(crate) fn require(ok: bool, key: &str, what: impl Into<String>) -> Result<(), ConfigError> {
    if ok { Ok(()) } else { Err(ConfigError::new(key, what)) }
}
