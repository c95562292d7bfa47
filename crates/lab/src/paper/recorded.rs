//! A network that runs all its stages and then returns recorded scores.
//!
//! The scores of the stages are discarded: the verdicts of an untrained network would request other
//! retests than those of the paper. Each slot is known by the positions of its items, so the result
//! of a test is the score that was recorded for exactly its members.

use std::ops::Range;

use dorfman_core::engine::{Network, NetworkPart, NetworkShape, RunError};

use crate::replay::RecordedPlan;

/// The number of bytes at the start of an image that hold the position of its item.
const MARK: usize = 3;

/// The largest number of items that marks can distinguish.
pub(super) const MOST_ITEMS: usize = 1 << (8 * MARK);

/// Marks an image of at least three bytes with the position of its item.
pub(super) fn mark(image: &mut [u8], position: usize) {
    for (byte, value) in image.iter_mut().zip(&position.to_le_bytes()[..MARK]) {
        *byte = *value;
    }
}

fn marked(image: &[u8]) -> usize {
    image.iter().take(MARK).rev().fold(0, |position, &byte| position << 8 | usize::from(byte))
}

/// Stages with recorded scores instead of their own.
pub(super) struct RecordedNetwork<'a, N> {
    stages: &'a mut N,
    /// A network of one stage for individual tests.
    plain: Option<&'a mut N>,
    plan: RecordedPlan<'a>,
    /// By level and slot: the positions of the slot's items.
    slots: Vec<Vec<Range<usize>>>,
    macs: u64,
}

impl<'a, N: Network> RecordedNetwork<'a, N> {
    /// `stages` run all tests. If there is a `plain` network, it runs the individual tests instead,
    /// from the pixels on. It must have as many slots as `stages` have at level 0.
    pub fn new(stages: &'a mut N, plain: Option<&'a mut N>, plan: RecordedPlan<'a>) -> Self {
        let levels = &stages.shape().levels;
        let slots = levels.iter().map(|level| vec![0..0; level.slots]).collect();
        Self { stages, plain, plan, slots, macs: 0 }
    }

    /// Multiply-adds of all runs.
    pub fn macs(&self) -> u64 {
        self.macs
    }

    /// The positions of the items of some slots of a level together.
    fn together(&self, level: usize, slots: &[i64]) -> Result<Range<usize>, RunError> {
        let mut parts: Vec<Range<usize>> =
            slots.iter().map(|&slot| self.slots[level][slot as usize].clone()).collect();
        parts.sort_unstable_by_key(|part| part.start);
        parts.dedup();
        let all = parts[0].start..parts[parts.len() - 1].end;
        if parts.windows(2).all(|pair| pair[0].end == pair[1].start) {
            Ok(all)
        } else {
            Err(self.not_recorded(&format!("{parts:?}")))
        }
    }

    fn not_recorded(&self, positions: &str) -> RunError {
        let message = format!("no score was recorded for items at {positions}");
        RunError { part: NetworkPart::Stage(self.slots.len()), message }
    }

    /// Whether the plain network runs a test of these items.
    fn is_plain(&self, items: &Range<usize>) -> bool {
        self.plain.is_some() && items.len() == 1
    }
}

impl<N: Network> Network for RecordedNetwork<'_, N> {
    fn shape(&self) -> &NetworkShape {
        self.stages.shape()
    }

    fn embed(
        &mut self,
        images: &[&[u8]],
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        for (slot, image) in self.slots[0][first..].iter_mut().zip(images) {
            let position = marked(image);
            *slot = position..position + 1;
        }
        // The plain network keeps the pixels in the same slots, for individual tests.
        if let Some(plain) = &mut self.plain {
            plain.embed(images, first, exits)?;
        }
        self.macs += images.len() as u64 * self.stages.shape().levels[0].macs;
        self.stages.embed(images, first, exits)
    }

    fn merge(
        &mut self,
        level: usize,
        members: &[i64],
        arity: usize,
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let merged = members.chunks(arity).map(|slots| self.together(level - 1, slots));
        let merged = merged.collect::<Result<Vec<_>, _>>()?;
        let all_plain = merged.iter().all(|items| self.is_plain(items));
        self.slots[level][first..first + merged.len()].clone_from_slice(&merged);
        // A merge for individual tests alone is not needed: the plain network runs them.
        if all_plain {
            return Ok(());
        }
        self.macs += merged.len() as u64 * self.stages.shape().levels[level].macs;
        self.stages.merge(level, members, arity, first, exits)
    }

    fn score(
        &mut self,
        members: &[i64],
        arity: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let top = self.slots.len() - 1;
        let (mut pooled, mut alone) = (Vec::new(), Vec::new());
        for slots in members.chunks(arity) {
            let items = self.together(top, slots)?;
            let score = self.plan.score(&items);
            scores.push(score.ok_or_else(|| self.not_recorded(&format!("{items:?}")))?);
            if self.is_plain(&items) {
                let slot = self.slots[0].iter().position(|slot| *slot == items);
                alone.extend(slot.map(|slot| slot as i64));
            } else {
                pooled.extend_from_slice(slots);
            }
        }
        let mut discarded = Vec::new();
        if !pooled.is_empty() {
            self.macs += (pooled.len() / arity) as u64 * self.stages.shape().score_macs;
            self.stages.score(&pooled, arity, &mut discarded)?;
        }
        match &mut self.plain {
            Some(plain) if !alone.is_empty() => {
                self.macs += alone.len() as u64 * plain.shape().individual_macs();
                plain.score(&alone, 1, &mut discarded)
            }
            _ => Ok(()),
        }
    }
}
