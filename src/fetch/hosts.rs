//! Which fetch may run next, and which hosts answer (pure).
//!
//! A host that never answers must not take the places of the others. Each host therefore has a
//! limit of fetches that run at once, which follows its share of the items, and the hosts take
//! turns. A host that fails many times in a row is *down*: only one fetch at a time probes it, after
//! rising waits, until it answers.
//!
//! What happens to the items of a host that is down depends on its share. A host with a large share
//! of the recent items is a store of images: its items wait, and the worker reads no more items. The
//! items of other hosts fail at once, so that a dead host cannot stop the stream.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::breaker::{Breaker, Down, Outcome};

/// The limits of fetches.
#[derive(Debug, Clone, PartialEq)]
pub struct HostLimits {
    /// Fetches that run at once, at most, at least 1.
    pub running: usize,
    /// Temporary failures in a row after which a host is down, at least 1.
    pub failures: u32,
    /// Share of the recent items from which a host counts as a store, 0 to 1.
    pub store_share: f64,
    /// The longest time that items wait for a store that is down. `None`: no limit.
    pub outage_limit: Option<Duration>,
    /// The longest time that a fetch waits for its turn, with its attempts before, unless the host is a
    /// store or answers.
    pub patience: Duration,
}

/// A waiting fetch.
pub trait Waiter {
    /// Whether the fetch was given up.
    fn gone(&self) -> bool;
}

/// What a waiting fetch is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It may run. How it ends must be reported with [`Hosts::answered`], and then its place must be
    /// given back with [`Hosts::released`].
    Go,
    /// It will not run, for this reason.
    Refused(String),
}

/// The hosts, and the folders of `fetch.roots`, whose names begin with `file:/`. `W` is a waiting
/// fetch.
#[derive(Debug)]
pub struct Hosts<W> {
    limits: HostLimits,
    hosts: HashMap<Arc<str>, Host<W>>,
    /// The hosts with waiting fetches, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    running: usize,
    /// The recent items, of all hosts and without a host.
    items: Recent,
    /// Items so far.
    arrived: u64,
    /// The network as a whole: many hosts that fail at the same time.
    network: Breaker,
    /// The hosts that have failed since any host answered.
    failing: HashSet<Arc<str>>,
}

#[derive(Debug)]
struct Host<W> {
    waiting: VecDeque<(W, Instant)>,
    running: usize,
    items: Recent,
    breaker: Breaker,
    answered: Option<Instant>,
}

/// A count of recent items: an item counts 1, and less with each later item.
#[derive(Debug, Clone, Copy, Default)]
struct Recent {
    count: f64,
    at: u64,
}

/// The number of items over which shares are counted.
const MEMORY: f64 = 1000.0;
/// The count of a host whose last item is long ago: about three times [`MEMORY`] items.
const RECENT: f64 = 0.05;
/// Fetches of one host that may always run at once.
const FEWEST_RUNNING: usize = 4;
/// Hosts that are remembered, at most, without fetches.
const MOST_HOSTS: usize = 10_000;

impl Recent {
    fn now(self, arrived: u64) -> f64 {
        self.count * (1.0 - 1.0 / MEMORY).powf((arrived - self.at) as f64)
    }

    fn add(&mut self, arrived: u64) {
        *self = Self { count: self.now(arrived) + 1.0, at: arrived };
    }
}

impl<W> Host<W> {
    fn new() -> Self {
        let (waiting, breaker) = (VecDeque::new(), Breaker::default());
        Self { waiting, running: 0, items: Recent::default(), breaker, answered: None }
    }

    /// Whether the host may be forgotten. If it is down, its next item tries it again.
    fn idle(&self, arrived: u64) -> bool {
        let rare = self.items.now(arrived) < 1.0;
        rare && self.waiting.is_empty() && self.running == 0
    }
}

/// Whether a host is a folder, which is reached without the network.
fn is_folder(host: &str) -> bool {
    host.starts_with("file:/")
}

impl<W: Waiter> Hosts<W> {
    /// No hosts yet.
    pub fn new(limits: HostLimits) -> Self {
        Self {
            limits,
            hosts: HashMap::new(),
            turns: VecDeque::new(),
            running: 0,
            items: Recent::default(),
            arrived: 0,
            network: Breaker::default(),
            failing: HashSet::new(),
        }
    }

    /// Counts an item without a host, for the shares.
    pub fn arrived_without_host(&mut self) {
        self.arrived += 1;
        self.items.add(self.arrived);
    }

    /// Counts an item of a host, for the shares.
    pub fn arrived(&mut self, host: &str) {
        self.arrived += 1;
        self.items.add(self.arrived);
        if self.hosts.len() >= MOST_HOSTS && !self.hosts.contains_key(host) {
            let arrived = self.arrived;
            self.hosts.retain(|_, host| !host.idle(arrived));
        }
        let arrived = self.arrived;
        self.host(host).items.add(arrived);
    }

