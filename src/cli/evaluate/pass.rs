//! A pass of images through the worker's engine, and what it cost.

use std::time::{Duration, Instant};

use crate::engine::{Engine, EngineError, Network, Settings, Stats, Verdict};
use crate::model::profile::Spread;
use crate::retest::{Individual, Plan, Thresholds};

/// Images of a slice at least, in batches that the device prefers: so many that filling and draining the engine hardly counts.
const SLICE_BATCHES: usize = 64;
/// The same for the individual slice that follows each grouped one.
const REFERENCE_BATCHES: usize = 16;
/// Most slices of a stratum.
const SLICES: usize = 16;

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
    /// What each slice took, relative to the individual testing that followed it.
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
    /// The network.
    pub(super) network: &'a mut N,
    /// Makes the tensor of an image.
    pub(super) tensor: &'a dyn Fn(usize) -> Vec<f32>,
    /// How the engine batches.
    pub(super) settings: Settings,
    /// Thresholds under which every image passes every label, for its scores and for timing.
    pub(super) open: Thresholds,
    /// Images for the slices of individual testing.
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
        let length = self.reference.first().map_or(0, |&image| (self.tensor)(image).len());
        let (network, settings) = (&mut *self.network, self.settings.clone());
        let has_confirm = network.form().confirm_macs.is_some();
        let engine = Engine::<_, usize>::new(network, plan, self.open.clone(), settings);
        let mut engine = if has_confirm { engine.with_confirm(self.open.clone()) } else { engine };
        engine.warm_up(length, &[])
    }

    /// Tests images alone; `note` is told each one's verdict, which has the scores of all positive labels.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) fn individual(
        &mut self,
        images: &[usize],
        note: &mut dyn FnMut(usize, Verdict),
    ) -> Result<Cost, EngineError> {
        let open = Rules { thresholds: self.open.clone(), confirm: None };
        Ok(self.pass(Box::new(Individual), &open, images, note)?.1)
    }

    /// Runs a stratum in slices, each followed by a slice of individual testing, and again until both have had their seconds. `note` is
    /// told the verdicts of the first run alone, so that what is found does not depend on how fast the machine is.
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
        let size = plan().group_size();
        let batch = self.settings.preferred_batch;
        // Slices are as good as equally long, since each has one voice.
        let slices = (stratum.len() / (SLICE_BATCHES * batch)).clamp(1, SLICES);
        let groups = stratum.len().div_ceil(size).div_ceil(slices).max(1);
        let reference = self.reference.iter().copied().cycle().take(REFERENCE_BATCHES * batch);
        let reference: Vec<usize> = reference.collect();
        let mut ran = Ran { images: stratum.len() as u64, ..Ran::default() };
        for run in 0.. {
            for slice in stratum.chunks(groups * size) {
                let (stats, cost) = match run {
                    0 => self.pass(plan(), rules, slice, note)?,
                    _ => self.pass(plan(), rules, slice, &mut |_, _| {})?,
                };
                ran.note(cost, self.individual(&reference, &mut |_, _| {})?);
                if run == 0 {
                    ran.count(&stats);
                } else if self.enough(&ran) {
                    return Ok(ran);
                }
            }
            if self.enough(&ran) {
                return Ok(ran);
            }
        }
        Ok(ran)
    }

    fn enough(&self, ran: &Ran) -> bool {
        ran.grouped.network >= self.seconds && ran.reference.network >= self.seconds
    }

    /// Offers images in order, so that the engine forms exactly the groups they stand in, and keeps it as full as the worker does.
    fn pass(
        &mut self,
        plan: Box<dyn Plan>,
        rules: &Rules,
        images: &[usize],
        note: &mut dyn FnMut(usize, Verdict),
    ) -> Result<(Stats, Cost), EngineError> {
        let (network, settings) = (&mut *self.network, self.settings.clone());
        let engine = Engine::new(network, plan, rules.thresholds.clone(), settings);
        let mut engine = match &rules.confirm {
            Some(confirm) => engine.with_confirm(confirm.clone()),
            None => engine,
        };
        let start = Instant::now();
        let mut making = Duration::ZERO;
        let mut waiting = images.iter().copied().peekable();
        loop {
            while engine.has_room() {
                let Some(image) = waiting.next() else { break };
                let made = Instant::now();
                let tensor = (self.tensor)(image);
                making += made.elapsed();
                engine.offer(tensor, image, made)?;
            }
            if waiting.peek().is_none() {
                engine.flush()?;
            }
            let ran = engine.step()?;
            engine.judged().for_each(|judged| note(judged.payload, judged.verdict));
            if !ran && waiting.peek().is_none() {
                break;
            }
        }
        let stats = engine.stats().clone();
        let wall = (start.elapsed() - making).as_secs_f64();
        let cost = Cost { images: images.len() as u64, network: stats.network_seconds(), wall };
        Ok((stats, cost))
    }
}

impl Ran {
    fn count(&mut self, stats: &Stats) {
        self.macs += stats.macs();
        self.confirm_tests += stats.confirm_tests;
        self.tests_by_round.resize(self.tests_by_round.len().max(stats.tests_by_round.len()), 0);
        self.tests_by_round.iter_mut().zip(&stats.tests_by_round).for_each(|(sum, tests)| *sum += tests);
    }

    fn note(&mut self, grouped: Cost, reference: Cost) {
        self.grouped.add(grouped);
        self.reference.add(reference);
        self.relative.push(grouped.relative_to(&reference));
    }

    /// Seconds in the network for an image, relative to individual testing in between: the median slice's, since a slice in which the
    /// machine did something else as well says nothing of either.
    pub(super) fn relative_network(&self) -> f64 {
        self.median(|slice| slice.network)
    }

    /// Seconds on the clock for an image, in the same way.
    pub(super) fn relative_wall(&self) -> f64 {
        self.median(|slice| slice.wall)
    }

    fn median(&self, of: impl Fn(&Relative) -> f64) -> f64 {
        Spread::of(self.relative.iter().map(of).collect()).median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_beside_other_work_counts_for_no_more_than_another() {
        let cost = |network| Cost { images: 100, network, wall: 2.0 * network };
        let mut ran = Ran::default();
        for (grouped, reference) in [(0.5, 1.0), (0.6, 1.0), (9.0, 1.0), (0.55, 1.1), (0.5, 8.0)] {
            ran.note(cost(grouped), cost(reference));
        }
        assert_eq!((ran.relative_network(), ran.relative_wall()), (0.5, 0.5));
        assert_eq!((ran.grouped.images, ran.reference.network), (500, 12.1));
    }
}
