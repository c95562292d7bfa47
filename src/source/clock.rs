//! Whether the wall clock was set back (pure).
//!
//! librdkafka's main thread waits for at most a second, by the wall clock. If the clock is set back
//! meanwhile, the thread waits until the clock has caught up, unless something wakes it. It sends no
//! heartbeats then, and the brokers give the partitions to other members.

use std::time::{Duration, Instant, SystemTime};

/// By how much the clock must be set back to be noticed. Corrections by NTP are smaller.
const STEP: Duration = Duration::from_millis(500);

/// The wall clock beside the monotonic clock.
#[derive(Debug)]
pub(super) struct WallClock {
    wall: SystemTime,
    monotonic: Instant,
}

impl WallClock {
    /// The clocks at the same moment.
    pub fn new(wall: SystemTime, monotonic: Instant) -> Self {
        Self { wall, monotonic }
    }

    /// Whether the wall clock was set back since the last call, or since the beginning.
    pub fn set_back(&mut self, wall: SystemTime, monotonic: Instant) -> bool {
        let expected = self.wall + monotonic.saturating_duration_since(self.monotonic);
        *self = Self { wall, monotonic };
        expected.duration_since(wall).is_ok_and(|behind| behind > STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_back_counts() {
        let (wall, begin) = (SystemTime::now(), Instant::now());
        let mut clock = WallClock::new(wall, begin);
        let mut set_back = |wall_ms: u64, ms: u64| {
            let wall = wall + Duration::from_millis(wall_ms);
            clock.set_back(wall, begin + Duration::from_millis(ms))
        };
        assert!(!set_back(1_000, 1_000));
        assert!(!set_back(1_900, 2_000), "a correction");
        assert!(!set_back(3_602_000, 2_100), "an hour ahead");
        assert!(set_back(2_200, 2_200), "and back");
        assert!(!set_back(2_300, 2_300));
    }
}
