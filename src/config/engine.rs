//! `engine`: how tests are batched.

use dorfman_model::BatchOptions;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// How tests are batched. Absent values follow from the provider.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Images in flight in the engine, at most. Each image keeps its features until its verdict;
    /// the bundle determines their size.
    pub slots: usize,
    /// Rows per run of a stage, at most.
    pub max_batch: usize,
    /// The batch size from which a larger batch is not more efficient. Default: 16 on the CPU,
    /// `max_batch` on a GPU.
    pub preferred_batch: Option<usize>,
    /// Batch sizes to warm up and to round up to, rising. Default: none on the CPU, where any size
    /// is equally good; powers of two up to `max_batch` on a GPU, where the first run of a new size
    /// is slow.
    pub buckets: Option<Vec<usize>>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { slots: 512, max_batch: 64, preferred_batch: None, buckets: None }
    }
}

impl EngineConfig {
    /// `key` is the key of the largest group size, `size`. `waiting` is the number of images in all
    /// open groups, at most.
    pub(super) fn validate(
        &self,
        key: &str,
        size: usize,
        waiting: usize,
    ) -> Result<(), ConfigError> {
        let pools = if waiting > size { " times the pools of `group`" } else { "" };
        let enough = format!(
            "is {}, must be at least `{key}`{pools} ({waiting}), at most 65536",
            self.slots
        );
        require((waiting..=65536).contains(&self.slots), "engine.slots", enough)?;
        require((1..=4096).contains(&self.max_batch), "engine.max_batch", "must be 1 to 4096")?;
        let preferred = self.preferred_batch.is_none_or(|b| (1..=self.max_batch).contains(&b));
        require(preferred, "engine.preferred_batch", "must be 1 to `engine.max_batch`")?;
        let Some(buckets) = &self.buckets else { return Ok(()) };
        let rising = buckets.windows(2).all(|pair| pair[0] < pair[1]);
        let whole =
            buckets.is_empty() || (buckets[0] == 1 && buckets.last() == Some(&self.max_batch));
        require(
            rising && whole,
            "engine.buckets",
            "must rise from 1 to `engine.max_batch`, as in [1, 4, 16, 64]",
        )
    }

    /// Batch sizes, as the network's loader and the engine use them.
    pub fn batching(&self) -> BatchOptions {
        BatchOptions {
            max_batch: self.max_batch,
            preferred_batch: self.preferred_batch,
            buckets: self.buckets.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_name_their_key() {
        let wrong = |c: EngineConfig| c.validate("group.size", 16, 16).unwrap_err().key;
        assert_eq!(wrong(EngineConfig { slots: 8, ..Default::default() }), "engine.slots");
        assert_eq!(wrong(EngineConfig { max_batch: 0, ..Default::default() }), "engine.max_batch");
        assert_eq!(
            wrong(EngineConfig { preferred_batch: Some(65), ..Default::default() }),
            "engine.preferred_batch"
        );
        assert_eq!(
            wrong(EngineConfig { buckets: Some(vec![2, 64]), ..Default::default() }),
            "engine.buckets"
        );
    }
}
