//! Times every part of a network at every batch size and arity, as the engine runs them.

use std::time::{Duration, Instant};

use super::{PartProfile, Point, Spread};
use dorfman_core::engine::{Network, NetworkPart, NetworkShape, RunError};
use dorfman_core::screen::ScreenNetwork;

/// Runs of each kind before any run is timed, because the first runs of a new shape are slow.
const WARM_UP: usize = 2;
/// Rounds through all kinds of runs. With several rounds, other work on the machine affects all
/// kinds alike. Each kind is timed at least once per round.
const ROUNDS: u32 = 5;
/// The largest number of runs of one kind in one round.
const MOST: usize = 1000;

/// The kinds of runs to time: combinations of a part of the network, an arity and a batch size.
#[derive(Debug)]
pub struct Cells {
    shape: NetworkShape,
    /// The multiply-adds of the screen per image.
    screen: Option<u64>,
    cells: Vec<Cell>,
}

/// The result of [`Cells::measure`].
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// One profile per stage, in order.
    pub stages: Vec<PartProfile>,
    /// The profile of the confirm network. `None` if the network has no confirm network.
    pub confirm: Option<PartProfile>,
    /// The profile of the screen. `None` if no screen was measured.
    pub screen: Option<PartProfile>,
}

/// The networks that are measured.
pub struct Networks<'a> {
    /// The stages and the confirm network. It must have the shape passed to [`Cells::new`].
    pub network: &'a mut dyn Network,
    /// The number of values of one preprocessed image.
    pub image_len: usize,
    /// The screen, with the number of values of an image that is preprocessed for the screen.
    /// Needed if it was passed to [`Cells::new`].
    pub screen: Option<(&'a mut dyn ScreenNetwork, usize)>,
}

/// One kind of run: a part at an arity and a batch size (`rows`).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    part: NetworkPart,
    arity: usize,
    rows: usize,
}

impl Cells {
    /// The kinds of runs for a network of shape `shape`.
    ///
    /// Each part is timed at the batch sizes `batches`. A stage that writes slots is limited to the
    /// number of slots of its level. The last stage is timed in tests of `images` images. `batches`
    /// and `images` may be in any order and have duplicates. `screen` are the multiply-adds of the
    /// screen per image, if there is one.
    pub fn new(
        shape: &NetworkShape,
        screen: Option<u64>,
        batches: &[usize],
        images: &[usize],
    ) -> Self {
        let mut cells = Vec::new();
        for (stage, level) in shape.levels.iter().enumerate() {
            // In a tree, an individual test runs each of these stages at arity 1.
            let arities = [1, level.fan_in].into_iter().collect();
            add(
                &mut cells,
                NetworkPart::Stage(stage),
                arities,
                batches.iter().map(|&rows| rows.min(level.slots)).collect(),
            );
        }
        let members =
            |images: &usize| shape.padded(images.div_ceil(shape.span(shape.top())).max(1));
        add(
            &mut cells,
            NetworkPart::Stage(shape.levels.len()),
            images.iter().map(members).collect(),
            batches.to_vec(),
        );
        if shape.confirm_macs.is_some() {
            add(&mut cells, NetworkPart::Confirm, vec![1], batches.to_vec());
        }
        if screen.is_some() {
            add(&mut cells, NetworkPart::Screen, vec![1], batches.to_vec());
        }
        Self { shape: shape.clone(), screen, cells }
    }

    /// The number of times that [`Cells::measure`] calls `tick`.
    pub fn ticks(&self) -> usize {
        self.cells.len() * (1 + ROUNDS as usize)
    }

    /// Times all kinds of runs on `networks`. `budget` is the total time, divided evenly among the
    /// kinds of runs. Each kind is timed at least five times, even if that takes longer. The time
    /// to warm up is not part of the budget. `tick` is called [`Cells::ticks`] times in all, to
    /// report progress.
    ///
    /// # Errors
    /// [`RunError`] if a run of the network fails.
    pub fn measure(
        &self,
        mut networks: Networks,
        budget: Duration,
        mut tick: impl FnMut(),
    ) -> Result<Measured, RunError> {
        let mut random = fastrand::Rng::with_seed(1);
        let screen_len = networks.screen.as_ref().map_or(0, |(_, len)| *len);
        let len = networks.image_len.max(screen_len);
        let image: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
        for cell in &self.cells {
            for _ in 0..WARM_UP {
                cell.time(&mut networks, &self.shape, &image)?;
            }
            tick();
        }
        let slice = budget / ROUNDS / self.cells.len().max(1) as u32;
        let mut seconds = vec![Vec::new(); self.cells.len()];
        for _ in 0..ROUNDS {
            for (cell, seconds) in self.cells.iter().zip(&mut seconds) {
                let start = Instant::now();
                for _ in 0..MOST {
                    seconds.push(cell.time(&mut networks, &self.shape, &image)?);
                    if start.elapsed() >= slice {
                        break;
                    }
                }
                tick();
            }
        }
        Ok(self.gather(seconds))
    }

