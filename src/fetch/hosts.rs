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

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    /// The longest time that a fetch waits for its turn, unless the host is a store.
    pub patience: Duration,
}

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

/// A waiting fetch.
pub trait Waiter {
    /// Whether nobody waits any more.
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

/// The hosts. `W` is a waiting fetch.
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
    failing: Vec<Arc<str>>,
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

/// Whether a host answers.
#[derive(Debug, Clone, Default)]
struct Breaker {
    failures: u32,
    down: Option<Down>,
}

#[derive(Debug, Clone)]
struct Down {
    since: Instant,
    probe_at: Instant,
    interval: Duration,
    probing: bool,
    /// Whether the host was a store when it went down.
    store: bool,
}

/// The number of items over which shares are counted.
const MEMORY: f64 = 1000.0;
/// Fetches of one host that may always run at once.
const FEWEST_RUNNING: usize = 4;
/// The waits between two probes of a host.
const FIRST_PROBE: Duration = Duration::from_secs(1);
const LAST_PROBE: Duration = Duration::from_secs(30);
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

impl Breaker {
    /// Takes in the end of an attempt. `store`: whether the host is a store now.
    fn ended(&mut self, outcome: Outcome, failures: u32, store: bool, now: Instant) {
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

    fn end_probe(&mut self, now: Instant, failed: bool) {
        let Some(down) = self.down.as_mut().filter(|down| down.probing) else { return };
        down.probing = false;
        if failed {
            down.interval = (down.interval * 2).min(LAST_PROBE);
        }
        down.probe_at = now + down.interval;
    }

    /// Whether an attempt may start: the host is not down, or it is time for a probe.
    fn lets_pass(&self, now: Instant) -> bool {
        self.down.as_ref().is_none_or(|down| !down.probing && now >= down.probe_at)
    }

    fn start(&mut self) {
        if let Some(down) = &mut self.down {
            down.probing = true;
        }
    }
}

impl Down {
    fn new(store: bool, now: Instant) -> Self {
        let (interval, probing) = (FIRST_PROBE, false);
        Self { since: now, probe_at: now + interval, interval, probing, store }
    }
}

impl<W> Host<W> {
    fn new() -> Self {
        let (waiting, breaker) = (VecDeque::new(), Breaker::default());
        Self { waiting, running: 0, items: Recent::default(), breaker, answered: None }
    }

    /// Whether nothing is lost if the host is forgotten.
    fn idle(&self, arrived: u64) -> bool {
        let rare = self.items.now(arrived) < 1.0;
        rare && self.waiting.is_empty() && self.running == 0 && self.breaker.down.is_none()
    }
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
            failing: Vec::new(),
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

    /// A fetch waits for its turn. It is told with one of the returned turns, of this or a later
    /// call.
    pub fn wait(&mut self, host: &str, waiting: W, now: Instant) -> Vec<(W, Turn)> {
        let key = self.key(host);
        let known = self.host(host);
        if known.waiting.is_empty() {
            self.turns.push_back(key);
        }
        self.host(host).waiting.push_back((waiting, now));
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
        self.network_answered(key, outcome, now);
        self.turns(now, false)
    }

