//! Carries out one run: gathers slots and images, calls the network, and measures it.

use super::clock::Clock;
use super::in_flight::InFlight;
use super::network::{Network, NetworkPart, RunError};
use super::scheduler::Run;
use super::stats::{ExpectedSeconds, RunRecord};
use crate::policy::Members;

/// The network with its clock and scratch memory.
pub(super) struct Executor<N> {
    network: N,
    clock: Box<dyn Clock>,
    expected: Option<ExpectedSeconds>,
    members: Vec<i64>,
    scores: Vec<f32>,
}

impl<N: Network> Executor<N> {
    pub fn new(network: N, clock: Box<dyn Clock>) -> Self {
        Self { network, clock, expected: None, members: Vec::new(), scores: Vec::new() }
    }

    pub fn expect(&mut self, expected: ExpectedSeconds) {
        self.expected = Some(expected);
    }

    pub fn network(&self) -> &N {
        &self.network
    }

    pub fn network_mut(&mut self) -> &mut N {
        &mut self.network
    }

    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Takes the scores of the last run, `[T, labels]` row by row. Give them back with
    /// [`Executor::return_scores`], so that their memory is used again.
    pub fn take_scores(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.scores)
    }

    pub fn return_scores(&mut self, scores: Vec<f32>) {
        self.scores = scores;
    }

    /// Carries out `run`. Scores are kept for [`Executor::take_scores`].
    pub fn execute<T>(&mut self, run: &Run, flight: &InFlight<T>) -> Result<RunRecord, RunError> {
        self.members.clear();
        self.scores.clear();
        match run {
            Run::Embed { items, slots, batch } => {
                let images = flight.images(items, *batch);
                self.timed(NetworkPart::Stage(0), 1, items.len(), *batch, |executor| {
                    executor.network.embed(&images, slots.start, &mut executor.scores)
                })
            }
            Run::Refine { level, items, slots, batch } => {
                let slot_of = |id: &usize| flight.items[*id].slot.unwrap_or_default() as i64;
                self.members.extend(items.iter().map(slot_of));
                pad_batch(&mut self.members, 1, *batch);
                self.timed(NetworkPart::Stage(*level), 1, items.len(), *batch, |executor| {
                    let Self { network, members, scores, .. } = executor;
                    network.merge(*level, members, 1, slots.start, scores)
                })
            }
            Run::Merge { level, arity, jobs, slots, batch } => {
                let sets = jobs.iter().map(|job| (job.group, job.members));
                self.gather(flight, level - 1, *arity, sets, *batch);
                self.timed(NetworkPart::Stage(*level), *arity, jobs.len(), *batch, |executor| {
                    let Self { network, members, scores, .. } = executor;
                    network.merge(*level, members, *arity, slots.start, scores)
                })
            }
            Run::Test { arity, jobs, batch } => {
                let shape = self.network.shape();
                let (top, stage) = (shape.top(), NetworkPart::Stage(shape.levels.len()));
                let sets = jobs.iter().map(|job| (job.group, job.test.members));
                self.gather(flight, top, *arity, sets, *batch);
                self.timed(stage, *arity, jobs.len(), *batch, |executor| {
                    executor.network.score(&executor.members, *arity, &mut executor.scores)
                })
            }
            Run::Confirm { items, batch } => {
                let images = flight.images(items, *batch);
                self.timed(NetworkPart::Confirm, 1, items.len(), *batch, |executor| {
                    executor.network.confirm(&images, &mut executor.scores)
                })
            }
        }
    }

    /// Fills `members` with the matrix `[batch, arity]` of the slots of some sets, padded by
    /// repeats.
    fn gather<T>(
        &mut self,
        flight: &InFlight<T>,
        level: usize,
        arity: usize,
        sets: impl Iterator<Item = (usize, Members)>,
        batch: usize,
    ) {
        let shape = self.network.shape();
        for (row, (group, members)) in sets.enumerate() {
            let slot_of = |item: usize| flight.items[item].slot.unwrap_or_default();
            flight.groups[group].slots(shape, level, members, slot_of, &mut self.members);
            pad_row(&mut self.members, (row + 1) * arity);
        }
        pad_batch(&mut self.members, arity, batch);
    }

    /// Calls the network and measures the call: `rows` rows are needed of a batch of `batch`.
    fn timed(
        &mut self,
        part: NetworkPart,
        arity: usize,
        rows: usize,
        batch: usize,
        call: impl FnOnce(&mut Self) -> Result<(), RunError>,
    ) -> Result<RunRecord, RunError> {
        let (wall, cpu) = (self.clock.now(), self.clock.thread_time());
        call(self)?;
        let seconds = (self.clock.now() - wall).as_secs_f64();
        let cpu_seconds = (self.clock.thread_time() - cpu).as_secs_f64();
        let macs = rows as u64 * self.network.shape().macs(part);
        let expected = self.expected.as_ref().and_then(|seconds| seconds(part, arity, batch));
        let expected_seconds = expected.unwrap_or_default();
        let padding = batch - rows;
        Ok(RunRecord { part, rows, padding, seconds, cpu_seconds, expected_seconds, macs })
    }
}

/// Repeats the last slot until there are `len` slots.
fn pad_row(members: &mut Vec<i64>, len: usize) {
    if let Some(&last) = members.last() {
        members.resize(len, last);
    }
}

/// Repeats the last row until there are `batch` rows of `arity` slots.
fn pad_batch(members: &mut Vec<i64>, arity: usize, batch: usize) {
    while !members.is_empty() && members.len() < batch * arity {
        members.extend_from_within(members.len() - arity..);
    }
}
