//! The queue of fetches: tasks wait in it for their turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::breaker::Outcome;
use super::hosts::{HostLimits, Hosts, Turn, Waiter};

/// The queue of fetches of all hosts.
#[derive(Debug)]
pub(super) struct Queue {
    hosts: Mutex<Hosts<Waiting>>,
}

/// A fetch that waits for its turn.
#[derive(Debug)]
struct Waiting {
    host: Arc<str>,
    told: oneshot::Sender<Turn>,
}

impl Waiter for Waiting {
    fn gone(&self) -> bool {
        self.told.is_closed()
    }
}

/// The right to make one attempt, and its place among those that run. The place is free again when it
/// is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    queue: Arc<Queue>,
    host: Arc<str>,
    answered: bool,
}

impl Queue {
    pub fn new(limits: HostLimits) -> Self {
        Self { hosts: Mutex::new(Hosts::new(limits)) }
    }

    /// Counts an item, for the shares of the hosts.
    pub fn arrived(&self, host: Option<&str>) {
        match host {
            Some(host) => self.hosts().arrived(host),
            None => self.hosts().arrived_without_host(),
        }
    }

    /// Waits for the turn of a fetch, which has waited since `since`, with its attempts before.
    ///
    /// # Errors
    /// Why the fetch has no turn.
    pub async fn turn(self: &Arc<Self>, host: &Arc<str>, since: Instant) -> Result<Pass, String> {
        let (told, turn) = oneshot::channel();
        let waiting = Waiting { host: Arc::clone(host), told };
        let turns = self.hosts().wait(host, waiting, since, Instant::now());
        self.tell(turns);
        match turn.await {
            Ok(Turn::Go) => {
                Ok(Pass { queue: Arc::clone(self), host: Arc::clone(host), answered: false })
            }
            Ok(Turn::Refused(why)) => Err(why),
            Err(_) => Err("the worker is ending".into()),
        }
    }

    /// Lets the fetches run whose turn has come by the time that has passed.
    pub fn tick(&self) {
        let turns = self.hosts().tick(Instant::now());
        self.tell(turns);
    }

    /// As [`Hosts::answers`].
    pub fn answers(&self, host: &str) -> bool {
        self.hosts().answers(host)
    }

    /// Records that a host has answered without a turn.
    pub fn answered(&self, host: &str) {
        let turns = self.hosts().answered(host, Outcome::Answered, Instant::now());
        self.tell(turns);
    }

    /// As [`Hosts::patient`].
    pub fn patient(&self, host: &str) -> bool {
        self.hosts().patient(host, Instant::now())
    }

    /// As [`Hosts::suspected`].
    pub fn suspected(&self, host: &str, attempts: u32) -> bool {
        self.hosts().suspected(host, attempts)
    }

    /// As [`Hosts::gave_up`].
    pub fn gave_up(&self, host: &str) -> bool {
        self.hosts().gave_up(host, Instant::now())
    }

    /// The store that is down, and for how long, as in [`Hosts::outage`].
    pub fn outage(&self) -> Option<(String, Duration)> {
        let now = Instant::now();
        self.hosts().outage(now).map(|(store, since)| (store, now - since))
    }

    /// Fetches that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.hosts().waiting()
    }

    fn tell(&self, mut turns: Vec<(Waiting, Turn)>) {
        while let Some((waiting, turn)) = turns.pop() {
            let runs = turn == Turn::Go;
            if waiting.told.send(turn).is_err() && runs {
                // The task has ended meanwhile, so another fetch may run.
                let now = Instant::now();
                let mut hosts = self.hosts();
                turns.extend(hosts.answered(&waiting.host, Outcome::Unknown, now));
                turns.extend(hosts.released(&waiting.host, now));
            }
        }
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts<Waiting>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Reports how the attempt has ended.
    pub(super) fn answered(&mut self, outcome: Outcome) {
        self.answered = true;
        let turns = self.queue.hosts().answered(&self.host, outcome, Instant::now());
        self.queue.tell(turns);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.answered {
            self.answered(Outcome::Unknown);
        }
        let turns = self.queue.hosts().released(&self.host, Instant::now());
        self.queue.tell(turns);
    }
}
