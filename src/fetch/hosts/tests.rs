use super::*;
use crate::fetch::breaker::FIRST_PROBE;

impl Waiter for usize {
    fn gone(&self) -> bool {
        false
    }
}

impl Hosts<usize> {
    /// A fetch waits from now on.
    fn wait_now(&mut self, host: &str, waiting: usize, now: Instant) -> Vec<(usize, Turn)> {
        self.wait(host, waiting, now, now)
    }
}

/// An attempt ends, and its place is free.
fn end(hosts: &mut Hosts<usize>, host: &str, outcome: Outcome, now: Instant) -> Vec<(usize, Turn)> {
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
        assert_eq!(go(&hosts.wait_now(host, attempt, now)), [attempt]);
        end(hosts, host, Outcome::Failed, now);
    }
}

/// Twenty hosts with one item each, of which three have failed.
fn failing_network(now: Instant) -> Hosts<usize> {
    let names: Vec<String> = (0..20).map(|i| format!("host-{i}")).collect();
    let each: Vec<(&str, usize)> = names.iter().map(|name| (&name[..], 1)).collect();
    let mut hosts = hosts(limits(64), 0, &each);
    for (i, name) in names[..3].iter().enumerate() {
        assert_eq!(go(&hosts.wait_now(name, i, now)), [i]);
        end(&mut hosts, name, Outcome::Failed, now);
    }
    hosts
}

#[test]
fn one_host_leaves_room_for_the_others() {
    let now = Instant::now();
    let mut hosts = hosts(limits(8), 0, &[("slow", 100), ("other", 2)]);
    let started: usize = (0..50).map(|i| go(&hosts.wait_now("slow", i, now)).len()).sum();
    assert_eq!(started, 6, "three quarters of the fetches");
    assert_eq!(go(&hosts.wait_now("other", 90, now)), [90]);
    assert_eq!(hosts.waiting(), 44);
    assert_eq!(go(&end(&mut hosts, "slow", Outcome::Answered, now)), [6], "in order of arrival");
}

#[test]
fn a_host_with_few_items_has_few_fetches() {
    let now = Instant::now();
    let mut hosts = hosts(limits(64), 980, &[("rare", 20)]);
    let started: usize = (0..20).map(|i| go(&hosts.wait_now("rare", i, now)).len()).sum();
    assert_eq!(started, FEWEST_RUNNING);
}

#[test]
fn items_of_a_dead_host_fail_at_once_and_probes_find_out_when_it_answers() {
    let start = Instant::now();
    let mut hosts = hosts(limits(64), 1000, &[("dead", 25)]);
    fail(&mut hosts, "dead", start);
    assert!(hosts.gave_up("dead", start) && hosts.outage(start).is_none());
    assert_eq!(refused(&hosts.wait_now("dead", 7, start)), [7]);
    let probe = start + FIRST_PROBE;
    assert_eq!(go(&hosts.wait_now("dead", 8, probe)), [8]);
    assert_eq!(refused(&hosts.wait_now("dead", 9, probe)), [9], "one probe at a time");
    end(&mut hosts, "dead", Outcome::Failed, probe);
    let next = probe + FIRST_PROBE;
    assert_eq!(refused(&hosts.wait_now("dead", 10, next)), [10], "the waits double");
    let next = next + FIRST_PROBE;
    assert_eq!(go(&hosts.wait_now("dead", 11, next)), [11]);
    end(&mut hosts, "dead", Outcome::Answered, next);
    assert_eq!(go(&hosts.wait_now("dead", 12, next)), [12]);
}

#[test]
fn items_wait_for_a_store_that_is_down() {
    let start = Instant::now();
    let mut hosts = hosts(limits(64), 60, &[("store", 40)]);
    fail(&mut hosts, "store", start);
    assert!(hosts.patient("store", start) && !hosts.gave_up("store", start));
    assert_eq!(hosts.outage(start), None, "no item waits");
    for waiting in [7, 8] {
        assert_eq!(hosts.wait_now("store", waiting, start + ms(10)), []);
    }
    assert_eq!(hosts.outage(start).unwrap().0, "store");
    assert_eq!(go(&hosts.wait_now("other", 90, start)), [90], "another host is not affected");
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
    assert_eq!(hosts.wait_now("store", 7, start), []);
    assert_eq!(refused(&hosts.tick(start + ms(500))), [7]);
    assert_eq!(hosts.outage(start + ms(500)), None);
}

