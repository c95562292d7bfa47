//! `engine`: how tests are batched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};
use crate::model::Provider;

/// How tests are batched. What is absent follows from the provider.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Items in flight in the engine, at most: each holds its features (the bundle says how many values) until its verdict.
    pub slots: usize,
    /// Most rows of one run of a stage.
    pub max_batch: usize,
    /// The batch from which a larger one is no more efficient. Default: 16 on the CPU, `max_batch` on a GPU.
    pub preferred_batch: Option<usize>,
    /// Batch sizes to warm up and round up to, rising. Default: any size on the CPU; powers of two up to `max_batch` on a GPU, where a
    /// new shape is slow.
    pub buckets: Option<Vec<usize>>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { slots: 512, max_batch: 64, preferred_batch: None, buckets: None }
    }
}

impl EngineConfig {
    /// `key` names what the largest group, `size`, follows from.
    /// `size` images of `key` share a group, and so many in all may wait for company.
    pub(super) fn validate(&self, key: &str, size: usize, waiting: usize) -> Result<(), ConfigError> {
        let pools = if waiting > size { " times the pools of `group`" } else { "" };
        let enough = format!("is {}, must be at least `{key}`{pools} ({waiting}), at most 65536", self.slots);
        require((waiting..=65536).contains(&self.slots), "engine.slots", enough)?;
        require((1..=4096).contains(&self.max_batch), "engine.max_batch", "must be 1 to 4096")?;
        let preferred = self.preferred_batch.is_none_or(|b| (1..=self.max_batch).contains(&b));
        require(preferred, "engine.preferred_batch", "must be 1 to `engine.max_batch`")?;
        let Some(buckets) = &self.buckets else { return Ok(()) };
        let rising = buckets.windows(2).all(|pair| pair[0] < pair[1]);
        let whole = buckets.is_empty() || (buckets[0] == 1 && buckets.last() == Some(&self.max_batch));
        require(rising && whole, "engine.buckets", "must rise from 1 to `engine.max_batch`, as in [1, 4, 16, 64]")
    }

    /// The batch from which a larger one is no more efficient.
    pub fn preferred_batch(&self, provider: Provider) -> usize {
        self.preferred_batch.unwrap_or(match provider {
            Provider::Cpu => self.max_batch.min(16),
            Provider::Cuda | Provider::TensorRt => self.max_batch,
        })
    }

    /// Batch sizes to warm up; empty for any size.
    pub fn buckets(&self, provider: Provider) -> Vec<usize> {
        match (&self.buckets, provider) {
            (Some(buckets), _) => buckets.clone(),
            (None, Provider::Cpu) => Vec::new(),
            (None, _) => self.powers(),
        }
    }

    /// Batch sizes to measure: those to warm up or, where any size is run, enough of them.
    pub fn batches(&self, provider: Provider) -> Vec<usize> {
        let buckets = self.buckets(provider);
        let mut batches = if buckets.is_empty() { self.powers() } else { buckets };
        batches.push(self.preferred_batch(provider));
        batches.sort_unstable();
        batches.dedup();
        batches
    }

    fn powers(&self) -> Vec<usize> {
        let powers = (0..).map(|i| 1 << i).take_while(|&b| b < self.max_batch);
        powers.chain([self.max_batch]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_the_provider() {
        let c = EngineConfig { max_batch: 48, ..Default::default() };
        assert_eq!(c.buckets(Provider::Cpu), [0usize; 0]);
        assert_eq!(c.buckets(Provider::Cuda), [1, 2, 4, 8, 16, 32, 48]);
        assert_eq!(c.batches(Provider::Cpu), c.buckets(Provider::Cuda));
        let c = EngineConfig { preferred_batch: Some(12), ..c };
        assert_eq!(c.batches(Provider::Cpu), [1, 2, 4, 8, 12, 16, 32, 48]);
        let c = EngineConfig { preferred_batch: None, ..c };
        assert_eq!((c.preferred_batch(Provider::Cpu), c.preferred_batch(Provider::Cuda)), (16, 48));
    }

    #[test]
    fn wrong_values_name_their_key() {
        let wrong = |c: EngineConfig| c.validate("group.size", 16, 16).unwrap_err().key;
        assert_eq!(wrong(EngineConfig { slots: 8, ..Default::default() }), "engine.slots");
        assert_eq!(wrong(EngineConfig { max_batch: 0, ..Default::default() }), "engine.max_batch");
        assert_eq!(wrong(EngineConfig { preferred_batch: Some(65), ..Default::default() }), "engine.preferred_batch");
        assert_eq!(wrong(EngineConfig { buckets: Some(vec![2, 64]), ..Default::default() }), "engine.buckets");
    }
}
