//! The configuration: one YAML file; the environment can override every key.
//!
//! The result is a valid [`Config`], or an error that names the key and the remedy. Unknown keys
//! are refused. This module opens no connection and no file except the configuration file.

pub mod audit;
pub mod decode;
pub mod engine;
mod example;
pub mod exits;
pub mod fetch;
pub mod group;
pub mod kafka;
mod load;
pub mod logging;
pub mod mapping;
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

use dorfman_core::planner::{PlanConstraints, ReplanRule};
use dorfman_core::policy::{Plan, PlanSpec, PolicyInputs};
use dorfman_model::{LoadOptions, Target};

/// The worker's configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The Kafka cluster.
    pub kafka: kafka::KafkaConfig,
    /// The topics of image references.
    pub source: source::SourceConfig,
    /// How the bytes of images are fetched.
    pub fetch: fetch::FetchConfig,
    /// How images are decoded.
    pub decode: decode::DecodeConfig,
    /// The screen and the early exits.
    pub exits: exits::ExitsConfig,
    /// How images are pooled into groups.
    pub group: group::GroupConfig,
    /// How a positive group is retested.
    pub retest: retest::RetestConfig,
    /// How the worker chooses plans with `group.size: auto`.
    pub planning: planning::PlanningConfig,
    /// Individual tests of some images that pooling cleared.
    pub audit: audit::AuditConfig,
    /// How tests are batched.
    pub engine: engine::EngineConfig,
    /// The network and its provider.
    pub model: model::ModelConfig,
    /// The topics of flags, verdicts and dead letters.
    pub sink: sink::SinkConfig,
    /// Health and metrics over HTTP.
    pub ops: ops::OpsConfig,
    /// The log on standard error.
    pub logging: logging::LoggingConfig,
    /// What happens on SIGTERM and SIGINT.
    pub shutdown: shutdown::ShutdownConfig,
}

/// The default of `max.poll.interval.ms` in librdkafka.
const LONGEST_POLL_MS: u64 = 300_000;

/// A key, what is wrong with its value, and the remedy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("configuration: `{key}`: {what}")]
pub struct ConfigError {
    /// The key, as `section.key`; `.` for the file as a whole.
    pub key: String,
    /// What is wrong, and the remedy.
    pub what: String,
}

impl ConfigError {
    /// An error at a key.
    pub fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into() }
    }
}

