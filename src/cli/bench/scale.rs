//! Several workers in one consumer group: how much faster they are than one, and how long a
//! rebalance takes.
//!
//! The workers run in this process. Their network only sleeps, as if it ran on a device of its own,
//! so that the cores of this machine do not limit them.

use std::time::{Duration, Instant};

use dorfman_core::engine::{Network, NetworkShape, NullNetwork, RunError, single_label_shape};

use super::super::CliError;
use super::figure;
use super::tiny::{self, Stream};
use crate::config::Config;
use crate::config::group::GroupSize;
use crate::source::embedded::EmbeddedBroker;
use crate::worker::{self, Running};

/// The time that the network takes per image.
const PER_IMAGE: Duration = Duration::from_millis(1);
/// Images of a measurement of the rate.
const ITEMS: usize = 16_000;
const PARTITIONS: i32 = 16;
/// Partitions per member of the group whose rebalances are measured.
const PER_MEMBER: usize = 2;
/// Images per second while the group rebalances.
const OFFERED: f64 = 500.0;
/// The longest wait for a rebalance or for all verdicts.
const PATIENCE: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_millis(5);

/// One, two and four workers on 16 partitions.
///
/// # Errors
/// [`CliError`] if a worker or the broker fails.
pub(super) fn speed_up() -> Result<(), CliError> {
    let mut alone = None;
    for (members, goal) in [(1, ""), (2, "at least 1.9"), (4, "at least 3.7")] {
        let broker = EmbeddedBroker::start(&[
            (tiny::TOPIC, PARTITIONS),
            ("images.flagged", 1),
            ("images.dead", 1),
        ])?;
        let config = configured(broker.bootstrap_servers())?;
        let mut group = Group::start(&config, tiny::TOPIC, PARTITIONS, members)?;
        group.wait_until_balanced()?;
        group.wait_for_verdicts()?;
        let start = Instant::now();
        group.stream.send(ITEMS)?;
        group.wait_for_verdicts()?;
        let rate = ITEMS as f64 / start.elapsed().as_secs_f64();
        group.stop()?;
        let one = *alone.get_or_insert(rate);
        figure(
            &format!("{members} workers on {PARTITIONS} partitions: items/s"),
            format!("{rate:.0}"),
            "",
        );
        figure("  times one worker", format!("{:.2}", rate / one), goal);
    }
    Ok(())
}

/// A group of many members, with each group protocol of a Kafka cluster: how long it takes until
/// its partitions are spread evenly, when the group starts, when one more worker joins and when one
/// leaves; and the longest time in which no worker gives a verdict.
///
/// # Errors
/// [`CliError`] if a worker fails or if the group does not come to rest.
pub(super) fn rebalance(brokers: &str, members: usize) -> Result<(), CliError> {
    for protocol in ["classic", "consumer"] {
        let mut config = configured(brokers)?;
        config.source.properties.insert("group.protocol".into(), protocol.into());
        config.kafka.group_id = format!("rebalance-{protocol}");
        let topic = format!("rebalance-{protocol}");
        let mut group = Group::start(&config, &topic, (members * PER_MEMBER) as i32, members)?;
        report(&mut group, protocol, &format!("{members} workers start"))?;
        group.add(&config)?;
        report(&mut group, protocol, "one more joins")?;
        group.remove()?;
        report(&mut group, protocol, "one leaves")?;
        group.wait_for_verdicts()?;
        group.stop()?;
    }
    Ok(())
}

fn report(group: &mut Group, protocol: &str, what: &str) -> Result<(), CliError> {
    let Rest { seconds, standstill } = group.wait_until_balanced()?;
    figure(&format!("{protocol}: {what}: seconds until balanced"), format!("{seconds:.1}"), "");
    figure("  longest time without a verdict, in seconds", format!("{standstill:.2}"), "");
    Ok(())
}

fn configured(brokers: &str) -> Result<Config, CliError> {
    let mut config = tiny::config(brokers)?;
    config.group.size = GroupSize::Fixed(1);
    config.decode.threads = 1;
    Ok(config)
}

/// How a group came to rest.
struct Rest {
    /// Seconds until the partitions were spread evenly.
    seconds: f64,
    /// The longest time without a verdict of any worker, in seconds.
    standstill: f64,
}

/// Workers in one consumer group, and their stream.
struct Group {
    stream: Stream,
    partitions: i64,
    workers: Vec<Running>,
    /// Verdicts of workers that have left.
    judged_before: u64,
}