    fn gather(&self, seconds: Vec<Vec<f64>>) -> Measured {
        let part = |macs| PartProfile { macs, measured: Vec::new() };
        let macs = self.shape.levels.iter().map(|level| level.macs).chain([self.shape.score_macs]);
        let mut measured = Measured {
            stages: macs.map(part).collect(),
            confirm: self.shape.confirm_macs.map(part),
            screen: self.screen.map(part),
        };
        for (cell, seconds) in self.cells.iter().zip(seconds) {
            let part = match cell.part {
                NetworkPart::Stage(stage) => measured.stages.get_mut(stage),
                NetworkPart::Confirm => measured.confirm.as_mut(),
                NetworkPart::Screen => measured.screen.as_mut(),
            };
            let runs = seconds.len();
            let seconds = Spread::of(seconds);
            let point = Point { arity: cell.arity, rows: cell.rows, runs, seconds };
            part.into_iter().for_each(|part| part.measured.push(point.clone()));
        }
        measured
    }
}

/// Adds a part at all arities and batch sizes, in ascending order and without duplicates.
fn add(cells: &mut Vec<Cell>, part: NetworkPart, arities: Vec<usize>, batches: Vec<usize>) {
    let batches = rising(batches);
    for arity in rising(arities) {
        cells.extend(batches.iter().map(|&rows| Cell { part, arity, rows }));
    }
}

/// The values in ascending order, without duplicates.
fn rising(mut values: Vec<usize>) -> Vec<usize> {
    values.sort_unstable();
    values.dedup();
    values
}

impl Cell {
    /// The seconds of one run. The run reads as many different slots as the level below has. The
    /// values in the slots and in `image` do not matter.
    fn time(
        &self,
        networks: &mut Networks,
        shape: &NetworkShape,
        image: &[u8],
    ) -> Result<f64, RunError> {
        let Networks { network, image_len, screen } = networks;
        let (whole, image) = (image, &image[..*image_len]);
        match self.part {
            NetworkPart::Stage(0) => {
                let images = vec![image; self.rows];
                let mut exits = Vec::with_capacity(self.rows * shape.labels);
                timed(|| network.embed(&images, 0, &mut exits))
            }
            NetworkPart::Stage(stage) => {
                let below = shape.levels[stage - 1].slots;
                let members: Vec<i64> =
                    (0..self.rows * self.arity).map(|i| (i % below) as i64).collect();
                if stage < shape.levels.len() {
                    let mut exits = Vec::with_capacity(self.rows * shape.labels);
                    return timed(|| network.merge(stage, &members, self.arity, 0, &mut exits));
                }
                let mut scores = Vec::with_capacity(self.rows * shape.labels);
                timed(|| network.score(&members, self.arity, &mut scores))
            }
            NetworkPart::Confirm => {
                let images = vec![image; self.rows];
                let mut scores = Vec::with_capacity(self.rows * shape.labels);
                timed(|| network.confirm(&images, &mut scores))
            }
            NetworkPart::Screen => {
                let missing = || RunError {
                    part: NetworkPart::Screen,
                    message: "the screen to be measured is missing".into(),
                };
                let (screen, len) = screen.as_mut().ok_or_else(missing)?;
                let images = vec![&whole[..*len]; self.rows];
                let mut scores = Vec::with_capacity(self.rows * shape.labels);
                timed(|| screen.score(&images, &mut scores))
            }
        }
    }
}

fn timed(run: impl FnOnce() -> Result<(), RunError>) -> Result<f64, RunError> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dorfman_core::engine::{Level, ScriptedNetwork, single_label_shape};

    /// The shape of a tree of pairs with a confirm network.
    fn tree() -> NetworkShape {
        let mut shape = single_label_shape(16, 10, 100);
        shape.levels.push(Level { fan_in: 2, slots: 32, macs: 20, exit: false });
        NetworkShape { confirm_macs: Some(1000), ..shape }
    }

    fn shapes(cells: &Cells, part: NetworkPart) -> Vec<(usize, usize)> {
        cells.cells.iter().filter(|c| c.part == part).map(|c| (c.arity, c.rows)).collect()
    }

    #[test]
    fn every_part_is_timed_at_every_batch_size_that_its_slots_allow() {
        let cells = Cells::new(&tree(), None, &[1, 8, 64], &[1, 4, 16, 24]);
        assert_eq!(shapes(&cells, NetworkPart::Stage(0)), [(1, 1), (1, 8), (1, 16)]);
        assert_eq!(
            shapes(&cells, NetworkPart::Stage(1)),
            [(1, 1), (1, 8), (1, 32), (2, 1), (2, 8), (2, 32)]
        );
        let tests = [1, 2, 8, 16].iter().flat_map(|&arity| [1, 8, 64].map(|rows| (arity, rows)));
        assert_eq!(shapes(&cells, NetworkPart::Stage(2)), tests.collect::<Vec<_>>());
        assert_eq!(shapes(&cells, NetworkPart::Confirm), [(1, 1), (1, 8), (1, 64)]);
    }

    #[test]
    fn a_budget_of_zero_times_each_kind_once_per_round() {
        let cells = Cells::new(&tree(), None, &[1, 8], &[1, 16]);
        let mut ticks = 0;
        let mut network = ScriptedNetwork::new(tree());
        let networks = Networks { network: &mut network, image_len: 4, screen: None };
        let measured = cells.measure(networks, Duration::ZERO, || ticks += 1).unwrap();
        assert_eq!(ticks, cells.ticks());
        assert_eq!(measured.stages.iter().map(|s| s.macs).collect::<Vec<_>>(), [10, 20, 100]);
        let confirm = measured.confirm.unwrap();
        assert_eq!(confirm.macs, 1000);
        let points = measured.stages.iter().chain([&confirm]).flat_map(|part| &part.measured);
        assert!(points.clone().all(|p| p.runs == ROUNDS as usize));
        assert_eq!(points.count(), cells.cells.len());
    }
}