impl Config {
    /// Reads a file, applies the environment (`DORFMAN_SECTION__KEY`), and validates the result.
    ///
    /// # Errors
    /// [`ConfigError`] for the first key that is wrong.
    pub fn load(
        file: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|e| ConfigError::new(".", format!("cannot read {}: {e}", file.display())))?;
        Self::parse(&text, environment)
    }

    /// Like [`Config::load`], from the text of a file.
    ///
    /// # Errors
    /// [`ConfigError`] for the first key that is wrong.
    pub fn parse(
        yaml: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let config = load::read(yaml, environment)?;
        config.validate()?;
        Ok(config)
    }

    /// Checks what the types do not guarantee.
    ///
    /// # Errors
    /// [`ConfigError`] for the first key that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.kafka.validate()?;
        self.source.validate()?;
        self.fetch.validate()?;
        self.decode.validate()?;
        self.exits.validate()?;
        self.group.validate()?;
        self.planning.validate()?;
        self.validate_policy()?;
        self.audit.validate()?;
        self.validate_slots()?;
        self.model.validate()?;
        self.sink.validate()?;
        self.ops.validate()?;
        self.logging.validate()?;
        self.shutdown.validate()?;
        self.validate_together()
    }

    fn validate_policy(&self) -> Result<(), ConfigError> {
        let auto = self.group.size == GroupSize::Auto;
        let plannable = !matches!(self.retest.policy, PolicyKind::OneRound | PolicyKind::Planned);
        let what = "cannot be used with `group.size: auto`; \
            set `group.size` to a number, or the policy to multi-round";
        require(!auto || plannable, "retest.policy", what)?;
        self.retest.validate(self.group.size.fixed_or(self.planning.largest))
    }

    fn validate_slots(&self) -> Result<(), ConfigError> {
        let (key, size) = match self.group.size {
            GroupSize::Auto => ("planning.largest", self.planning.largest),
            GroupSize::Fixed(size) => ("group.size", size),
        };
        let waiting = self.group.waiting(self.fixed_size().unwrap_or(size));
        self.engine.validate(key, size, waiting.max(size))
    }

    /// Checks what concerns several sections.
    fn validate_together(&self) -> Result<(), ConfigError> {
        for (key, topic) in self.sink.topics() {
            let what = "is also in `source.topic`: the worker would read its own records again; \
                use another topic";
            require(self.source.topic.names().all(|read| read != topic), key, what)?;
        }
        // An image waits at most `fetch.deadline` for its host, and is fetched within as much.
        let slowest = self.fetch.deadline * 2;
        let what = format!("must be above {slowest:?}, twice `fetch.deadline`");
        require(self.ops.stalled_after > slowest, "ops.stalled_after", what)?;
        let what = "must be below `ops.stalled_after`: a group that waits longer than that counts \
            as a stall, and the worker would be restarted";
        require(self.group.max_wait < self.ops.stalled_after, "group.max_wait", what)?;
        let longest = self.longest_poll();
        let what = format!("must be below {longest:?}, the consumer's `max.poll.interval.ms`");
        require(self.source.drain < longest, "source.drain", what)
    }

    /// What is allowed, but is often a mistake.
    pub fn warnings(&self) -> Vec<String> {
        let key = "auto.offset.reset";
        let skips = |reset: &&str| matches!(*reset, "latest" | "largest" | "end");
        let latest = self.consumer_property(key).filter(skips).map(|reset| {
            format!(
                "`source.properties.{key}` is {reset}: messages that arrive before the consumer \
                 group has committed an offset get no verdict; use earliest, unless these messages \
                 may be skipped"
            )
        });
        latest.into_iter().collect()
    }

    /// The longest time that the consumer may spend between two polls.
    fn longest_poll(&self) -> Duration {
        let given = self.consumer_property("max.poll.interval.ms");
        let given = given.and_then(|value| value.parse().ok());
        Duration::from_millis(given.unwrap_or(LONGEST_POLL_MS))
    }

    /// A librdkafka property of the consumer, if it is configured.
    fn consumer_property(&self, key: &str) -> Option<&str> {
        let given = self.source.properties.get(key).or(self.kafka.properties.get(key));
        given.map(String::as_str)
    }

    /// The parameters of the configured plan. `None` if the worker chooses the plan.
    pub fn plan_spec(&self) -> Option<PlanSpec> {
        self.fixed_size().map(|size| self.retest.spec(size))
    }

    /// The risk of an image whose message has none, 0 to 1: `retest.prior` with the policy planned,
    /// or else `planning.prevalence`.
    pub fn default_risk(&self) -> f64 {
        match self.plan_spec() {
            Some(spec) if spec.policy.needs_inputs() => self.retest.prior,
            _ => self.planning.prevalence,
        }
    }

    /// The configured plan. `None` if the worker chooses the plan. `inputs` is needed where the
    /// policy needs a calibration.
    ///
    /// # Errors
    /// [`ConfigError`] at the key of the first parameter that does not fit.
    pub fn plan(
        &self,
        inputs: Option<&PolicyInputs>,
    ) -> Result<Option<Box<dyn Plan>>, ConfigError> {
        let build = |spec: PlanSpec| spec.build(inputs).map_err(retest::plan_error);
        self.plan_spec().map(build).transpose()
    }

    /// The configured plan in words, such as `16 > 4 > 1`, or `auto`.
    ///
    /// # Errors
    /// As [`Config::plan`].
    pub fn describe_plan(&self) -> Result<String, ConfigError> {
        match self.plan_spec() {
            None => Ok("auto".into()),
            Some(spec) => spec.describe().map_err(retest::plan_error),
        }
    }

    /// The group size. `None` if the worker chooses it. 1 with `retest.policy: individual`.
    pub fn fixed_size(&self) -> Option<usize> {
        match self.group.size {
            _ if self.retest.policy == PolicyKind::Individual => Some(1),
            GroupSize::Auto => None,
            GroupSize::Fixed(size) => Some(size),
        }
    }

    /// The constraints on plans that the worker chooses.
    pub fn constraints(&self) -> PlanConstraints {
        PlanConstraints {
            individual_sensitivity: self.retest.individual_sensitivity,
            recall_loss: self.planning.recall_loss,
            recall_price: self.planning.recall_price,
            largest: self.planning.largest,
            rounds: self.planning.rounds,
        }
    }

    /// When the worker replaces a plan that it chose.
    pub fn replan_rule(&self) -> ReplanRule {
        let planning = &self.planning;
        ReplanRule {
            prevalence: planning.prevalence,
            memory: planning.memory as f64,
            gain: planning.gain,
        }
    }

    /// Where and how the network is loaded.
    pub fn load_options(&self) -> LoadOptions {
        let model = &self.model;
        LoadOptions {
            target: Target {
                provider: model.provider,
                device: model.device,
                engine_cache: model.engine_cache.clone(),
            },
            allow_cpu: model.allow_cpu,
            threads: model.threads,
            library: model.onnxruntime.clone(),
            slots: self.engine.slots,
        }
    }

    /// The configuration as YAML without its secrets, for the log.
    pub fn redacted(&self) -> String {
        redact::yaml(self)
    }

    /// Every key with its default and description, as a commented YAML file.
    pub fn example() -> String {
        example::yaml()
    }

    /// The JSON Schema of the file.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Config).to_value()
    }
}

/// An error at `key` unless `ok`. `what` names the problem and the remedy.
pub(crate) fn require(ok: bool, key: &str, what: impl Into<String>) -> Result<(), ConfigError> {
    if ok { Ok(()) } else { Err(ConfigError::new(key, what)) }
}
