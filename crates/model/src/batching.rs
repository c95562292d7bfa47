//! Batch sizes on a provider.

use std::time::Duration;

use dorfman_core::engine::BatchSettings;

use super::Provider;

/// Batch sizes. A field that is `None` has a default that depends on the provider.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchOptions {
    /// The largest number of rows per run of a stage. At least 1.
    pub max_batch: usize,
    /// The batch size from which a larger batch is not more efficient. Default: 16 on the CPU,
    /// `max_batch` on a GPU.
    pub preferred_batch: Option<usize>,
    /// Batch sizes to warm up and to round up to, in ascending order. Default: none on the CPU,
    /// where any size is equally good; powers of two up to `max_batch` on a GPU, where the first
    /// run of a new shape is slow.
    pub buckets: Option<Vec<usize>>,
}

impl BatchOptions {
    /// The batch size, in rows, from which a larger batch is not more efficient.
    pub fn preferred_batch(&self, provider: Provider) -> usize {
        self.preferred_batch.unwrap_or(match provider {
            Provider::Cpu => self.max_batch.min(16),
            Provider::Cuda | Provider::TensorRt => self.max_batch,
        })
    }

    /// Batch sizes to warm up and to round up to. Empty if any size is run as it is.
    pub fn buckets(&self, provider: Provider) -> Vec<usize> {
        match (&self.buckets, provider) {
            (Some(buckets), _) => buckets.clone(),
            (None, Provider::Cpu) => Vec::new(),
            (None, _) => self.powers(),
        }
    }

    /// Batch sizes to measure, in ascending order: the buckets and the preferred size. Without
    /// buckets, powers of two up to `max_batch` take their place.
    pub fn measured(&self, provider: Provider) -> Vec<usize> {
        let buckets = self.buckets(provider);
        let mut batches = if buckets.is_empty() { self.powers() } else { buckets };
        batches.push(self.preferred_batch(provider));
        batches.sort_unstable();
        batches.dedup();
        batches
    }

    /// The engine's settings on a provider, for groups that wait at most `max_wait` for members.
    pub fn settings(&self, provider: Provider, max_wait: Duration) -> BatchSettings {
        BatchSettings {
            max_batch: self.max_batch,
            preferred_batch: self.preferred_batch(provider),
            buckets: self.buckets(provider),
            max_wait,
        }
    }

    /// Powers of two below `max_batch`, and `max_batch`.
    fn powers(&self) -> Vec<usize> {
        let powers = (0..).map(|i| 1 << i).take_while(|&size| size < self.max_batch);
        powers.chain([self.max_batch]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_the_provider() {
        let options = BatchOptions { max_batch: 48, preferred_batch: None, buckets: None };
        assert_eq!(options.buckets(Provider::Cpu), [0usize; 0]);
        assert_eq!(options.buckets(Provider::Cuda), [1, 2, 4, 8, 16, 32, 48]);
        assert_eq!(options.measured(Provider::Cpu), options.buckets(Provider::Cuda));
        let preferred = [Provider::Cpu, Provider::Cuda].map(|p| options.preferred_batch(p));
        assert_eq!(preferred, [16, 48]);
        let twelve = BatchOptions { preferred_batch: Some(12), ..options };
        assert_eq!(twelve.measured(Provider::Cpu), [1, 2, 4, 8, 12, 16, 32, 48]);
    }
}
