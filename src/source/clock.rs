//! Whether the wall clock was set back.
//!
//! librdkafka's threads wait by the wall clock (C11's `cnd_timedwait`). If the clock is set back during
//! a wait, the wait lasts until the clock has caught up, unless something wakes the thread. The main
//! thread then sends no heartbeats, and the brokers give the partitions to other members, while the
//! consumer goes on. The poll for messages waits in the same way. The thread of the source therefore
//! cannot look at the clock itself.

use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError};

/// By how much the clock must be set back to be noticed. Corrections by NTP are smaller.
const STEP: Duration = Duration::from_millis(500);

/// The interval at which the clocks are compared. It follows the monotonic clock.
const LOOK: Duration = Duration::from_secs(1);

/// Calls `set_back` each time that the wall clock was set back, until the sender of `ended` is dropped.
pub(super) fn watch(ended: &Receiver<()>, set_back: impl Fn()) {
    let mut clock = WallClock::new(SystemTime::now(), Instant::now());
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if clock.set_back(SystemTime::now(), Instant::now()) {
            set_back();
        }
    }
}

/// The wall clock beside the monotonic clock.
#[derive(Debug)]
struct WallClock {
    wall: SystemTime,
    monotonic: Instant,
}

impl WallClock {
    /// The clocks at the same moment.
    fn new(wall: SystemTime, monotonic: Instant) -> Self {
        Self { wall, monotonic }
    }

    /// Whether the wall clock was set back since the last call, or since the beginning.
    fn set_back(&mut self, wall: SystemTime, monotonic: Instant) -> bool {
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
