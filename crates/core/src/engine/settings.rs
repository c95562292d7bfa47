//! How runs of the network are batched.

use std::time::Duration;

/// How runs of the network are batched.
#[derive(Debug, Clone)]
pub struct BatchSettings {
    /// Rows per run of a stage, at most. At least 1.
    pub max_batch: usize,
    /// The batch size from which a larger batch computes no more rows per second on the device.
    pub preferred_batch: usize,
    /// Batch sizes that were warmed up, rising; batches are rounded up to them. Empty where every
    /// size is equally good (CPU).
    pub buckets: Vec<usize>,
    /// How long a group waits for members.
    pub max_wait: Duration,
}
