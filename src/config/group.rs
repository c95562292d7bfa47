//! `group`: how images are pooled into groups.

use std::borrow::Cow;
use std::time::Duration;

use dorfman_core::grouping::PoolRule;
use dorfman_core::policy::MAX_GROUP;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ConfigError, require};

/// Images in a first-round test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Value")]
pub enum GroupSize {
    /// The size that is cheapest at the prevalence that the worker estimates.
    Auto,
    /// A fixed number of images.
    Fixed(usize),
}

impl GroupSize {
    /// The fixed size, or `or` if the worker chooses the size.
    pub fn fixed_or(self, or: usize) -> usize {
        match self {
            Self::Auto => or,
            Self::Fixed(size) => size,
        }
    }
}

impl From<GroupSize> for Value {
    fn from(size: GroupSize) -> Self {
        match size {
            GroupSize::Auto => AUTO.into(),
            GroupSize::Fixed(size) => size.into(),
        }
    }
}

impl TryFrom<Value> for GroupSize {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
        match (number, value.as_str()) {
            (Some(size), _) => Ok(Self::Fixed(size)),
            (_, Some(AUTO)) => Ok(Self::Auto),
            _ => {
                Err(format!("is {value}, must be a whole number from 1 to {MAX_GROUP}, or {AUTO}"))
            }
        }
    }
}

impl JsonSchema for GroupSize {
    fn schema_name() -> Cow<'static, str> {
        "GroupSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "oneOf": [{"type": "integer", "minimum": 1, "maximum": MAX_GROUP}, {"const": AUTO}]
        })
    }
}

const AUTO: &str = "auto";

/// Risk bands, at most.
const MAX_BANDS: usize = 16;

/// Pools per risk band, at most.
const MAX_KEY_POOLS: usize = 1024;

/// How images are pooled into groups.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Images per group, 1 to 64. Larger groups save more where positives are rare. `1`: every
    /// image that passes the exits is tested alone. `auto`: the worker estimates the prevalence and
    /// chooses the group size, the retests and the sensitivities from the estimate (see
    /// `planning`); of `retest`, only `individual_sensitivity` and `confirm_sensitivity` are then
    /// used.
    pub size: GroupSize,
    /// How long a group waits for members before it is tested with the members that it has.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_wait: Duration,
    /// Rising limits of risk that divide images into bands. The risk of an image is the `risk` of
    /// its message, or else `planning.prevalence` (`retest.prior` with the policy planned). The
    /// scores of the exits change it, unless `exits.mode` is none. Each band has its own groups and,
    /// with `size: auto`, its own plan and estimate. `[0.0005, 0.005]` makes three bands. Empty: one
    /// band.
    pub risk_bands: Vec<f64>,
    /// Images with at least this risk are tested alone.
    pub individual_from: Option<f64>,
    /// Pools per risk band. Messages with the same key (an album, an uploader) share a pool, so
    /// that positives that arrive together are in one group. With more pools, fewer keys share a
    /// pool, but groups fill more slowly. Messages without a key use the first pool. 1: the key is
    /// not used.
    pub key_pools: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            size: GroupSize::Auto,
            max_wait: Duration::from_millis(200),
            risk_bands: Vec::new(),
            individual_from: None,
            key_pools: 1,
        }
    }
}

impl GroupConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        require(
            (1..=MAX_GROUP).contains(&self.size.fixed_or(1)),
            "group.size",
            format!("is {}, must be 1 to {MAX_GROUP}, or {AUTO}", Value::from(self.size)),
        )?;
        let share = |&risk: &f64| risk > 0.0 && risk < 1.0;
        let rising = self.risk_bands.windows(2).all(|pair| (pair[0] as f32) < pair[1] as f32);
        let few = self.risk_bands.len() < MAX_BANDS;
        let most = MAX_BANDS - 1;
        let what =
            format!("must be at most {most} rising values between 0 and 1, as in [0.0005, 0.005]");
        let valid = few && rising && self.risk_bands.iter().all(share);
        require(valid, "group.risk_bands", what)?;
        if let Some(risk) = self.individual_from {
            let above = self.risk_bands.last().is_none_or(|&last| last < risk);
            let what = format!("is {risk}, must be below 1, above 0 and above `group.risk_bands`");
            require(share(&risk) && above, "group.individual_from", what)?;
        }
        let what = format!("is {}, must be 1 to {MAX_KEY_POOLS}", self.key_pools);
        require((1..=MAX_KEY_POOLS).contains(&self.key_pools), "group.key_pools", what)
    }

    /// The rule that assigns images to pools. `default_risk` is the risk of an image without a
    /// risk.
    pub fn pool_rule(&self, default_risk: f64) -> PoolRule {
        let edges = self.risk_bands.iter().chain(&self.individual_from).copied();
        PoolRule::new(edges.collect(), default_risk, self.key_pools)
    }

    /// The least risk of each band whose images are pooled.
    pub fn pooled_bands(&self) -> Vec<f64> {
        std::iter::once(0.0).chain(self.risk_bands.iter().copied()).collect()
    }

    /// Images in all open groups, at most, for groups of `size` images.
    pub(super) fn waiting(&self, size: usize) -> usize {
        (self.risk_bands.len() + 1) * self.key_pools * size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_name_their_key() {
        let wrong = |c: GroupConfig| c.validate().unwrap_err().key;
        let good = GroupConfig::default;
        assert_eq!(wrong(GroupConfig { size: GroupSize::Fixed(65), ..good() }), "group.size");
        assert_eq!(wrong(GroupConfig { risk_bands: vec![0.1, 0.1], ..good() }), "group.risk_bands");
        assert_eq!(wrong(GroupConfig { risk_bands: vec![0.1, 1.0], ..good() }), "group.risk_bands");
        let individual_from = Some(0.1);
        assert_eq!(
            wrong(GroupConfig { risk_bands: vec![0.2], individual_from, ..good() }),
            "group.individual_from"
        );
        assert_eq!(
            wrong(GroupConfig { individual_from: Some(0.0), ..good() }),
            "group.individual_from"
        );
        assert_eq!(wrong(GroupConfig { key_pools: 0, ..good() }), "group.key_pools");
        assert!(
            GroupConfig { risk_bands: vec![0.01], individual_from, ..good() }.validate().is_ok()
        );
    }

    #[test]
    fn every_band_has_its_pools() {
        let group = GroupConfig {
            risk_bands: vec![0.01],
            individual_from: Some(0.2),
            key_pools: 3,
            ..GroupConfig::default()
        };
        let rule = group.pool_rule(0.001);
        assert_eq!(rule.key_pools(), 3);
        assert_eq!(group.pooled_bands(), [0.0, 0.01]);
        assert_eq!([Some(0.05), Some(0.5), None].map(|risk| rule.pool(risk, None)), [3, 6, 0]);
        assert_eq!(group.waiting(16), 96);
    }
}
