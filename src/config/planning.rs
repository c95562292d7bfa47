//! `planning`: what `group.size: auto` goes by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};
use crate::retest::MAX_GROUP;

/// What `group.size: auto` goes by. `prevalence` is also what `retest.policy: planned` and `nested` go by, and the risk of an image that brings
/// none; else nothing of it counts without auto.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PlanningConfig {
    /// Share of positives to begin with, until enough verdicts tell more; for `retest.policy: planned` and `nested`, the prior.
    pub prevalence: f64,
    /// Share of all positives that pooling may miss beyond what individual testing misses, by the bundle's calibration.
    pub recall_loss: f64,
    /// Images in a first-round test at most, 1 to 64; `engine.slots` must hold as many.
    pub largest: usize,
    /// Rounds at most; an image waits for its verdict through all of them.
    pub rounds: usize,
    /// How many images the estimate of the prevalence remembers: what is so long past counts 1/e of the newest.
    pub memory: u64,
    /// How much cheaper another plan must be, as a share of the present one's cost, before it takes over.
    pub gain: f64,
}

impl Default for PlanningConfig {
    fn default() -> Self {
        Self { prevalence: 0.001, recall_loss: 0.005, largest: 32, rounds: 4, memory: 100_000, gain: 0.03 }
    }
}

impl PlanningConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let share = |key: &str, value: f64, low: bool| {
            let what = format!("is {value}, must be below 1 and {}", if low { "above 0" } else { "not below 0" });
            require((value > 0.0 || (value == 0.0 && !low)) && value < 1.0, key, what)
        };
        share("planning.prevalence", self.prevalence, true)?;
        share("planning.recall_loss", self.recall_loss, false)?;
        share("planning.gain", self.gain, false)?;
        let most = format!("is {}, must be 1 to {MAX_GROUP}", self.largest);
        require((1..=MAX_GROUP).contains(&self.largest), "planning.largest", most)?;
        require((1..=8).contains(&self.rounds), "planning.rounds", format!("is {}, must be 1 to 8", self.rounds))?;
        require(self.memory >= 1000, "planning.memory", format!("is {}, must be at least 1000", self.memory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_name_their_key() {
        let wrong = |c: PlanningConfig| c.validate().unwrap_err().key;
        let good = PlanningConfig::default;
        assert!(good().validate().is_ok());
        assert_eq!(wrong(PlanningConfig { prevalence: 0.0, ..good() }), "planning.prevalence");
        assert_eq!(wrong(PlanningConfig { recall_loss: -0.1, ..good() }), "planning.recall_loss");
        assert_eq!(wrong(PlanningConfig { largest: 65, ..good() }), "planning.largest");
        assert_eq!(wrong(PlanningConfig { rounds: 0, ..good() }), "planning.rounds");
        assert_eq!(wrong(PlanningConfig { memory: 10, ..good() }), "planning.memory");
        assert_eq!(wrong(PlanningConfig { gain: f64::NAN, ..good() }), "planning.gain");
    }
}
