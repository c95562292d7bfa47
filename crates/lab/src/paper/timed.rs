//! Groups and individual tests in turns.
//!
//! Both engines run in turns, one run of a stage at a time, so that other work on the machine
//! affects both alike. Each engine stays as full as that of a worker until its images end.

use std::time::{Duration, Instant};

use dorfman_core::engine::{Driver, Engine, EngineError, Network, Turn, Verdict};
use dorfman_model::cpu;

use crate::feed::GroupFeed;

/// Seconds of individual testing per second of grouped testing. More would make the measurement
/// longer and hardly more exact.
const INDIVIDUAL_SHARE: f64 = 0.5;

/// A driver with its items, and the time that they took.
pub(super) struct TimedDriver<'a, N: Network> {
    driver: Driver<N, usize>,
    feed: GroupFeed<'a>,
    /// The verdicts and the time so far.
    pub run: TimedRun,
}

/// Verdicts, and the time that they took.
#[derive(Debug, Default)]
pub(super) struct TimedRun {
    /// Images with their verdict.
    pub images: usize,
    /// Images that were flagged.
    pub flagged: Vec<usize>,
    /// The time of the engine and its network.
    pub wall: Duration,
    /// CPU time of all threads.
    pub cpu: Duration,
    /// Seconds per image of each turn that ended with a verdict.
    pub turns: Vec<f64>,
}

impl TimedRun {
    /// Seconds per image.
    pub fn wall_per_image(&self) -> f64 {
        self.wall.as_secs_f64() / self.images as f64
    }

    /// CPU seconds per image.
    pub fn cpu_per_image(&self) -> f64 {
        self.cpu.as_secs_f64() / self.images as f64
    }

    /// The quantile of the seconds per image of a turn. NaN without turns.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut turns = self.turns.clone();
        turns.sort_unstable_by(f64::total_cmp);
        let last = turns.len().saturating_sub(1);
        turns.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

impl<'a, N: Network> TimedDriver<'a, N> {
    /// An engine and the items that it will be offered.
    pub fn new(engine: Engine<N, usize>, feed: GroupFeed<'a>) -> Self {
        Self { driver: Driver::new(engine), feed, run: TimedRun::default() }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine<N, usize> {
        self.driver.engine()
    }

    /// Fills the engine and runs one stage once. Making the images is not timed. Returns false if
    /// no run was possible.
    fn turn(&mut self) -> Result<bool, EngineError> {
        self.feed.fill(&mut self.driver);
        let (start, cpu) = (Instant::now(), cpu::process_time());
        let ran = self.driver.turn()? == Turn::Ran;
        let (wall, before) = (start.elapsed(), self.run.images);
        self.run.cpu += cpu::process_time() - cpu;
        self.run.wall += wall;
        for item in self.driver.verdicts() {
            self.run.images += 1;
            if matches!(item.verdict, Verdict::Flagged(_)) {
                self.run.flagged.push(item.payload);
            }
        }
        let images = self.run.images - before;
        if images > 0 {
            self.run.turns.push(wall.as_secs_f64() / images as f64);
        }
        Ok(ran)
    }
}

/// Runs all items of `groups`. Runs `individual` in turns with it, as long as it has less than its
/// share of the seconds. Calls `each` with the number of new verdicts of `groups` after each of its
/// turns.
///
/// # Errors
/// [`EngineError`].
pub(super) fn run_in_turns<G: Network, I: Network>(
    groups: &mut TimedDriver<'_, G>,
    individual: &mut TimedDriver<'_, I>,
    each: impl Fn(u64),
) -> Result<(), EngineError> {
    let mut before = 0;
    while groups.turn()? {
        let share = || INDIVIDUAL_SHARE * groups.run.wall.as_secs_f64();
        while individual.run.wall.as_secs_f64() < share() {
            individual.turn()?;
        }
        each((groups.run.images - before) as u64);
        before = groups.run.images;
    }
    Ok(())
}
