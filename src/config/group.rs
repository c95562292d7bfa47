//! `group`: how items are pooled.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ConfigError, require};
use crate::grouping::Sorting;
use crate::retest::MAX_GROUP;

/// Images in a first-round test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Value")]
pub enum GroupSize {
    /// Whatever is cheapest at the prevalence that the worker estimates as it goes.
    Auto,
    /// Always so many.
    Of(usize),
}

impl GroupSize {
    /// The fixed size, or else `or`.
    pub fn fixed_or(self, or: usize) -> usize {
        match self {
            Self::Auto => or,
            Self::Of(size) => size,
        }
    }
}

impl From<GroupSize> for Value {
    fn from(size: GroupSize) -> Self {
        match size {
            GroupSize::Auto => AUTO.into(),
            GroupSize::Of(size) => size.into(),
        }
    }
}

impl TryFrom<Value> for GroupSize {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
        match (number, value.as_str()) {
            (Some(size), _) => Ok(Self::Of(size)),
            (_, Some(AUTO)) => Ok(Self::Auto),
            _ => Err(format!("is {value}, must be a whole number from 1 to {MAX_GROUP}, or {AUTO}")),
        }
    }
}

impl JsonSchema for GroupSize {
    fn schema_name() -> Cow<'static, str> {
        "GroupSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [{"type": "integer", "minimum": 1, "maximum": MAX_GROUP}, {"const": AUTO}]})
    }
}

const AUTO: &str = "auto";

/// Most bands of risk.
const MAX_BANDS: usize = 16;

/// Most lanes of a band.
const MAX_LANES: usize = 1024;

/// How items are pooled.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Images in a first-round test, 1 to 64. Larger saves more where positives are rare; `1` tests every image alone. `auto`: the worker
    /// estimates the prevalence as it goes and plans group size, retests and sensitivities by it, see `planning`; of `retest` then only
    /// individual_sensitivity and confirm_sensitivity count.
    pub size: GroupSize,
    /// How long a group waits for members before it is tested as it is.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_wait: Duration,
    /// Risks, rising, that part images into bands by the `risk` of their message: like is pooled with like, and with `size: auto` each band
    /// has a plan and an estimate of its own. `[0.0005, 0.005]` makes three bands. An image without a risk counts as
    /// `planning.prevalence`. Empty: one band.
    pub risk_bands: Vec<f64>,
    /// From this risk on every image is tested alone.
    pub individual_from: Option<f64>,
    /// Images whose messages have the same key (an album, an uploader) share a pool of so many, so that positives that come together meet in
    /// one group. More keep keys better apart, but groups fill more slowly; messages without a key share the first. 1: keys don't matter.
    pub key_lanes: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            size: GroupSize::Of(16),
            max_wait: Duration::from_millis(200),
            risk_bands: Vec::new(),
            individual_from: None,
            key_lanes: 1,
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
        let edge = |&edge: &f64| edge > 0.0 && edge < 1.0;
        let rising = self.risk_bands.windows(2).all(|pair| (pair[0] as f32) < pair[1] as f32);
        let bands = self.risk_bands.len() < MAX_BANDS && self.risk_bands.iter().all(edge) && rising;
        let what = format!("must rise between 0 and 1, as in [0.0005, 0.005], at most {} of them", MAX_BANDS - 1);
        require(bands, "group.risk_bands", what)?;
        if let Some(risk) = self.individual_from {
            let above = self.risk_bands.last().is_none_or(|&last| last < risk);
            let what = format!("is {risk}, must be below 1 and above 0 and the last of `group.risk_bands`");
            require(edge(&risk) && above, "group.individual_from", what)?;
        }
        let lanes = format!("is {}, must be 1 to {MAX_LANES}", self.key_lanes);
        require((1..=MAX_LANES).contains(&self.key_lanes), "group.key_lanes", lanes)
    }

    /// How items are put into pools; `usual` is the risk of one that brings none.
    pub fn sorting(&self, usual: f64) -> Sorting {
        let edges = self.risk_bands.iter().chain(&self.individual_from).copied();
        Sorting::new(edges.collect(), usual, self.key_lanes)
    }

    /// The bands of risk by the least risk of each: of those that are pooled, without the one that is tested alone.
    pub fn pooled_bands(&self) -> Vec<f64> {
        std::iter::once(0.0).chain(self.risk_bands.iter().copied()).collect()
    }

    /// How many items may wait for company at once, if groups have `size`.
    pub(super) fn waiting(&self, size: usize) -> usize {
        (self.risk_bands.len() + 1) * self.key_lanes * size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_name_their_key() {
        let wrong = |c: GroupConfig| c.validate().unwrap_err().key;
        let good = GroupConfig::default;
        assert_eq!(wrong(GroupConfig { size: GroupSize::Of(65), ..good() }), "group.size");
        assert_eq!(wrong(GroupConfig { risk_bands: vec![0.1, 0.1], ..good() }), "group.risk_bands");
        assert_eq!(wrong(GroupConfig { risk_bands: vec![0.1, 1.0], ..good() }), "group.risk_bands");
        let individual_from = Some(0.1);
        assert_eq!(wrong(GroupConfig { risk_bands: vec![0.2], individual_from, ..good() }), "group.individual_from");
        assert_eq!(wrong(GroupConfig { individual_from: Some(0.0), ..good() }), "group.individual_from");
        assert_eq!(wrong(GroupConfig { key_lanes: 0, ..good() }), "group.key_lanes");
        assert!(GroupConfig { risk_bands: vec![0.01], individual_from, ..good() }.validate().is_ok());
    }

    #[test]
    fn pools_are_bands_by_lanes() {
        let group =
            GroupConfig { risk_bands: vec![0.01], individual_from: Some(0.2), key_lanes: 3, ..GroupConfig::default() };
        let sorting = group.sorting(0.001);
        assert_eq!((sorting.bands(), sorting.lanes(), group.pooled_bands()), (3, 3, vec![0.0, 0.01]));
        assert_eq!([Some(0.05), Some(0.5), None].map(|risk| sorting.pool(risk, None)), [3, 6, 0]);
        assert_eq!(group.waiting(16), 96);
    }
}
