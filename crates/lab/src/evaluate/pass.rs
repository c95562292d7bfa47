//! A pass of images through the worker's engine, and what it cost.

use std::iter::Peekable;
use std::time::{Duration, Instant};

use crate::engine::{Engine, EngineError, Network, Settings, Stats, Verdict};
use crate::model::profile::Spread;
use crate::retest::{Individual, Plan, Thresholds};

/// Images of a turn, in batches that the device prefers.
const TURN_BATCHES: usize = 16;
/// The same for the turn of individual testing that follows.
const REFERENCE_BATCHES: usize = 8;

/// What a number of images took. Sums.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cost {
    /// Images judged.
    pub(super) images: u64,
    /// Seconds in the network, as the engine counts them.
    pub(super) network: f64,
    /// Seconds of the engine's thread, without the making of tensors.
    pub(super) wall: f64,
}

impl Cost {
    /// Seconds in the network for an image.
    pub(super) fn network_an_image(&self) -> f64 {
        self.network / self.images as f64
    }

    /// Seconds on the clock for an image.
    pub(super) fn wall_an_image(&self) -> f64 {
        self.wall / self.images as f64
    }

    fn relative_to(&self, reference: &Self) -> Relative {
        Relative {
            network: self.network_an_image() / reference.network_an_image(),
            wall: self.wall_an_image() / reference.wall_an_image(),
        }
    }

    fn add(&mut self, other: Self) {
        self.images += other.images;
        self.network += other.network;
        self.wall += other.wall;
    }
}

/// A stratum that was run: counts of one run of it, seconds of as many as were asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Ran {
    /// Images of one run.
    pub(super) images: u64,
    /// Tests of one run by round.
    pub(super) tests_by_round: Vec<u64>,
    /// Tests of one run by the confirm network.
    pub(super) confirm_tests: u64,
    /// Multiply-adds of one run.
    pub(super) macs: u64,
    /// The seconds of the groups.
    pub(super) grouped: Cost,
    /// The seconds of individual testing in between.
    pub(super) reference: Cost,
    /// What each turn took, relative to the turn of individual testing after it; without those that fill and empty the engine.
    pub(super) relative: Vec<Relative>,
}

/// Seconds for an image relative to individual testing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Relative {
    /// In the network.
    pub(super) network: f64,
    /// On the clock.
    pub(super) wall: f64,
}

/// What makes a test positive.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Of the network.
    pub(super) thresholds: Thresholds,
    /// Of its confirm network, if that is asked.
    pub(super) confirm: Option<Thresholds>,
}

/// A network, its images, and how the engine batches.
pub(super) struct Bench<'a, N> {
    /// The network, for groups.
    pub(super) network: &'a mut N,
    /// The same network once more, for individual testing.
    pub(super) twin: &'a mut N,
    /// Makes the tensor of an image.
    pub(super) tensor: &'a dyn Fn(usize) -> Vec<f32>,
    /// How the engine batches.
    pub(super) settings: Settings,
    /// Thresholds under which every image passes every label, for its scores and for timing.
    pub(super) open: Thresholds,
    /// Images for individual testing.
    pub(super) reference: Vec<usize>,
    /// Least seconds of each timing.
    pub(super) seconds: f64,
}

impl<N: Network> Bench<'_, N> {
    /// Runs every stage at the shapes that a plan uses.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) fn warm_up(&mut self, plan: Box<dyn Plan>) -> Result<(), EngineError> {
        let confirm = self.network.form().confirm_macs.map(|_| self.open.clone());
        let (rules, length) = (Rules { thresholds: self.open.clone(), confirm }, self.length());
        engine(&mut *self.network, plan, &rules, &self.settings).warm_up(length, &[])
    }

    /// Warms the twin up, for all that follows, and tests images alone; `note` is told each one's verdict, which has the scores of all
    /// positive labels.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) fn individual(
        &mut self,
        images: &[usize],
        note: &mut dyn FnMut(usize, Verdict),
    ) -> Result<Cost, EngineError> {
        let (alone, length) = (self.alone(), self.length());
        let mut engine = engine(&mut *self.twin, Box::new(Individual), &alone, &self.settings);
        engine.warm_up(length, &[])?;
        Course::new(engine, images.iter().copied(), self.tensor).turn(usize::MAX, note)
    }

    /// Runs a stratum in turns with individual testing, and again until both have had their seconds. `note` is told the verdicts of the
    /// first run alone, so that what is found does not depend on how fast the machine is.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) fn stratum(
        &mut self,
        plan: &dyn Fn() -> Box<dyn Plan>,
        rules: &Rules,
        stratum: &[usize],
        note: &mut dyn FnMut(usize, Verdict),
    ) -> Result<Ran, EngineError> {
        let batch = self.settings.preferred_batch;
        let alone = self.alone();
        let alone = engine(&mut *self.twin, Box::new(Individual), &alone, &self.settings);
        let mut reference = Course::new(alone, self.reference.iter().copied().cycle(), self.tensor);
        let mut ran = Ran { images: stratum.len() as u64, ..Ran::default() };
        for run in 0.. {
            let engine = engine(&mut *self.network, plan(), rules, &self.settings);
            let mut grouped = Course::new(engine, stratum.iter().copied(), self.tensor);
            let mut turns = Vec::new();
            while !grouped.is_done() && (run == 0 || !ran.enough(self.seconds)) {
                let cost = match run {
                    0 => grouped.turn(TURN_BATCHES * batch, note)?,
                    _ => grouped.turn(TURN_BATCHES * batch, &mut |_, _| {})?,
                };
                let between = reference.turn(REFERENCE_BATCHES * batch, &mut |_, _| {})?;
                ran.add(cost, between);
                turns.push(cost.relative_to(&between));
            }
            ran.relative.extend(steady(&turns));
            if run == 0 {
                ran.count(grouped.engine.stats());
            }
            if ran.enough(self.seconds) {
                break;
            }
        }
        Ok(ran)
    }

    /// Numbers of a tensor.
    fn length(&self) -> usize {
        self.reference.first().map_or(0, |&image| (self.tensor)(image).len())
    }

    fn alone(&self) -> Rules {
        Rules { thresholds: self.open.clone(), confirm: None }
    }
}

