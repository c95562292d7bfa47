//! `retest`: how a positive group is resolved.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};
use crate::retest::{Halving, Individual, MAX_GROUP, MultiRound, Plan};

/// How a positive group is resolved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Every image alone; `group.size` is not used.
    Individual,
    /// A positive group's members one by one.
    TwoRound,
    /// A positive group in ever smaller parts, by `retest.chain`.
    #[default]
    MultiRound,
    /// A positive group in halves, one after the other: the fewest tests, the most rounds.
    Halving,
}

/// The policy and its thresholds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetestConfig {
    /// The policy.
    pub policy: PolicyKind,
    /// Sizes of the tests after the first, falling, for `multi-round`. Sizes at or above `group.size` are skipped, and 1 always comes
    /// last: with `group.size: 16`, `[4]` means 16 > 4 > 1.
    pub chain: Vec<usize>,
    /// Share of positive groups that a test of several images must find, by the bundle's calibration; 0 to 1. Higher finds more and
    /// retests more.
    pub pooled_sensitivity: f64,
    /// Share of positives that a test of one image must find; it decides the flags.
    pub individual_sensitivity: f64,
    /// Share of positives that the bundle's confirm network must find (see `model.confirm`), by its own calibration. What it misses of what
    /// the individual test found is missed.
    pub confirm_sensitivity: f64,
}

impl Default for RetestConfig {
    fn default() -> Self {
        Self {
            policy: PolicyKind::MultiRound,
            chain: vec![4],
            pooled_sensitivity: 0.99,
            individual_sensitivity: 0.99,
            confirm_sensitivity: 0.99,
        }
    }
}

impl RetestConfig {
    pub(super) fn validate(&self, group_size: usize) -> Result<(), ConfigError> {
        let falling = self.chain.windows(2).all(|pair| pair[0] > pair[1]);
        require(falling, "retest.chain", "the sizes must fall, as in [16, 4, 1]")?;
        let sizes = self.chain.iter().all(|s| (1..=MAX_GROUP).contains(s));
        require(sizes, "retest.chain", format!("every size must be 1 to {MAX_GROUP}"))?;
        for (key, share) in [
            ("retest.pooled_sensitivity", self.pooled_sensitivity),
            ("retest.individual_sensitivity", self.individual_sensitivity),
            ("retest.confirm_sensitivity", self.confirm_sensitivity),
        ] {
            require(share > 0.0 && share < 1.0, key, format!("is {share}, must be between 0 and 1, such as 0.99"))?;
        }
        self.plan(group_size).map(|_| ())
    }

    /// The plan for groups of `size`.
    ///
    /// # Errors
    /// [`ConfigError`] at `retest.chain` if the chain is no chain.
    pub fn plan(&self, size: usize) -> Result<Box<dyn Plan>, ConfigError> {
        if size == 1 {
            return Ok(Box::new(Individual));
        }
        let between: &[usize] = match self.policy {
            PolicyKind::Individual => return Ok(Box::new(Individual)),
            PolicyKind::TwoRound => &[],
            PolicyKind::MultiRound => &self.chain,
            PolicyKind::Halving => {
                let plan = Halving::new(size).map_err(|what| ConfigError::new("group.size", what))?;
                return Ok(Box::new(plan));
            }
        };
        let between = between.iter().copied().filter(|&s| s < size && s > 1);
        let chain: Vec<usize> = std::iter::once(size).chain(between).chain([1]).collect();
        let plan = MultiRound::new(&chain).map_err(|what| ConfigError::new("retest.chain", what))?;
        Ok(Box::new(plan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_follows_the_group_size() {
        let mut c = RetestConfig { chain: vec![16, 4, 1], ..RetestConfig::default() };
        assert_eq!(c.plan(16).unwrap().describe(), "16 > 4 > 1");
        assert_eq!(c.plan(8).unwrap().describe(), "8 > 4 > 1");
        assert_eq!(c.plan(3).unwrap().describe(), "3 > 1");
        assert_eq!(c.plan(1).unwrap().describe(), "individual");
        c.policy = PolicyKind::TwoRound;
        assert_eq!(c.plan(16).unwrap().describe(), "16 > 1");
        c.policy = PolicyKind::Halving;
        assert_eq!(
            (c.plan(16).unwrap().describe(), c.plan(1).unwrap().describe()),
            ("halving 16".into(), "individual".into())
        );
        c.policy = PolicyKind::Individual;
        assert_eq!(c.plan(16).unwrap().group_size(), 1);
    }

    #[test]
    fn wrong_values_name_their_key() {
        let wrong = |c: RetestConfig| c.validate(16).unwrap_err().key;
        assert_eq!(wrong(RetestConfig { chain: vec![4, 8], ..Default::default() }), "retest.chain");
        assert_eq!(wrong(RetestConfig { chain: vec![0], ..Default::default() }), "retest.chain");
        assert_eq!(wrong(RetestConfig { pooled_sensitivity: 1.0, ..Default::default() }), "retest.pooled_sensitivity");
        assert_eq!(
            wrong(RetestConfig { confirm_sensitivity: 0.0, ..Default::default() }),
            "retest.confirm_sensitivity"
        );
    }
}