impl Group {
    fn start(
        config: &Config,
        topic: &str,
        partitions: i32,
        members: usize,
    ) -> Result<Self, CliError> {
        let mut config = config.clone();
        config.source.topic = topic.into();
        let stream = Stream::new(&config, topic, partitions)?;
        // Creates the topic, if the brokers create topics.
        stream.send(partitions as usize)?;
        stream.flush()?;
        let mut group = Self {
            stream,
            partitions: i64::from(partitions),
            workers: Vec::new(),
            judged_before: 0,
        };
        (0..members).try_for_each(|_| group.add(&config))?;
        Ok(group)
    }

    fn add(&mut self, config: &Config) -> Result<(), CliError> {
        let mut config = config.clone();
        config.source.topic = self.stream.topic().into();
        let network = Sleeping(NullNetwork::new(single_label_shape(config.engine.slots, 1, 1)));
        self.workers.push(worker::start(&config, tiny::model(network))?);
        Ok(())
    }

    /// Stops one worker, as SIGTERM does.
    fn remove(&mut self) -> Result<(), CliError> {
        let Some(worker) = self.workers.pop() else { return Ok(()) };
        worker.stop();
        let items = worker.metrics().items.clone();
        worker.wait()?;
        self.judged_before += sum(&items);
        Ok(())
    }

    fn stop(mut self) -> Result<(), CliError> {
        self.workers.iter().for_each(Running::stop);
        self.workers.drain(..).try_for_each(|worker| worker.wait().map(drop))?;
        Ok(())
    }

    fn judged(&self) -> u64 {
        let now: u64 = self.workers.iter().map(|worker| sum(&worker.metrics().items)).sum();
        self.judged_before + now
    }

    /// Whether every partition has one reader, and no worker has two partitions more than another.
    fn is_balanced(&self) -> bool {
        let partitions = self.workers.iter().map(|worker| worker.metrics().partitions.get());
        let (least, most) =
            partitions.clone().fold((i64::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
        partitions.sum::<i64>() == self.partitions && most - least <= 1
    }

    /// Sends a steady stream until the group is balanced.
    fn wait_until_balanced(&mut self) -> Result<Rest, CliError> {
        let start = Instant::now();
        let before = self.stream.sent();
        let (mut judged, mut last, mut standstill) = (self.judged(), start, Duration::ZERO);
        while !self.is_balanced() {
            self.check(start)?;
            let due = before + (start.elapsed().as_secs_f64() * OFFERED) as usize;
            self.stream.send(due - self.stream.sent())?;
            let now = self.judged();
            if now > judged {
                (judged, last) = (now, Instant::now());
            }
            standstill = standstill.max(last.elapsed());
            pause(TICK);
        }
        Ok(Rest { seconds: start.elapsed().as_secs_f64(), standstill: standstill.as_secs_f64() })
    }

    fn wait_for_verdicts(&self) -> Result<(), CliError> {
        let start = Instant::now();
        while self.judged() < self.stream.sent() as u64 {
            self.check(start)?;
            pause(TICK);
        }
        Ok(())
    }

    fn check(&self, start: Instant) -> Result<(), CliError> {
        if self.workers.iter().any(Running::failed) {
            return Err(CliError::Failed("a worker failed".into()));
        }
        if start.elapsed() > PATIENCE {
            let judged = format!("{} of {} items judged", self.judged(), self.stream.sent());
            return Err(CliError::Failed(format!(
                "no rest within {} s: {judged}",
                PATIENCE.as_secs()
            )));
        }
        Ok(())
    }
}

/// Waits. No other thread depends on it.
fn pause(time: Duration) {
    let _ = crossbeam_channel::never::<()>().recv_timeout(time);
}

fn sum(items: &prometheus::IntCounterVec) -> u64 {
    ["flagged", "cleared", "failed"].iter().map(|v| items.with_label_values(&[*v]).get()).sum()
}

/// A network that takes its time and computes nothing.
struct Sleeping(NullNetwork);

impl Network for Sleeping {
    fn shape(&self) -> &NetworkShape {
        self.0.shape()
    }

    fn embed(
        &mut self,
        images: &[&[u8]],
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        pause(PER_IMAGE * images.len() as u32);
        self.0.embed(images, first, exits)
    }

    fn merge(
        &mut self,
        level: usize,
        members: &[i64],
        arity: usize,
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        self.0.merge(level, members, arity, first, exits)
    }

    fn score(
        &mut self,
        members: &[i64],
        arity: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        self.0.score(members, arity, scores)
    }

    fn confirm(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        self.0.confirm(images, scores)
    }
}