    /// A fetch waits for its turn, or, after a failed attempt, again. It has waited since `since`. It is
    /// told with one of the returned turns, of this or a later call.
    pub fn wait(&mut self, host: &str, waiting: W, since: Instant, now: Instant) -> Vec<(W, Turn)> {
        let key = self.key(host);
        let known = self.host(host);
        if known.waiting.is_empty() {
            self.turns.push_back(key);
        }
        self.host(host).waiting.push_back((waiting, since));
        self.turns(now, false)
    }

    /// An attempt has ended. Its place is still taken.
    pub fn answered(&mut self, host: &str, outcome: Outcome, now: Instant) -> Vec<(W, Turn)> {
        let (failures, key) = (self.limits.failures, self.key(host));
        let known = self.host(host);
        let items = known.items;
        if outcome == Outcome::Answered {
            known.answered = Some(now);
        }
        let store = self.is_store(items);
        self.host(host).breaker.ended(outcome, failures, store, now);
        if !is_folder(host) {
            self.network_answered(key, outcome, now);
        }
        self.turns(now, false)
    }

    /// The place of an attempt is free again.
    pub fn released(&mut self, host: &str, now: Instant) -> Vec<(W, Turn)> {
        self.running -= 1;
        self.host(host).running -= 1;
        self.turns(now, false)
    }

    /// Whether a store is not down, as far as is known.
    pub fn answers(&self, host: &str) -> bool {
        self.hosts.get(host).is_none_or(|host| host.breaker.down.is_none())
    }

