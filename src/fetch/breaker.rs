//! Whether a host answers, and when it is probed (pure).

use std::time::{Duration, Instant};

/// The first wait before a probe of a host that is down.
pub const FIRST_PROBE: Duration = Duration::from_secs(1);
/// The longest wait before a probe.
const LAST_PROBE: Duration = Duration::from_secs(30);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The host answered, with an image or with a reason why there is none.
    Answered,
    /// The host did not answer, or could not for now.
    Failed,
    /// The attempt was given up for another reason.
    Unknown,
}

/// Whether a host answers.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    /// Temporary failures in a row.
    pub failures: u32,
    /// Since when the host is down, if it is.
    pub down: Option<Down>,
}

/// A host that is down, and its probes.
#[derive(Debug, Clone)]
pub struct Down {
    /// When it went down.
    pub since: Instant,
    /// The time of the next probe.
    pub probe_at: Instant,
    interval: Duration,
    probing: bool,
    /// Whether the host was a store when it went down.
    pub store: bool,
}

impl Breaker {
    /// Takes in the end of an attempt. `store`: whether the host is a store now.
    pub fn ended(&mut self, outcome: Outcome, failures: u32, store: bool, now: Instant) {
        match outcome {
            Outcome::Answered => *self = Self::default(),
            Outcome::Unknown => self.end_probe(now, false),
            Outcome::Failed => {
                self.failures = self.failures.saturating_add(1);
                self.end_probe(now, true);
                if self.down.is_none() && self.failures >= failures {
                    self.down = Some(Down::new(store, now));
                }
            }
        }
    }

    /// The probe has ended, if there is one. After one that `failed`, the next wait is twice as long.
    pub fn end_probe(&mut self, now: Instant, failed: bool) {
        let Some(down) = self.down.as_mut().filter(|down| down.probing) else { return };
        down.probing = false;
        if failed {
            down.interval = (down.interval * 2).min(LAST_PROBE);
        }
        down.probe_at = now + down.interval;
    }

    /// Whether an attempt may start: the host is not down, or it is time for a probe.
    pub fn lets_pass(&self, now: Instant) -> bool {
        self.down.as_ref().is_none_or(|down| !down.probing && now >= down.probe_at)
    }

    /// A probe starts, if the host is down.
    pub fn start(&mut self) {
        if let Some(down) = &mut self.down {
            down.probing = true;
        }
    }
}

impl Down {
    /// A host that goes down now. `store`: whether it is a store.
    pub fn new(store: bool, now: Instant) -> Self {
        let (interval, probing) = (FIRST_PROBE, false);
        Self { since: now, probe_at: now + interval, interval, probing, store }
    }
}
