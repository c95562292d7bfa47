//! Runs images through the worker's engine, in turns with individual testing, and measures the
//! time.

use std::time::{Duration, Instant};

use dorfman_core::calibration::Thresholds;
use dorfman_core::engine::{
    BandPlan, BatchSettings, Driver, Engine, EngineError, ExitRule, Network, Stats, Verdict,
};
use dorfman_core::policy::{Individual, Plan};
use dorfman_model::cpu::SystemClock;
use dorfman_model::profile::Spread;

use crate::LabError;
use crate::feed::{GroupFeed, NEVER};

/// Images per turn of grouped testing, in batches of the preferred size.
const TURN_BATCHES: usize = 16;
/// The same for the turn of individual testing that follows.
const REFERENCE_BATCHES: usize = 8;

/// Called with every image and its verdict.
pub(super) type OnVerdict<'a> = &'a mut dyn FnMut(usize, Verdict);

/// The time that a number of images took. Sums.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Elapsed {
    /// Images with their verdict.
    pub images: u64,
    /// Seconds in the network, by the engine's stats.
    pub network: f64,
    /// Seconds of the engine's thread, without making the pixels.
    pub wall: f64,
}

impl Elapsed {
    /// Seconds in the network per image.
    pub fn network_per_image(&self) -> f64 {
        self.network / self.images as f64
    }

    /// Seconds of the engine's thread per image.
    pub fn wall_per_image(&self) -> f64 {
        self.wall / self.images as f64
    }

    fn relative_to(&self, reference: &Self) -> RelativeSeconds {
        RelativeSeconds {
            network: self.network_per_image() / reference.network_per_image(),
            wall: self.wall_per_image() / reference.wall_per_image(),
        }
    }

    fn add(&mut self, other: Self) {
        self.images += other.images;
        self.network += other.network;
        self.wall += other.wall;
    }
}

/// Seconds per image relative to individual testing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RelativeSeconds {
    /// In the network.
    pub network: f64,
    /// Of the engine's thread.
    pub wall: f64,
}

/// The runs of a stratum: the counts of the first run, and the time of all runs.
#[derive(Debug, Clone, Default)]
pub(super) struct StratumRun {
    /// Images of one run.
    pub images: u64,
    /// Tests of one run by round.
    pub tests_by_round: Vec<u64>,
    /// Tests of one run by the confirm network.
    pub confirm_tests: u64,
    /// Multiply-adds of one run.
    pub macs: u64,
    /// The time of grouped testing.
    pub grouped: Elapsed,
    /// The time of individual testing in between.
    pub reference: Elapsed,
    /// The seconds of each turn relative to the turn of individual testing after it. Turns in which
    /// the engine fills or empties are left out if there are others.
    pub relative: Vec<RelativeSeconds>,
}

/// What makes a test positive.
#[derive(Debug, Clone)]
pub(super) struct TestRules {
    /// The thresholds of the network.
    pub thresholds: Thresholds,
    /// The thresholds of the confirm network, if it is used.
    pub confirm: Option<Thresholds>,
    /// The rules of the early exits, by level. Empty: no exit is used.
    pub exits: Vec<ExitRule>,
}

/// A network with its images and its batching.
pub(super) struct TimedRunner<'a, N> {
    /// The network for groups.
    pub network: &'a mut N,
    /// The same network again, for individual testing.
    pub individual_network: &'a mut N,
    /// Makes the pixels of an image.
    pub image: &'a dyn Fn(usize) -> Vec<u8>,
    /// How the engine batches.
    pub settings: BatchSettings,
    /// Thresholds that every score of a positive label passes.
    pub pass_all: Thresholds,
    /// Images for individual testing.
    pub reference: Vec<usize>,
    /// The least number of seconds in the network of each timing.
    pub seconds: f64,
}