#[test]
fn many_hosts_that_fail_at_the_same_time_are_an_outage_of_the_network() {
    let start = Instant::now();
    let mut hosts = failing_network(start);
    assert_eq!(hosts.wait_now("host-5", 5, start), []);
    assert_eq!(hosts.outage(start).unwrap().0, "all hosts");
    assert_eq!(go(&hosts.tick(start + FIRST_PROBE)), [5]);
    end(&mut hosts, "host-5", Outcome::Answered, start + FIRST_PROBE);
    assert_eq!(go(&hosts.wait_now("host-6", 6, start + FIRST_PROBE)), [6]);
}

#[test]
fn a_fetch_does_not_wait_forever_for_a_host_that_never_answers() {
    let start = Instant::now();
    let mut hosts = hosts(limits(64), 980, &[("silent", 20)]);
    (0..4).for_each(|i| assert_eq!(go(&hosts.wait_now("silent", i, start)), [i]));
    assert_eq!(hosts.wait_now("silent", 4, start), []);
    assert_eq!(hosts.tick(start + Duration::from_secs(60)), []);
    assert_eq!(refused(&hosts.tick(start + Duration::from_secs(61))), [4]);
}

#[test]
fn attempts_count_for_the_wait_for_a_host_that_never_answers() {
    let start = Instant::now();
    let mut hosts = hosts(limits(64), 980, &[("silent", 20)]);
    (0..4).for_each(|i| assert_eq!(go(&hosts.wait_now("silent", i, start)), [i]));
    let later = start + Duration::from_secs(30);
    assert_eq!(hosts.wait_now("silent", 9, later), []);
    // Another attempt of an item that has failed once.
    assert_eq!(hosts.wait("silent", 5, start, later), []);
    assert_eq!(hosts.tick(start + Duration::from_secs(60)), []);
    assert_eq!(refused(&hosts.tick(start + Duration::from_secs(91))), [9, 5]);
}

#[test]
fn a_fetch_waits_for_a_host_that_is_only_slow() {
    let start = Instant::now();
    let mut hosts = hosts(limits(64), 980, &[("slow", 20)]);
    (0..4).for_each(|i| assert_eq!(go(&hosts.wait_now("slow", i, start)), [i]));
    assert_eq!(hosts.wait_now("slow", 4, start), []);
    let later = start + Duration::from_secs(50);
    assert_eq!(go(&end(&mut hosts, "slow", Outcome::Answered, later)), [4]);
    assert_eq!(hosts.wait_now("slow", 5, start), []);
    assert_eq!(hosts.tick(start + Duration::from_secs(100)), []);
}

#[test]
fn after_an_outage_of_the_network_no_host_is_blamed_for_it() {
    let start = Instant::now();
    let mut hosts = failing_network(start);
    assert_eq!(hosts.wait_now("host-5", 5, start), []);
    assert_eq!(hosts.wait_now("host-6", 6, start), []);
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
        assert_eq!(go(&hosts.wait_now("store", attempt, now)), [attempt]);
        end(&mut hosts, "store", Outcome::Failed, now);
    }
    assert!(hosts.suspected("store", 3));
}

#[test]
fn dead_hosts_without_number_are_forgotten() {
    let now = Instant::now();
    let mut hosts: Hosts<usize> = Hosts::new(HostLimits { failures: 1, ..limits(64) });
    for i in 0..2 * MOST_HOSTS {
        (0..19).for_each(|_| hosts.arrived_without_host());
        let name = format!("host-{i}");
        hosts.arrived(&name);
        assert_eq!(go(&hosts.wait_now(&name, i, now)), [i]);
        end(&mut hosts, &name, Outcome::Failed, now);
    }
    assert!(hosts.hosts.len() <= MOST_HOSTS && hosts.failing.len() < 1000);
}
