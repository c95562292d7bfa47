//! `planning`: how the worker chooses plans.

use dorfman_core::policy::MAX_GROUP;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// How the worker chooses plans with `group.size: auto`. With a fixed size, `prevalence`,
/// `recall_loss` and `recall_price` are still used to choose the exits (`exits.mode: auto`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PlanningConfig {
    /// The first estimate of the share of positive images, used until there are enough verdicts. It
    /// is also the risk of an image whose message has no risk.
    pub prevalence: f64,
    /// Share of all positive images that exits and pooling together may miss in addition to
    /// individual testing, by the calibration of the bundle.
    pub recall_loss: f64,
    /// What losing positive images costs: a plan that misses a share x more of all positive images
    /// must save at least `recall_price` times x of the cost of individual testing. With 1, missing
    /// another 0.5 % must save at least 0.5 % of that cost. 0: the cheapest plan within
    /// `recall_loss`.
    pub recall_price: f64,
    /// Images per group, at most; 1 to 64. `engine.slots` must not be smaller.
    pub largest: usize,
    /// Rounds, at most. A round is one test and the retests that follow from it; an image waits for
    /// its verdict through all rounds.
    pub rounds: usize,
    /// The memory of the estimate of the prevalence, in images: the weight of an image falls to 1/e
    /// after this many images.
    pub memory: u64,
    /// How much cheaper another plan must be, as a share of the cost of the present plan, before it
    /// replaces the present plan.
    pub gain: f64,
}

impl Default for PlanningConfig {
    fn default() -> Self {
        Self {
            prevalence: 0.001,
            recall_loss: 0.01,
            recall_price: 1.0,
            largest: 32,
            rounds: 4,
            memory: 100_000,
            gain: 0.03,
        }
    }
}

impl PlanningConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let share = |key: &str, value: f64, least: &str, ok: bool| {
            let what = format!("is {value}, must be {least} and below 1");
            require(ok && value < 1.0, key, what)
        };
        let (prevalence, recall_loss, gain) = (self.prevalence, self.recall_loss, self.gain);
        share("planning.prevalence", prevalence, "above 0", prevalence > 0.0)?;
        share("planning.recall_loss", recall_loss, "at least 0", recall_loss >= 0.0)?;
        share("planning.gain", gain, "at least 0", gain >= 0.0)?;
        let price = self.recall_price;
        let what = format!("is {price}, must be a finite number of at least 0, such as 1");
        require(price >= 0.0 && price.is_finite(), "planning.recall_price", what)?;
        let most = format!("is {}, must be 1 to {MAX_GROUP}", self.largest);
        require((1..=MAX_GROUP).contains(&self.largest), "planning.largest", most)?;
        require(
            (1..=8).contains(&self.rounds),
            "planning.rounds",
            format!("is {}, must be 1 to 8", self.rounds),
        )?;
        require(
            self.memory >= 1000,
            "planning.memory",
            format!("is {}, must be at least 1000", self.memory),
        )
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
        assert_eq!(wrong(PlanningConfig { recall_price: -1.0, ..good() }), "planning.recall_price");
        assert_eq!(wrong(PlanningConfig { largest: 65, ..good() }), "planning.largest");
        assert_eq!(wrong(PlanningConfig { rounds: 0, ..good() }), "planning.rounds");
        assert_eq!(wrong(PlanningConfig { memory: 10, ..good() }), "planning.memory");
        assert_eq!(wrong(PlanningConfig { gain: f64::NAN, ..good() }), "planning.gain");
    }
}