impl<N: Network> TimedRunner<'_, N> {
    /// Runs every stage at the shapes that a plan uses.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn warm_up(&mut self, plan: Box<dyn Plan>) -> Result<(), EngineError> {
        let confirm = self.network.shape().confirm_macs.map(|_| self.pass_all.clone());
        let thresholds = self.pass_all.clone();
        let rules = TestRules { thresholds, confirm, exits: Vec::new() };
        let image_len = self.image_len();
        engine(&mut *self.network, plan, &rules, &self.settings).warm_up(image_len, &[])
    }

    /// Warms up the network of individual testing, and tests `images` alone. The verdicts have the
    /// scores of all positive labels.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn individual(
        &mut self,
        images: &[usize],
        on_verdict: OnVerdict<'_>,
    ) -> Result<Elapsed, EngineError> {
        let (rules, image_len) = (self.individual_rules(), self.image_len());
        let network = &mut *self.individual_network;
        let mut engine = engine(network, Box::new(Individual), &rules, &self.settings);
        engine.warm_up(image_len, &[])?;
        let feed = GroupFeed::new(images.iter().copied(), 1, self.image);
        Pass { driver: Driver::new(engine), feed }.turn(usize::MAX, on_verdict)
    }

    /// Sends `images` through the exits of `rules`, with `plan` behind them. `on_exit` is called
    /// with every image, and whether an exit cleared it.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn exits(
        &mut self,
        plan: Box<dyn Plan>,
        rules: &TestRules,
        images: &[usize],
        on_exit: &mut dyn FnMut(usize, bool),
    ) -> Result<(), EngineError> {
        let engine = engine(&mut *self.network, plan, rules, &self.settings);
        let mut driver = Driver::new(engine);
        let mut feed = GroupFeed::new(images.iter().copied(), 1, self.image);
        while !driver.is_done() {
            feed.fill(&mut driver);
            driver.turn()?;
            driver.verdicts().for_each(|item| on_exit(item.payload, item.exit.is_some()));
        }
        Ok(())
    }

    /// Individual testing without end, for seconds to compare with.
    pub fn reference(&mut self) -> Reference<'_, N> {
        let rules = self.individual_rules();
        let network = &mut *self.individual_network;
        let engine = engine(network, Box::new(Individual), &rules, &self.settings);
        let feed = GroupFeed::new(self.reference.iter().copied().cycle(), 1, self.image);
        let images = REFERENCE_BATCHES * self.settings.preferred_batch;
        Reference { pass: Pass { driver: Driver::new(engine), feed }, images }
    }

    /// Runs a stratum in turns with individual testing, again and again until both have their
    /// seconds. `plan` makes the plan of each run. `on_verdict` is called only in the first run, so
    /// that the finds do not depend on the speed of the machine.
    ///
    /// # Errors
    /// [`LabError`] from the engine or from `plan`.
    pub fn stratum(
        &mut self,
        plan: &dyn Fn() -> Result<Box<dyn Plan>, LabError>,
        rules: &TestRules,
        stratum: &[usize],
        on_verdict: OnVerdict<'_>,
    ) -> Result<StratumRun, LabError> {
        let (batch, seconds) = (self.settings.preferred_batch, self.seconds);
        let rules_alone = self.individual_rules();
        let network = &mut *self.individual_network;
        let alone = engine(network, Box::new(Individual), &rules_alone, &self.settings);
        let feed = GroupFeed::new(self.reference.iter().copied().cycle(), 1, self.image);
        let mut reference = Pass { driver: Driver::new(alone), feed };
        let mut total = StratumRun { images: stratum.len() as u64, ..StratumRun::default() };
        for run in 0.. {
            let plan = plan()?;
            let feed = GroupFeed::new(stratum.iter().copied(), plan.group_size(), self.image);
            let engine = engine(&mut *self.network, plan, rules, &self.settings);
            let mut grouped = Pass { driver: Driver::new(engine), feed };
            let mut turns = Vec::new();
            while !grouped.driver.is_done() && (run == 0 || !total.has(seconds)) {
                let elapsed = if run == 0 {
                    grouped.turn(TURN_BATCHES * batch, on_verdict)?
                } else {
                    grouped.turn(TURN_BATCHES * batch, &mut |_, _| {})?
                };
                // After a turn of few images, a short turn of individual testing suffices.
                let images = (elapsed.images as usize / 2).clamp(batch, REFERENCE_BATCHES * batch);
                let between = reference.turn(images, &mut |_, _| {})?;
                total.add(elapsed, between);
                turns.push(elapsed.relative_to(&between));
            }
            total.relative.extend(steady(&turns));
            if run == 0 {
                total.count(grouped.driver.engine().stats());
            }
            if total.has(seconds) {
                break;
            }
        }
        Ok(total)
    }

    /// The number of bytes of an image.
    fn image_len(&self) -> usize {
        self.reference.first().map_or(0, |&image| (self.image)(image).len())
    }

    fn individual_rules(&self) -> TestRules {
        TestRules { thresholds: self.pass_all.clone(), confirm: None, exits: Vec::new() }
    }
}

