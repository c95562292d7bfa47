//! When the producer is replaced (pure).
//!
//! A topic that is deleted and made again can leave librdkafka with the leaders of the old topic: it
//! takes the metadata of the new one for older ones, and its records wait without end. A new producer
//! asks again.

use std::time::{Duration, Instant};

/// The longest wait between two producers.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// Decides when the producer is replaced. Each time that this does not help, the next wait is twice
/// as long.
#[derive(Debug)]
pub(super) struct Renewal {
    first: Duration,
    wait: Duration,
    last: Option<Instant>,
}

impl Renewal {
    /// The producer is replaced when a record has waited for `first`.
    pub fn new(first: Duration) -> Self {
        Self { first, wait: first, last: None }
    }

    /// Whether the producer is to be replaced now. `oldest`: since when the oldest record waits for
    /// its acknowledgement, if any does.
    pub fn due(&mut self, oldest: Option<Instant>, now: Instant) -> bool {
        let Some(oldest) = oldest else {
            *self = Self::new(self.first);
            return false;
        };
        let since = self.last.map_or(oldest, |last| last.max(oldest));
        let due = now.saturating_duration_since(since) >= self.wait;
        if due {
            self.last = Some(now);
            self.wait = (self.wait * 2).min(LONGEST).max(self.first);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_no_record_waits() {
        let minute = Duration::from_secs(60);
        let begin = Instant::now();
        let mut renewal = Renewal::new(minute);
        let mut due = |oldest: Option<u32>, minutes: u32| {
            renewal.due(oldest.map(|o| begin + minute * o), begin + minute * minutes)
        };
        assert!(!due(Some(0), 0) && due(Some(0), 1) && !due(Some(0), 2));
        assert!(due(Some(0), 3) && !due(Some(0), 6) && due(Some(0), 7));
        assert!(!due(None, 8));
        assert!(!due(Some(8), 8) && due(Some(8), 9), "the waits begin again");
    }
}
