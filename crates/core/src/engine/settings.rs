//! How runs of the network are batched, and how long groups wait.

use std::time::Duration;

/// How runs of the network are batched, and how long groups wait. Batch sizes are numbers of rows:
/// a row is an image in stage 0 and in the confirm network, a merge in a stage between, and a test
/// in the last stage.
#[derive(Debug, Clone)]
pub struct BatchSettings {
    /// The largest number of rows per run of a stage or of the confirm network, at least 1.
    pub max_batch: usize,
    /// The batch size from which a larger batch computes no more rows per second on the device, 1
    /// to `max_batch`. The scheduler counts a batch of this size as full.
    pub preferred_batch: usize,
    /// Batch sizes that were warmed up, rising from 1 to `max_batch`; batches are rounded up to
    /// them. Empty where every size is equally good (CPU).
    pub buckets: Vec<usize>,
    /// How long a group waits for members after its first one. Jobs other than stage 0 that were
    /// passed over for this long, and by 8 runs of other jobs, count as a full batch.
    pub max_wait: Duration,
}
