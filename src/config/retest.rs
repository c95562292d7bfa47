//! `retest`: how a positive group is retested.

use clap::ValueEnum;
use dorfman_core::policy::{self, MAX_GROUP, PlanError, PlanSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// How a positive group is retested.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Every image that passes the exits is tested alone. `group.size` is not used.
    Individual,
    /// The members of a positive group are tested one by one.
    TwoRound,
    /// A positive group is split into smaller groups, whose sizes are in `retest.chain`.
    #[default]
    MultiRound,
    /// A positive group is split into halves, which are tested one after the other. This policy
    /// needs the fewest tests and the most rounds.
    Halving,
    /// A group is laid out as a square. Its rows and columns are tested at once. An image is
    /// flagged if its row and its column are positive, without an individual test. `group.size`
    /// must be a square from 9 to 64.
    OneRound,
    /// Each score changes the probability that an image is positive. The next test is the test that
    /// finds most positives per cost; no test follows when none repays its cost. Uses
    /// `retest.chain`, `retest.worth` and `retest.prior`. Tests of one group run one after the
    /// other. For bundles with one positive label.
    Planned,
}

impl From<PolicyKind> for policy::PolicyKind {
    fn from(kind: PolicyKind) -> Self {
        match kind {
            PolicyKind::Individual => Self::Individual,
            PolicyKind::TwoRound => Self::TwoRound,
            PolicyKind::MultiRound => Self::MultiRound,
            PolicyKind::Halving => Self::Halving,
            PolicyKind::OneRound => Self::OneRound,
            PolicyKind::Planned => Self::Planned,
        }
    }
}

/// How a positive group is retested, and the thresholds of the tests.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetestConfig {
    /// The policy.
    pub policy: PolicyKind,
    /// The sizes of the tests after the first, falling, for `multi-round` and `planned`. Sizes of
    /// `group.size` and above are skipped; 1 always comes last. With `group.size: 16`, `[4]` means
    /// 16 > 4 > 1.
    pub chain: Vec<usize>,
    /// Share of positive groups that a pooled test must find, by the calibration of the bundle;
    /// above 0 and below 1. A higher share finds more positives and causes more retests.
    pub pooled_sensitivity: f64,
    /// What finding a positive image is worth, for `planned`, in individual tests. Without groups,
    /// a positive costs about 1 / prevalence individual tests. A higher worth finds more positives
    /// and causes more retests.
    pub worth: f64,
    /// Share of positive images in the stream that `planned` assumes, above 0 and below 1.
    pub prior: f64,
    /// Share of positive images that an individual test must find, by the calibration of the
    /// bundle; above 0 and below 1. It decides which images are flagged.
    pub individual_sensitivity: f64,
    /// Share of positive images that the confirm network of the bundle must find (see
    /// `model.confirm`), by its calibration; above 0 and below 1. The confirm network can only
    /// remove flags.
    pub confirm_sensitivity: f64,
}

impl Default for RetestConfig {
    fn default() -> Self {
        Self {
            policy: PolicyKind::MultiRound,
            chain: vec![4],
            pooled_sensitivity: 0.99,
            worth: 500.0,
            prior: 0.001,
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
        for (key, share, example) in [
            ("retest.pooled_sensitivity", self.pooled_sensitivity, 0.99),
            ("retest.individual_sensitivity", self.individual_sensitivity, 0.99),
            ("retest.confirm_sensitivity", self.confirm_sensitivity, 0.99),
            ("retest.prior", self.prior, 0.001),
        ] {
            let what = format!("is {share}, must be above 0 and below 1, such as {example}");
            require(share > 0.0 && share < 1.0, key, what)?;
        }
        let worth = self.worth > 0.0 && self.worth.is_finite();
        let what = format!("is {}, must be finite and above 0, such as 500", self.worth);
        require(worth, "retest.worth", what)?;
        self.spec(group_size).describe().map(|_| ()).map_err(plan_error)
    }

    /// The parameters of the plan for groups of `size` images.
    pub fn spec(&self, size: usize) -> PlanSpec {
        PlanSpec {
            policy: self.policy.into(),
            group_size: size,
            chain: self.chain.clone(),
            worth: self.worth,
        }
    }
}

/// The error at the key that it concerns.
pub(super) fn plan_error(error: PlanError) -> ConfigError {
    let key = match error {
        PlanError::EmptyChain
        | PlanError::ChainTooLarge(_)
        | PlanError::ChainNotFalling
        | PlanError::ChainWithoutIndividualTest => "retest.chain",
        PlanError::GroupSize(_) | PlanError::NotSquare(_) => "group.size",
        PlanError::Prior(_) => "retest.prior",
        PlanError::Worth(_) => "retest.worth",
        PlanError::NoInputs | PlanError::Calibration(_) => "retest.policy",
    };
    ConfigError::new(key, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_follows_the_group_size() {
        let describe = |policy, size| {
            let config = RetestConfig { policy, chain: vec![16, 4, 1], ..RetestConfig::default() };
            config.spec(size).describe().unwrap()
        };
        assert_eq!(describe(PolicyKind::MultiRound, 16), "16 > 4 > 1");
        assert_eq!(describe(PolicyKind::MultiRound, 8), "8 > 4 > 1");
        assert_eq!(describe(PolicyKind::MultiRound, 3), "3 > 1");
        assert_eq!(describe(PolicyKind::MultiRound, 1), "individual");
        assert_eq!(describe(PolicyKind::TwoRound, 16), "16 > 1");
        assert_eq!(describe(PolicyKind::Halving, 16), "halving 16");
        assert_eq!(describe(PolicyKind::Halving, 1), "individual");
        assert_eq!(describe(PolicyKind::Planned, 16), "planned 16 > 4 > 1");
        assert_eq!(describe(PolicyKind::Planned, 1), "individual");
        assert_eq!(describe(PolicyKind::Individual, 16), "individual");
    }

    #[test]
    fn a_plan_error_names_the_key_of_its_parameter() {
        let key = |policy, size| {
            let config = RetestConfig { policy, ..RetestConfig::default() };
            config.spec(size).build(None).map_err(plan_error).err().unwrap().key
        };
        assert_eq!(key(PolicyKind::Planned, 16), "retest.policy");
        assert_eq!(key(PolicyKind::OneRound, 10), "group.size");
    }

    #[test]
    fn wrong_values_name_their_key() {
        let wrong = |c: RetestConfig| c.validate(16).unwrap_err().key;
        let good = RetestConfig::default;
        let policy = PolicyKind::Planned;
        for (config, key) in [
            (RetestConfig { chain: vec![4, 8], ..good() }, "retest.chain"),
            (RetestConfig { policy, chain: vec![4, 8], ..good() }, "retest.chain"),
            (RetestConfig { chain: vec![0], ..good() }, "retest.chain"),
            (RetestConfig { worth: 0.0, ..good() }, "retest.worth"),
            (RetestConfig { prior: 0.0, ..good() }, "retest.prior"),
            (RetestConfig { pooled_sensitivity: 1.0, ..good() }, "retest.pooled_sensitivity"),
            (RetestConfig { confirm_sensitivity: 0.0, ..good() }, "retest.confirm_sensitivity"),
        ] {
            assert_eq!(wrong(config), key);
        }
    }
}
