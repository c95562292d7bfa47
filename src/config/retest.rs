//! `retest`: how a positive group is resolved.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};
use crate::retest::{Halving, Individual, Knowledge, MAX_GROUP, MultiRound, Nested, OneRound, Plan, Planned};

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
    /// One set of a group after another, each of the size that costs least in expectation, by `planning.prevalence` and the bundle's
    /// calibration. One test of a group at a time.
    Nested,
    /// The images of a group laid out as a square, its rows and its columns tested all at once: positive where both are. No retests, and no
    /// individual test before a flag; `group.size` must be a square from 9 to 64.
    OneRound,
    /// A score is evidence, not a yes or no: the test that finds most positives for its cost comes next, until none repays itself, by
    /// `retest.chain`, `retest.worth` and `planning.prevalence`. One test of a group at a time; for bundles of one positive label.
    Planned,
}

impl PolicyKind {
    /// Whether it must know the network and the stream before it sees any of them.
    pub fn looks_ahead(self) -> bool {
        matches!(self, Self::Nested | Self::Planned)
    }
}

/// The policy and its thresholds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetestConfig {
    /// The policy.
    pub policy: PolicyKind,
    /// Sizes of the tests after the first, falling, for `multi-round` and `planned`. Sizes at or above `group.size` are skipped, and 1 always comes
    /// last: with `group.size: 16`, `[4]` means 16 > 4 > 1.
    pub chain: Vec<usize>,
    /// Share of positive groups that a test of several images must find, by the bundle's calibration; 0 to 1. Higher finds more and
    /// retests more.
    pub pooled_sensitivity: f64,
    /// What finding a positive is worth, for `planned`, in individual tests of an image that passed the first stage; without groups one costs
    /// about 1 / prevalence. More finds more and retests more.
    pub worth: f64,
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
            worth: 500.0,
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
        let worth = self.worth > 0.0 && self.worth.is_finite();
        require(worth, "retest.worth", format!("is {}, must be more than 0, such as 500", self.worth))?;
        self.describe(group_size).map(|_| ())
    }

    /// The plan for groups of `size`, in words.
    ///
    /// # Errors
    /// As [`RetestConfig::plan`], but for what the network lacks.
    pub fn describe(&self, size: usize) -> Result<String, ConfigError> {
        match self.policy {
            PolicyKind::Planned if size > 1 => Ok(format!("planned {}", multi_round(&self.sizes(size))?.describe())),
            PolicyKind::Nested if size > 1 => Ok(format!("nested {size}")),
            _ => Ok(self.plan(size, None)?.describe()),
        }
    }

    fn known<'a>(&self, known: Option<&'a Knowledge>) -> Result<&'a Knowledge, ConfigError> {
        let nothing = "looks ahead, which needs a network with a calibration; multi-round and halving do without";
        known.ok_or_else(|| cannot(nothing.into()))
    }

    /// `size`, the smaller sizes of the chain, and 1.
    fn sizes(&self, size: usize) -> Vec<usize> {
        let between = self.chain.iter().copied().filter(|&s| s < size && s > 1);
        std::iter::once(size).chain(between).chain([1]).collect()
    }

    /// The plan for groups of `size`. `known` is what policies that look ahead must know of the network.
    ///
    /// # Errors
    /// [`ConfigError`] at `retest.chain` if the chain is no chain, at `group.size` if the policy can't have such groups, at `retest.policy` if
    /// it looks ahead and what it must know isn't known.
    pub fn plan(&self, size: usize, known: Option<&Knowledge>) -> Result<Box<dyn Plan>, ConfigError> {
        if size == 1 {
            return Ok(Box::new(Individual));
        }
        match self.policy {
            PolicyKind::Individual => Ok(Box::new(Individual)),
            PolicyKind::TwoRound => Ok(Box::new(multi_round(&[size, 1])?)),
            PolicyKind::MultiRound => Ok(Box::new(multi_round(&self.sizes(size))?)),
            PolicyKind::Halving => {
                let plan = Halving::new(size).map_err(|what| ConfigError::new("group.size", what))?;
                Ok(Box::new(plan))
            }
            PolicyKind::OneRound => {
                let plan = OneRound::new(size).map_err(|what| ConfigError::new("group.size", what))?;
                Ok(Box::new(plan))
            }
            PolicyKind::Nested => {
                let (pooled, individual) = (self.pooled_sensitivity, self.individual_sensitivity);
                Ok(Box::new(Nested::new(size, self.known(known)?, pooled, individual).map_err(cannot)?))
            }
            PolicyKind::Planned => {
                let (known, sizes) = (self.known(known)?, self.sizes(size));
                multi_round(&sizes)?;
                Ok(Box::new(Planned::knowing(&sizes, known, self.worth).map_err(cannot)?))
            }
        }
    }
}

fn cannot(what: String) -> ConfigError {
    ConfigError::new("retest.policy", what)
}

fn multi_round(chain: &[usize]) -> Result<MultiRound, ConfigError> {
    MultiRound::new(chain).map_err(|what| ConfigError::new("retest.chain", what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_follows_the_group_size() {
        let mut c = RetestConfig { chain: vec![16, 4, 1], ..RetestConfig::default() };
        assert_eq!(c.describe(16).unwrap(), "16 > 4 > 1");
        assert_eq!(c.describe(8).unwrap(), "8 > 4 > 1");
        assert_eq!(c.describe(3).unwrap(), "3 > 1");
        assert_eq!(c.describe(1).unwrap(), "individual");
        c.policy = PolicyKind::TwoRound;
        assert_eq!(c.describe(16).unwrap(), "16 > 1");
        c.policy = PolicyKind::Halving;
        assert_eq!((c.describe(16).unwrap(), c.describe(1).unwrap()), ("halving 16".into(), "individual".into()));
        c.policy = PolicyKind::Planned;
        assert_eq!(
            (c.describe(16).unwrap(), c.describe(1).unwrap()),
            ("planned 16 > 4 > 1".into(), "individual".into())
        );
        assert_eq!(c.plan(16, None).err().unwrap().key, "retest.policy");
        c.policy = PolicyKind::Individual;
        assert_eq!(c.plan(16, None).unwrap().group_size(), 1);
    }

    #[test]
    fn wrong_values_name_their_key() {
        let wrong = |c: RetestConfig| c.validate(16).unwrap_err().key;
        assert_eq!(wrong(RetestConfig { chain: vec![4, 8], ..Default::default() }), "retest.chain");
        assert_eq!(wrong(RetestConfig { worth: 0.0, ..Default::default() }), "retest.worth");
        let policy = PolicyKind::Planned;
        assert_eq!(wrong(RetestConfig { policy, chain: vec![4, 8], ..Default::default() }), "retest.chain");
        assert_eq!(wrong(RetestConfig { chain: vec![0], ..Default::default() }), "retest.chain");
        assert_eq!(wrong(RetestConfig { pooled_sensitivity: 1.0, ..Default::default() }), "retest.pooled_sensitivity");
        assert_eq!(
            wrong(RetestConfig { confirm_sensitivity: 0.0, ..Default::default() }),
            "retest.confirm_sensitivity"
        );
    }
}
