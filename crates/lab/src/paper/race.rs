//! Groups and individual tests side by side.
//!
//! Both engines go on in turns, a run of a stage each, so that whatever else the machine does hits both alike; and each stays as full
//! as the worker keeps it until its images end.

use std::time::{Duration, Instant};

use crate::cpu;
use crate::engine::{Engine, EngineError, Network, Verdict};

/// Seconds of individual testing for each second of groups: enough to divide by.
const SHARE: f64 = 0.5;

/// An engine with the images that it gets.
pub(super) struct Racer<'a, N: Network> {
    engine: Engine<N, usize>,
    waiting: Box<dyn Iterator<Item = usize> + 'a>,
    /// Makes an item's image; not counted, as decoding is in neither.
    image: &'a dyn Fn(usize) -> Vec<f32>,
    pub(super) ran: Ran,
}

/// What was judged and what it took.
#[derive(Debug, Default)]
pub(super) struct Ran {
    /// Images with their verdict.
    pub(super) images: usize,
    /// Those of them that were flagged.
    pub(super) flagged: Vec<usize>,
    /// On the clock, in the engine and its network.
    pub(super) wall: Duration,
    /// Of all threads.
    pub(super) cpu: Duration,
    /// Seconds an image of each turn that judged any.
    pub(super) turns: Vec<f64>,
}

impl Ran {
    /// Seconds on the clock for an image.
    pub(super) fn wall_an_image(&self) -> f64 {
        self.wall.as_secs_f64() / self.images as f64
    }

    /// CPU seconds for an image.
    pub(super) fn cpu_an_image(&self) -> f64 {
        self.cpu.as_secs_f64() / self.images as f64
    }

    /// The seconds an image that a share of the turns stayed below.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let mut turns = self.turns.clone();
        turns.sort_unstable_by(f64::total_cmp);
        let last = turns.len().saturating_sub(1);
        turns.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

impl<'a, N: Network> Racer<'a, N> {
    /// An engine that gets `items` in order.
    pub(super) fn new(
        engine: Engine<N, usize>,
        items: impl Iterator<Item = usize> + 'a,
        image: &'a dyn Fn(usize) -> Vec<f32>,
    ) -> Self {
        Self { engine, waiting: Box::new(items), image, ran: Ran::default() }
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Engine<N, usize> {
        &self.engine
    }

    /// Fills the engine up and runs one stage once. False if nothing is left to do.
    fn turn(&mut self) -> Result<bool, EngineError> {
        let room = self.engine.network().form().levels[0].rows - self.engine.in_flight();
        let image = self.image;
        let arrivals: Vec<_> = self.waiting.by_ref().take(room).map(|item| (image(item), item)).collect();
        let ended = arrivals.len() < room;
        let (start, cpu) = (Instant::now(), cpu::process_time());
        for (image, item) in arrivals {
            self.engine.offer(image, item, start)?;
        }
        if ended {
            self.engine.flush()?;
        }
        let more = self.engine.step()?;
        let (wall, before) = (start.elapsed(), self.ran.images);
        self.ran.cpu += cpu::process_time() - cpu;
        self.ran.wall += wall;
        for judged in self.engine.judged() {
            self.ran.images += 1;
            if matches!(judged.verdict, Verdict::Flagged(_)) {
                self.ran.flagged.push(judged.payload);
            }
        }
        if self.ran.images > before {
            self.ran.turns.push(wall.as_secs_f64() / (self.ran.images - before) as f64);
        }
        Ok(more)
    }
}

/// Runs all of `groups`, and of `individual` so much that it has its share of the seconds at any time. `note` is told how many images of
/// the groups are judged.
///
/// # Errors
/// [`EngineError`].
pub(super) fn race<G: Network, I: Network>(
    groups: &mut Racer<'_, G>,
    individual: &mut Racer<'_, I>,
    note: impl Fn(usize),
) -> Result<(), EngineError> {
    while groups.turn()? {
        while individual.ran.wall.as_secs_f64() < SHARE * groups.ran.wall.as_secs_f64() {
            individual.turn()?;
        }
        note(groups.ran.images);
    }
    Ok(())
}