fn engine<'a, N: Network>(
    network: &'a mut N,
    plan: Box<dyn Plan>,
    rules: &TestRules,
    settings: &BatchSettings,
) -> Engine<&'a mut N, usize> {
    let band = BandPlan::new(plan, rules.thresholds.clone());
    let engine = Engine::new(network, SystemClock, band, settings.clone());
    let mut engine = engine.with_group_wait(NEVER);
    engine.set_exits(rules.exits.clone());
    match &rules.confirm {
        Some(confirm) => engine.with_confirm(confirm.clone()),
        None => engine,
    }
}

/// Individual testing in turns.
pub(super) struct Reference<'a, N> {
    pass: Pass<'a, N>,
    images: usize,
}

impl<N: Network> Reference<'_, N> {
    /// Tests some images alone. Returns the seconds in the network per image.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn turn(&mut self) -> Result<f64, EngineError> {
        Ok(self.pass.turn(self.images, &mut |_, _| {})?.network_per_image())
    }
}

/// The turns in which the engine neither fills nor empties, or all turns if there are no such
/// turns.
fn steady(turns: &[RelativeSeconds]) -> &[RelativeSeconds] {
    match turns {
        [_, middle @ .., _] if !middle.is_empty() => middle,
        all => all,
    }
}

/// Images on their way through an engine. Between turns the engine stays as full as that of a
/// worker.
struct Pass<'a, N> {
    driver: Driver<&'a mut N, usize>,
    feed: GroupFeed<'a>,
}

impl<N: Network> Pass<'_, N> {
    /// Runs the engine until `count` more images have their verdict, or all.
    fn turn(&mut self, count: usize, on_verdict: OnVerdict<'_>) -> Result<Elapsed, EngineError> {
        let (start, before) = (Instant::now(), self.network_seconds());
        let (mut making, mut images) = (Duration::ZERO, 0);
        while images < count && !self.driver.is_done() {
            let filling = Instant::now();
            self.feed.fill(&mut self.driver);
            making += filling.elapsed();
            self.driver.turn()?;
            for item in self.driver.verdicts() {
                images += 1;
                on_verdict(item.payload, item.verdict);
            }
        }
        let wall = (start.elapsed() - making).as_secs_f64();
        Ok(Elapsed { images: images as u64, network: self.network_seconds() - before, wall })
    }

    fn network_seconds(&self) -> f64 {
        self.driver.engine().stats().network_seconds()
    }
}

impl StratumRun {
    /// Sets the counts to those of one run.
    fn count(&mut self, stats: &Stats) {
        self.macs = stats.macs();
        self.confirm_tests = stats.confirm_tests;
        self.tests_by_round = stats.tests_by_round.clone();
    }

    fn add(&mut self, grouped: Elapsed, reference: Elapsed) {
        self.grouped.add(grouped);
        self.reference.add(reference);
    }

    /// Whether both timings have this many seconds in the network.
    fn has(&self, seconds: f64) -> bool {
        self.grouped.network >= seconds && self.reference.network >= seconds
    }

    /// Seconds in the network per image, relative to individual testing in between. The median
    /// turn counts, so a turn during which the machine did other work has no effect.
    pub fn relative_network(&self) -> f64 {
        self.median(|turn| turn.network)
    }

    /// Seconds of the engine's thread per image, in the same way.
    pub fn relative_wall(&self) -> f64 {
        self.median(|turn| turn.wall)
    }

    fn median(&self, of: impl Fn(&RelativeSeconds) -> f64) -> f64 {
        Spread::of(self.relative.iter().map(of).collect()).median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_turn_counts() {
        let turn = |network| RelativeSeconds { network, wall: 2.0 * network };
        let run = StratumRun {
            relative: [0.5, 0.6, 9.0, 0.5, 0.06].map(turn).into(),
            ..StratumRun::default()
        };
        assert_eq!((run.relative_network(), run.relative_wall()), (0.5, 1.0));
    }

    #[test]
    fn turns_that_fill_or_empty_the_engine_are_left_out_if_there_are_others() {
        let turns: Vec<RelativeSeconds> =
            (0..5).map(|turn| RelativeSeconds { network: f64::from(turn), wall: 0.0 }).collect();
        assert_eq!(steady(&turns), &turns[1..4]);
        assert_eq!(steady(&turns[..2]), &turns[..2]);
        assert_eq!(steady(&turns[..1]), &turns[..1]);
    }
}
