//! How an attempt to fetch an image fails, and the wait before the next attempt (pure).

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::failure::{Failure, Reason};

/// The longest wait between two attempts, even if the server's `Retry-After` is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failed {
    /// Why.
    pub failure: Failure,
    /// `None`: do not retry. `Some`: retry, after the wait in the server's `Retry-After` if there
    /// is one.
    pub again: Option<Option<Duration>>,
}

impl Failed {
    /// A failure that another attempt would repeat.
    pub fn for_good(failure: Failure) -> Self {
        Self { failure, again: None }
    }

    /// A failure that may pass.
    pub fn for_now(failure: Failure) -> Self {
        Self { failure, again: Some(None) }
    }

    /// The failure of an attempt that reached a time limit of the configuration.
    pub fn late(key: &str) -> Self {
        Self::for_now(Failure::new(Reason::Timeout, format!("not fetched within `{key}`")))
    }
}

/// The wait after `tried` attempts: the backoff, doubled after each further attempt
/// and with jitter, or the server's `Retry-After` if that is longer. At most [`LONGEST_WAIT`].
pub(super) fn wait(backoff: Duration, tried: u32, retry_after: Option<Duration>) -> Duration {
    let own =
        backoff.saturating_mul(2u32.saturating_pow(tried.saturating_sub(1))).min(LONGEST_WAIT);
    // The jitter takes 50 to 100 % of the wait. Workers that failed together then do not retry
    // together.
    let jitter = (RandomState::new().hash_one(tried) % 1024) as f64 / 1024.0;
    own.mul_f64(0.5 + jitter / 2.0).max(retry_after.unwrap_or_default()).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn waits_double_with_jitter_up_to_a_bound() {
        for (tried, full) in
            [(0, 200), (1, 200), (2, 400), (3, 800), (30, 10_000), (u32::MAX, 10_000)]
        {
            let wait = wait(ms(200), tried, None);
            assert!(wait >= ms(full / 2) && wait <= ms(full), "{tried}: {wait:?}");
        }
    }

    #[test]
    fn retry_after_is_respected_up_to_a_bound() {
        assert_eq!(wait(ms(200), 1, Some(ms(3000))), ms(3000));
        assert_eq!(wait(ms(200), 1, Some(Duration::from_secs(3600))), LONGEST_WAIT);
    }
}
