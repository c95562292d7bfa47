//! The queue of fetches: tasks wait in it for their turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::hosts::{HostLimits, Hosts, Outcome, Turn};

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

/// The right to make one attempt. Its end is reported when it is dropped.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    queue: &'a Queue,
    host: Arc<str>,
    outcome: Outcome,
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

    /// Waits for the turn of a fetch.
    ///
    /// # Errors
    /// Why the fetch has no turn.
    pub async fn turn(&self, host: &Arc<str>) -> Result<Pass<'_>, String> {
        let (told, turn) = oneshot::channel();
        let waiting = Waiting { host: Arc::clone(host), told };
        let turns = self.hosts().wait(host, waiting, Instant::now());
        self.tell(turns);
        match turn.await {
            Ok(Turn::Go) => {
                Ok(Pass { queue: self, host: Arc::clone(host), outcome: Outcome::Unknown })
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

    /// As [`Hosts::patient`].
    pub fn patient(&self, host: &str) -> bool {
        self.hosts().patient(host, Instant::now())
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
                turns.extend(self.hosts().ended(&waiting.host, Outcome::Unknown, now));
            }
        }
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts<Waiting>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Ends the attempt.
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let turns = self.queue.hosts().ended(&self.host, self.outcome, Instant::now());
        self.queue.tell(turns);
    }
}