fn engine<'a, N: Network>(
    network: &'a mut N,
    plan: Box<dyn Plan>,
    rules: &Rules,
    settings: &Settings,
) -> Engine<&'a mut N, usize> {
    let engine = Engine::new(network, plan, rules.thresholds.clone(), settings.clone());
    match &rules.confirm {
        Some(confirm) => engine.with_confirm(confirm.clone()),
        None => engine,
    }
}

/// The turns in which the engine neither fills nor empties, if there are any.
fn steady(turns: &[Relative]) -> &[Relative] {
    match turns {
        [_, middle @ .., _] if !middle.is_empty() => middle,
        all => all,
    }
}

/// Images on their way through an engine, which is left as full between turns as a worker's is.
struct Course<'a, N, I: Iterator<Item = usize>> {
    engine: Engine<&'a mut N, usize>,
    waiting: Peekable<I>,
    tensor: &'a dyn Fn(usize) -> Vec<f32>,
}

impl<'a, N: Network, I: Iterator<Item = usize>> Course<'a, N, I> {
    fn new(engine: Engine<&'a mut N, usize>, images: I, tensor: &'a dyn Fn(usize) -> Vec<f32>) -> Self {
        Self { engine, waiting: images.peekable(), tensor }
    }

    fn is_done(&mut self) -> bool {
        self.waiting.peek().is_none() && self.engine.in_flight() == 0
    }

    /// Goes on until so many more images are judged, or all are. They are offered in order, so that the engine forms exactly the groups
    /// that they stand in.
    fn turn(&mut self, count: usize, note: &mut dyn FnMut(usize, Verdict)) -> Result<Cost, EngineError> {
        let (start, before) = (Instant::now(), self.engine.stats().network_seconds());
        let (mut making, mut images) = (Duration::ZERO, 0);
        while images < count && !self.is_done() {
            making += self.fill()?;
            self.engine.step()?;
            for judged in self.engine.judged() {
                images += 1;
                note(judged.payload, judged.verdict);
            }
        }
        let wall = (start.elapsed() - making).as_secs_f64();
        Ok(Cost { images: images as u64, network: self.engine.stats().network_seconds() - before, wall })
    }

    /// Offers what there is room for; gives the time that the making of tensors took.
    fn fill(&mut self) -> Result<Duration, EngineError> {
        let mut making = Duration::ZERO;
        while self.engine.has_room() {
            let Some(image) = self.waiting.next() else { break };
            let made = Instant::now();
            let tensor = (self.tensor)(image);
            making += made.elapsed();
            self.engine.offer(tensor, image, made)?;
        }
        if self.waiting.peek().is_none() {
            self.engine.flush()?;
        }
        Ok(making)
    }
}

impl Ran {
    fn count(&mut self, stats: &Stats) {
        self.macs += stats.macs();
        self.confirm_tests += stats.confirm_tests;
        self.tests_by_round.resize(self.tests_by_round.len().max(stats.tests_by_round.len()), 0);
        self.tests_by_round.iter_mut().zip(&stats.tests_by_round).for_each(|(sum, tests)| *sum += tests);
    }

    fn add(&mut self, grouped: Cost, reference: Cost) {
        self.grouped.add(grouped);
        self.reference.add(reference);
    }

    fn enough(&self, seconds: f64) -> bool {
        self.grouped.network >= seconds && self.reference.network >= seconds
    }

    /// Seconds in the network for an image, relative to individual testing in between: the median turn's, since a turn in which the
    /// machine did something else as well says nothing of either.
    pub(super) fn relative_network(&self) -> f64 {
        self.median(|turn| turn.network)
    }

    /// Seconds on the clock for an image, in the same way.
    pub(super) fn relative_wall(&self) -> f64 {
        self.median(|turn| turn.wall)
    }

    fn median(&self, of: impl Fn(&Relative) -> f64) -> f64 {
        Spread::of(self.relative.iter().map(of).collect()).median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_beside_other_work_counts_for_no_more_than_another() {
        let turn = |network| Relative { network, wall: 2.0 * network };
        let ran = Ran { relative: [0.5, 0.6, 9.0, 0.5, 0.06].map(turn).into(), ..Ran::default() };
        assert_eq!((ran.relative_network(), ran.relative_wall()), (0.5, 1.0));
    }

    #[test]
    fn filling_and_emptying_the_engine_is_not_timed_where_there_is_more() {
        let turns: Vec<Relative> = (0..5).map(|turn| Relative { network: f64::from(turn), wall: 0.0 }).collect();
        assert_eq!(steady(&turns), &turns[1..4]);
        assert_eq!(steady(&turns[..2]), &turns[..2]);
        assert_eq!(steady(&turns[..1]), &turns[..1]);
    }
}
