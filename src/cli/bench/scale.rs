//! Several workers in one consumer group: how much faster they are than one, and how long a
//! rebalance takes.
//!
//! The workers run in this process. Their network only sleeps, as if it ran on a device of its own,
//! so that the cores of this machine do not limit them.

use std::time::{Duration, Instant};

use dorfman_core::engine::{ScriptedNetwork, single_label_shape};

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
        let config = configured(broker.bootstrap_servers(), tiny::TOPIC)?;
        let mut group = Group::new(config, PARTITIONS)?;
        (0..members).try_for_each(|_| group.add())?;
        group.wait_until_balanced(Instant::now())?;
        group.wait_for_verdicts()?;
        let start = Instant::now();
        group.stream.send_up_to(group.stream.sent() + ITEMS)?;
        group.wait_for_verdicts()?;
        let rate = ITEMS as f64 / start.elapsed().as_secs_f64();
        group.stop()?;
        let one = *alone.get_or_insert(rate);
        let name = format!("{members} workers on {PARTITIONS} partitions: items/s");
        figure(&name, format!("{rate:.0}"), "");
        figure("  times one worker", format!("{:.2}", rate / one), goal);
    }
    Ok(())
}

/// A group of many members, with each group protocol of a Kafka cluster: how long it takes until
/// its partitions are spread evenly, when the group starts, when one more worker joins and when one
/// leaves; and the longest time in which no worker gives a verdict.
///
/// # Errors
/// [`CliError`] if a worker fails or if the group stays uneven.
pub(super) fn rebalance(brokers: &str, members: usize) -> Result<(), CliError> {
    for protocol in ["classic", "consumer"] {
        let name = format!("rebalance-{protocol}");
        let mut config = configured(brokers, &name)?;
        config.source.properties.insert("group.protocol".into(), protocol.into());
        config.kafka.group_id = name;
        let mut group = Group::new(config, (members * PER_MEMBER) as i32)?;
        let start = format!("{protocol}: {members} workers start");
        group.measure(&start, |group| (0..members).try_for_each(|_| group.add()))?;
        group.measure(&format!("{protocol}: one more joins"), Group::add)?;
        group.measure(&format!("{protocol}: one leaves"), Group::remove)?;
        group.wait_for_verdicts()?;
        group.stop()?;
    }
    Ok(())
}

fn configured(brokers: &str, topic: &str) -> Result<Config, CliError> {
    let mut config = tiny::config(brokers)?;
    config.source.topic = topic.into();
    config.group.size = GroupSize::Fixed(1);
    config.decode.threads = 1;
    Ok(config)
}

/// Workers in one consumer group, and their stream.
struct Group {
    config: Config,
    stream: Stream,
    partitions: i64,
    workers: Vec<Running>,
    /// Workers that were told to stop.
    leaving: Vec<Running>,
}

impl Group {
    /// A group without workers, and one image in each partition of its topic.
    fn new(config: Config, partitions: i32) -> Result<Self, CliError> {
        let mut stream = Stream::new(&config, config.source.topic.first(), partitions)?;
        // Creates the topic, if the brokers create topics.
        stream.send_up_to(partitions as usize)?;
        stream.flush()?;
        let (workers, leaving) = (Vec::new(), Vec::new());
        Ok(Self { config, stream, partitions: partitions.into(), workers, leaving })
    }

    /// Starts one more worker.
    fn add(&mut self) -> Result<(), CliError> {
        let shape = single_label_shape(self.config.engine.slots, 1, 1);
        // Every test has one image.
        let network = ScriptedNetwork::new(shape).with_test_hook(|members, _, _| {
            pause(PER_IMAGE * members.len() as u32);
            Ok(())
        });
        self.workers.push(worker::start(&self.config, tiny::model(network))?);
        Ok(())
    }

    /// Tells one worker to stop, as SIGTERM does.
    fn remove(&mut self) -> Result<(), CliError> {
        self.leaving.extend(self.workers.pop().inspect(Running::stop));
        Ok(())
    }

    /// Stops all workers and waits for their end.
    fn stop(mut self) -> Result<(), CliError> {
        self.workers.iter().for_each(Running::stop);
        self.leaving.append(&mut self.workers);
        self.leaving.into_iter().try_for_each(|worker| worker.wait().map(drop))?;
        Ok(())
    }

    /// Prints how long the group is uneven after a change, and the longest time without a verdict.
    fn measure(
        &mut self,
        what: &str,
        change: impl FnOnce(&mut Self) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let start = Instant::now();
        change(self)?;
        let longest = self.wait_until_balanced(start)?.as_secs_f64();
        let seconds = start.elapsed().as_secs_f64();
        figure(&format!("{what}: seconds until balanced"), format!("{seconds:.1}"), "");
        figure("  longest time without a verdict, in seconds", format!("{longest:.2}"), "");
        Ok(())
    }

    /// Items with a verdict of any worker.
    fn judged(&self) -> u64 {
        self.workers.iter().chain(&self.leaving).map(|worker| worker.metrics().judged()).sum()
    }

    /// Whether every partition has one reader, and no worker has two partitions more than another.
    fn is_balanced(&self) -> bool {
        let read = |worker: &Running| worker.metrics().partitions.get();
        let partitions: Vec<i64> = self.workers.iter().map(read).collect();
        let uneven =
            partitions.iter().max().zip(partitions.iter().min()).map(|(most, least)| most - least);
        partitions.iter().sum::<i64>() == self.partitions
            && uneven.is_some_and(|uneven| uneven <= 1)
    }

    /// Sends a steady stream until the group is balanced. Returns the longest time without a verdict
    /// since `start`.
    fn wait_until_balanced(&mut self, start: Instant) -> Result<Duration, CliError> {
        let before = self.stream.sent();
        let (mut judged, mut last, mut longest) = (self.judged(), start, Duration::ZERO);
        while !self.is_balanced() {
            self.check(start)?;
            let due = start.elapsed().as_secs_f64() * OFFERED;
            self.stream.send_up_to(before + due as usize)?;
            let now = self.judged();
            if now > judged {
                (judged, last) = (now, Instant::now());
            }
            longest = longest.max(last.elapsed());
            pause(TICK);
        }
        Ok(longest)
    }

    fn wait_for_verdicts(&self) -> Result<(), CliError> {
        let start = Instant::now();
        while self.judged() < self.stream.sent() as u64 {
            self.check(start)?;
            pause(TICK);
        }
        Ok(())
    }

    /// Fails if a worker has failed, or if the wait since `start` is too long.
    fn check(&self, start: Instant) -> Result<(), CliError> {
        if self.workers.iter().any(Running::failed) {
            return Err(CliError::Failed("a worker failed".into()));
        }
        if start.elapsed() > PATIENCE {
            let (judged, sent) = (self.judged(), self.stream.sent());
            let message = format!("{judged} of {sent} items judged after {} s", PATIENCE.as_secs());
            return Err(CliError::Failed(message));
        }
        Ok(())
    }
}

/// Waits. No other thread depends on it.
fn pause(time: Duration) {
    let _ = crossbeam_channel::never::<()>().recv_timeout(time);
}