    /// The place of an attempt is free again.
    pub fn released(&mut self, host: &str, now: Instant) -> Vec<(W, Turn)> {
        self.running -= 1;
        self.host(host).running -= 1;
        self.turns(now, false)
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
                if self.network.down.is_none() && !self.failing.contains(&host) {
                    self.failing.push(host);
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
        if let Some(down) = self.network_down(now).filter(|_| self.hosts.values().any(waits)) {
            return Some(("all hosts".into(), down.since));
        }
        let store = self.hosts.iter().find(|(_, host)| waits(host) && self.waits_for(host, now));
        store.and_then(|(name, host)| Some((name.to_string(), host.breaker.down.as_ref()?.since)))
    }

    /// Whether the items of a host wait because it is down. An attempt that failed meanwhile does
    /// not count as an attempt.
    pub fn patient(&self, host: &str, now: Instant) -> bool {
        let known = self.hosts.get(host);
        known.is_some_and(|host| self.waits_for(host, now)) || self.network_down(now).is_some()
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
        let network_down = self.network_down(now).is_some();
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
mod tests {
    use super::*;

    impl Waiter for usize {
        fn gone(&self) -> bool {
            false
        }
    }

    /// An attempt ends, and its place is free.
    fn end(
        hosts: &mut Hosts<usize>,
        host: &str,
        outcome: Outcome,
        now: Instant,
    ) -> Vec<(usize, Turn)> {
        let mut told = hosts.answered(host, outcome, now);
        told.extend(hosts.released(host, now));
        told
    }

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn limits(running: usize) -> HostLimits {
        HostLimits {
            running,
            failures: 3,
            store_share: 0.1,
            outage_limit: None,
            patience: Duration::from_secs(60),
        }
    }

    /// Hosts after `items` items without a host and `of` items of `host`.
    fn hosts(limits: HostLimits, items: usize, of: &[(&str, usize)]) -> Hosts<usize> {
        let mut hosts = Hosts::new(limits);
        let each = of.iter().map(|&(_, items)| items).max().unwrap_or(0);
        for round in 0..each {
            of.iter().filter(|of| of.1 > round).for_each(|of| hosts.arrived(of.0));
            (0..items / each).for_each(|_| hosts.arrived_without_host());
        }
        hosts
    }

    fn go(told: &[(usize, Turn)]) -> Vec<usize> {
        told.iter().filter(|(_, turn)| *turn == Turn::Go).map(|&(who, _)| who).collect()
    }

    fn refused(told: &[(usize, Turn)]) -> Vec<usize> {
        told.iter().filter(|(_, turn)| *turn != Turn::Go).map(|&(who, _)| who).collect()
    }

    /// Lets attempts of a host fail until it is down.
    fn fail(hosts: &mut Hosts<usize>, host: &str, now: Instant) {
        for attempt in 0..3 {
            assert_eq!(go(&hosts.wait(host, attempt, now)), [attempt]);
            end(hosts, host, Outcome::Failed, now);
        }
    }

    #[test]
    fn one_host_leaves_room_for_the_others() {
        let now = Instant::now();
        let mut hosts = hosts(limits(8), 0, &[("slow", 100), ("other", 2)]);
        let started: usize = (0..50).map(|i| go(&hosts.wait("slow", i, now)).len()).sum();
        assert_eq!(started, 6, "three quarters of the fetches");
        assert_eq!(go(&hosts.wait("other", 90, now)), [90]);
        assert_eq!(hosts.waiting(), 44);
        assert_eq!(
            go(&end(&mut hosts, "slow", Outcome::Answered, now)),
            [6],
            "in order of arrival"
        );
    }

    #[test]
    fn a_host_with_few_items_has_few_fetches() {
        let now = Instant::now();
        let mut hosts = hosts(limits(64), 980, &[("rare", 20)]);
        let started: usize = (0..20).map(|i| go(&hosts.wait("rare", i, now)).len()).sum();
        assert_eq!(started, FEWEST_RUNNING);
    }

    #[test]
    fn items_of_a_dead_host_fail_at_once_and_probes_find_out_when_it_answers() {
        let start = Instant::now();
        let mut hosts = hosts(limits(64), 1000, &[("dead", 25)]);
        fail(&mut hosts, "dead", start);
        assert!(hosts.gave_up("dead", start) && hosts.outage(start).is_none());
        assert_eq!(refused(&hosts.wait("dead", 7, start)), [7]);
        let probe = start + FIRST_PROBE;
        assert_eq!(go(&hosts.wait("dead", 8, probe)), [8]);
        assert_eq!(refused(&hosts.wait("dead", 9, probe)), [9], "one probe at a time");
        end(&mut hosts, "dead", Outcome::Failed, probe);
        let next = probe + FIRST_PROBE;
        assert_eq!(refused(&hosts.wait("dead", 10, next)), [10], "the waits double");
        let next = next + FIRST_PROBE;
        assert_eq!(go(&hosts.wait("dead", 11, next)), [11]);
        end(&mut hosts, "dead", Outcome::Answered, next);
        assert_eq!(go(&hosts.wait("dead", 12, next)), [12]);
    }

    #[test]
    fn items_wait_for_a_store_that_is_down() {
        let start = Instant::now();
        let mut hosts = hosts(limits(64), 60, &[("store", 40)]);
        fail(&mut hosts, "store", start);
        assert!(hosts.patient("store", start) && !hosts.gave_up("store", start));
        assert_eq!(hosts.outage(start), None, "no item waits");
        for waiting in [7, 8] {
            assert_eq!(hosts.wait("store", waiting, start + ms(10)), []);
        }
        assert_eq!(hosts.outage(start).unwrap().0, "store");
        assert_eq!(go(&hosts.wait("other", 90, start)), [90], "another host is not affected");
        let probe = start + FIRST_PROBE;
        assert_eq!(go(&hosts.tick(probe)), [7], "the oldest is the probe");
        assert!(hosts.outage(probe).is_some());
        assert_eq!(go(&end(&mut hosts, "store", Outcome::Answered, probe)), [8]);
        assert_eq!(hosts.outage(probe), None);
    }

    #[test]
    fn a_limit_turns_the_wait_for_a_store_into_failures() {
        let start = Instant::now();
        let limits = HostLimits { outage_limit: Some(ms(500)), ..limits(64) };
        let mut hosts = hosts(limits, 0, &[("store", 40)]);
        fail(&mut hosts, "store", start);
        assert_eq!(hosts.wait("store", 7, start), []);
        assert_eq!(refused(&hosts.tick(start + ms(500))), [7]);
        assert_eq!(hosts.outage(start + ms(500)), None);
    }

    #[test]
    fn many_hosts_that_fail_at_the_same_time_are_an_outage_of_the_network() {
        let start = Instant::now();
        let names: Vec<String> = (0..20).map(|i| format!("host-{i}")).collect();
        let each: Vec<(&str, usize)> = names.iter().map(|name| (&name[..], 1)).collect();
        let mut hosts = hosts(limits(64), 0, &each);
        for (i, name) in names[..3].iter().enumerate() {
            assert_eq!(go(&hosts.wait(name, i, start)), [i]);
            end(&mut hosts, name, Outcome::Failed, start);
        }
        assert_eq!(hosts.wait("host-5", 5, start), []);
        assert_eq!(hosts.outage(start).unwrap().0, "all hosts");
        assert_eq!(go(&hosts.tick(start + FIRST_PROBE)), [5]);
        end(&mut hosts, "host-5", Outcome::Answered, start + FIRST_PROBE);
        assert_eq!(go(&hosts.wait("host-6", 6, start + FIRST_PROBE)), [6]);
    }

    #[test]
    fn a_fetch_does_not_wait_forever_for_a_host_that_never_answers() {
        let start = Instant::now();
        let mut hosts = hosts(limits(64), 980, &[("silent", 20)]);
        (0..4).for_each(|i| assert_eq!(go(&hosts.wait("silent", i, start)), [i]));
        assert_eq!(hosts.wait("silent", 4, start), []);
        assert_eq!(hosts.tick(start + Duration::from_secs(60)), []);
        assert_eq!(refused(&hosts.tick(start + Duration::from_secs(61))), [4]);
    }

    #[test]
    fn a_fetch_waits_for_a_host_that_is_only_slow() {
        let start = Instant::now();
        let mut hosts = hosts(limits(64), 980, &[("slow", 20)]);
        (0..4).for_each(|i| assert_eq!(go(&hosts.wait("slow", i, start)), [i]));
        assert_eq!(hosts.wait("slow", 4, start), []);
        let later = start + Duration::from_secs(50);
        assert_eq!(go(&end(&mut hosts, "slow", Outcome::Answered, later)), [4]);
        assert_eq!(hosts.wait("slow", 5, start), []);
        assert_eq!(hosts.tick(start + Duration::from_secs(100)), []);
    }

    #[test]
    fn after_an_outage_of_the_network_no_host_is_blamed_for_it() {
        let start = Instant::now();
        let names: Vec<String> = (0..20).map(|i| format!("host-{i}")).collect();
        let each: Vec<(&str, usize)> = names.iter().map(|name| (&name[..], 1)).collect();
        let mut hosts = hosts(limits(64), 0, &each);
        for (i, name) in names[..3].iter().enumerate() {
            assert_eq!(go(&hosts.wait(name, i, start)), [i]);
            end(&mut hosts, name, Outcome::Failed, start);
        }
        assert_eq!(hosts.wait("host-5", 5, start), []);
        assert_eq!(hosts.wait("host-6", 6, start), []);
        let later = start + Duration::from_secs(3600);
        assert_eq!(go(&hosts.tick(later)), [5], "one probe, however long it took");
        assert_eq!(go(&end(&mut hosts, "host-5", Outcome::Answered, later)), [6]);
    }

    #[test]
    fn one_bad_item_of_a_store_is_told_from_a_store_that_fails() {
        let now = Instant::now();
        let limits = HostLimits { failures: 20, ..limits(64) };
        let mut hosts = hosts(limits, 0, &[("store", 10)]);
        for attempt in 0..4 {
            assert!(!hosts.suspected("store", 3), "{attempt} attempts failed");
            assert_eq!(go(&hosts.wait("store", attempt, now)), [attempt]);
            end(&mut hosts, "store", Outcome::Failed, now);
        }
        assert!(hosts.suspected("store", 3));
    }
}