    /// Many hosts that fail while none answers are a failing network, if their items are a large
    /// share.
    fn network_answered(&mut self, host: Arc<str>, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Unknown => self.network.end_probe(now, false),
            Outcome::Answered => {
                if self.network.down.is_some() {
                    self.start_anew(now);
                }
                self.failing.clear();
                self.network = Breaker::default();
            }
            Outcome::Failed => {
                self.network.end_probe(now, true);
                if self.network.down.is_none() && self.failing.insert(host) {
                    self.forget_old_failures();
                    let items = self.failing.iter().filter_map(|host| self.hosts.get(host));
                    let share: f64 = items.map(|host| self.share(host.items)).sum();
                    let many = self.failing.len() >= self.limits.failures as usize;
                    if many && share >= self.limits.store_share {
                        self.network.down = Some(Down::new(true, now));
                    }
                }
            }
        }
    }

    /// Forgets the failures of hosts without recent items. They would change the share of the failing
    /// hosts by less than [`RECENT`] items each.
    fn forget_old_failures(&mut self) {
        let (hosts, arrived) = (&self.hosts, self.arrived);
        let recent = |host: &Host<W>| host.items.now(arrived) > RECENT;
        self.failing.retain(|name| hosts.get(name).is_some_and(recent));
    }

    /// After an outage of the network, no host is blamed for it.
    fn start_anew(&mut self, now: Instant) {
        for host in self.hosts.values_mut() {
            host.waiting.iter_mut().for_each(|(_, since)| *since = now);
            if let Some(down) = &mut host.breaker.down {
                down.probe_at = now;
            }
        }
    }

    /// Tells the fetches whose turn has come by the time that has passed.
    pub fn tick(&mut self, now: Instant) -> Vec<(W, Turn)> {
        self.turns(now, true)
    }

    /// The name of a store that is down while its items wait, with the time since when. Nothing
    /// more should be read then.
    pub fn outage(&self, now: Instant) -> Option<(String, Instant)> {
        let waits =
            |host: &Host<W>| host.waiting.iter().any(|(w, _)| !w.gone()) || host.running > 0;
        let mut on_network = self.hosts.iter().filter(|(name, _)| !is_folder(name));
        let any = on_network.any(|(_, host)| waits(host));
        if let Some(down) = self.network_down(now).filter(|_| any) {
            return Some(("all hosts".into(), down.since));
        }
        let store = self.hosts.iter().find(|(_, host)| waits(host) && self.waits_for(host, now));
        store.and_then(|(name, host)| Some((name.to_string(), host.breaker.down.as_ref()?.since)))
    }

    /// Whether the items of a host wait because it is down. An attempt that failed meanwhile does
    /// not count as an attempt.
    pub fn patient(&self, host: &str, now: Instant) -> bool {
        let known = self.hosts.get(host);
        let network_down = !is_folder(host) && self.network_down(now).is_some();
        network_down || known.is_some_and(|host| self.waits_for(host, now))
    }

    /// Whether a store has failed for other items too since it last answered, so that an item that
    /// has failed `attempts` times need not be the cause.
    pub fn suspected(&self, host: &str, attempts: u32) -> bool {
        let known = self.hosts.get(host);
        known.is_some_and(|host| self.is_store(host.items) && host.breaker.failures > attempts)
    }

    /// Whether a host is down and is not a store, so that its items fail at once.
    pub fn gave_up(&self, host: &str, now: Instant) -> bool {
        let down = self.hosts.get(host).is_some_and(|host| host.breaker.down.is_some());
        down && !self.patient(host, now)
    }

    /// Fetches that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.turns.iter().map(|host| self.hosts[host].waiting.len()).sum()
    }

    fn key(&self, host: &str) -> Arc<str> {
        self.hosts.get_key_value(host).map_or_else(|| host.into(), |(key, _)| Arc::clone(key))
    }

    fn host(&mut self, host: &str) -> &mut Host<W> {
        let key = self.key(host);
        self.hosts.entry(key).or_insert_with(Host::new)
    }

    fn share(&self, of: Recent) -> f64 {
        of.now(self.arrived) / self.items.now(self.arrived).max(1.0)
    }

    fn is_store(&self, items: Recent) -> bool {
        self.share(items) >= self.limits.store_share
    }

    fn within_limit(&self, down: &Down, now: Instant) -> bool {
        let time = now.saturating_duration_since(down.since);
        self.limits.outage_limit.is_none_or(|limit| time < limit)
    }

    /// Whether a host is a store that is down, and its items still wait for it.
    fn waits_for(&self, host: &Host<W>, now: Instant) -> bool {
        let down = host.breaker.down.as_ref();
        down.is_some_and(|down| down.store && self.within_limit(down, now))
    }

    fn network_down(&self, now: Instant) -> Option<&Down> {
        self.network.down.as_ref().filter(|down| self.within_limit(down, now))
    }

    fn most_running(&self, host: &Host<W>) -> usize {
        let fair = (2.0 * self.share(host.items) * self.limits.running as f64).ceil() as usize;
        let most = (3 * self.limits.running).div_ceil(4);
        fair.max(FEWEST_RUNNING).min(most)
    }

    /// Lets fetches run, and refuses those of hosts that are down and no stores. Without `all`, the
    /// hosts are looked at only while another fetch may run.
    fn turns(&mut self, now: Instant, all: bool) -> Vec<(W, Turn)> {
        let mut told = Vec::new();
        let mut passed_over = 0;
        while passed_over < self.turns.len() && (all || self.running < self.limits.running) {
            let Some(name) = self.turns.pop_front() else { break };
            if let Some(host) = self.hosts.get_mut(&name) {
                while host.waiting.front().is_some_and(|(waiting, _)| waiting.gone()) {
                    host.waiting.pop_front();
                }
            }
            let turn = self.turn(&name, now);
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            match turn {
                Some(turn) => {
                    passed_over = 0;
                    if let Some((waiting, _)) = host.waiting.pop_front() {
                        told.push((waiting, turn));
                    }
                }
                None => passed_over += 1,
            }
            if !host.waiting.is_empty() {
                self.turns.push_back(name);
            }
        }
        told
    }

    /// What the first waiting fetch of a host is told. `None`: it waits.
    fn turn(&mut self, name: &str, now: Instant) -> Option<Turn> {
        let host = self.hosts.get(name)?;
        let (_, since) = host.waiting.front()?;
        let network_down = !is_folder(name) && self.network_down(now).is_some();
        let waits_for = self.waits_for(host, now) || network_down;
        if let Some(down) = host.breaker.down.as_ref().filter(|_| !waits_for) {
            if !host.breaker.lets_pass(now) {
                let seconds = (now - down.since).as_secs();
                return Some(Turn::Refused(format!(
                    "the host has failed {} times in a row, and is not tried again before its next \
                     probe (down for {seconds} s)",
                    host.breaker.failures
                )));
            }
        } else if !waits_for && !self.is_store(host.items) {
            // A host that answers is only slow; then the worker reads more slowly.
            let long = |since: Instant| now.saturating_duration_since(since) > self.limits.patience;
            if long(*since) && host.answered.is_none_or(long) {
                let detail = "the host has not answered within `fetch.deadline`";
                return Some(Turn::Refused(detail.into()));
            }
        }
        let free = self.running < self.limits.running && host.running < self.most_running(host);
        let passes = host.breaker.lets_pass(now) && (!network_down || self.network.lets_pass(now));
        if !free || !passes {
            return None;
        }
        if network_down {
            self.network.start();
        }
        self.running += 1;
        let host = self.host(name);
        host.running += 1;
        host.breaker.start();
        Some(Turn::Go)
    }
}

#[cfg(test)]
mod tests;
