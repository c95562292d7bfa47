//! A network that computes all it is asked for and then says what was recorded.
//!
//! The stages run for real and their scores are thrown away: an untrained network's verdicts would ask for other retests than the paper's
//! did. Each row is known by the positions of the items in it, so that a test is answered by the score recorded for exactly its members.

use std::ops::Range;

use crate::engine::{Form, Network, RunError};
use crate::replay::RecordedPlan;

/// Positions are marked in an image's first value in these units: exact in an f32, and no larger than what other values are.
const MARK: f32 = 1.0 / 65536.0;

/// Items that can be told apart by their marks.
pub(super) const MOST_ITEMS: usize = 1 << 24;

/// Marks an image with its item's position.
pub(super) fn mark(image: &mut [f32], position: usize) {
    if let Some(first) = image.first_mut() {
        *first = position as f32 * MARK;
    }
}

fn marked(image: &[f32]) -> usize {
    (image.first().copied().unwrap_or_default() / MARK) as usize
}

/// Stages, and recorded scores in the place of theirs.
pub(super) struct Recorded<'a, N> {
    stages: &'a mut N,
    /// A network of its own, of a row an image, for tests of one image.
    plain: Option<&'a mut N>,
    answers: RecordedPlan<'a>,
    /// By level and row: the positions of the items in it.
    rows: Vec<Vec<Range<usize>>>,
    macs: u64,
}

impl<'a, N: Network> Recorded<'a, N> {
    /// `stages` make the tests; those of one image `plain`, from the pixels on, where it is there. It must have a row for each of theirs.
    pub(super) fn new(stages: &'a mut N, plain: Option<&'a mut N>, answers: RecordedPlan<'a>) -> Self {
        let rows = stages.form().levels.iter().map(|level| vec![0..0; level.rows]).collect();
        Self { stages, plain, answers, rows, macs: 0 }
    }

    /// Multiply-adds of all that was computed.
    pub(super) fn macs(&self) -> u64 {
        self.macs
    }

    /// The positions in some rows of a level together.
    fn together(&self, level: usize, rows: &[i64]) -> Result<Range<usize>, RunError> {
        let mut parts: Vec<Range<usize>> = rows.iter().map(|&row| self.rows[level][row as usize].clone()).collect();
        parts.sort_unstable_by_key(|part| part.start);
        parts.dedup();
        let all = parts[0].start..parts[parts.len() - 1].end;
        match parts.windows(2).all(|pair| pair[0].end == pair[1].start) {
            true => Ok(all),
            false => Err(self.wrong(format!("no score was recorded for items at {parts:?}"))),
        }
    }

    fn wrong(&self, message: String) -> RunError {
        RunError { stage: self.rows.len(), message }
    }

    /// Whether the plain network makes a test of these items.
    fn by_plain(&self, items: &Range<usize>) -> bool {
        self.plain.is_some() && items.len() == 1
    }
}

impl<N: Network> Network for Recorded<'_, N> {
    fn form(&self) -> &Form {
        self.stages.form()
    }

    fn embed(&mut self, images: &[&[f32]], first: usize) -> Result<(), RunError> {
        for (row, image) in self.rows[0][first..].iter_mut().zip(images) {
            let position = marked(image);
            *row = position..position + 1;
        }
        // It has the pixels in the same rows, for whoever must be tested alone.
        if let Some(plain) = &mut self.plain {
            plain.embed(images, first)?;
        }
        self.macs += images.len() as u64 * self.stages.form().levels[0].macs;
        self.stages.embed(images, first)
    }

    fn merge(&mut self, level: usize, members: &[i64], arity: usize, first: usize) -> Result<(), RunError> {
        let merged = members.chunks(arity).map(|rows| self.together(level - 1, rows));
        let merged = merged.collect::<Result<Vec<_>, _>>()?;
        let all_plain = merged.iter().all(|items| self.by_plain(items));
        self.rows[level][first..first + merged.len()].clone_from_slice(&merged);
        // What only a test of one image wants, the plain network has no use for.
        if all_plain {
            return Ok(());
        }
        self.macs += merged.len() as u64 * self.stages.form().levels[level].macs;
        self.stages.merge(level, members, arity, first)
    }

    fn score(&mut self, members: &[i64], arity: usize, scores: &mut Vec<f32>) -> Result<(), RunError> {
        let top = self.rows.len() - 1;
        let (mut shared, mut alone) = (Vec::new(), Vec::new());
        for rows in members.chunks(arity) {
            let items = self.together(top, rows)?;
            let Some((_, score)) = self.answers.answer(&items) else {
                return Err(self.wrong(format!("no score was recorded for items at {items:?}")));
            };
            scores.push(score);
            match self.by_plain(&items) {
                true => alone.extend(self.rows[0].iter().position(|row| *row == items).map(|row| row as i64)),
                false => shared.extend_from_slice(rows),
            }
        }
        let mut unread = Vec::new();
        if !shared.is_empty() {
            self.macs += (shared.len() / arity) as u64 * self.stages.form().score_macs;
            self.stages.score(&shared, arity, &mut unread)?;
        }
        match &mut self.plain {
            Some(plain) if !alone.is_empty() => {
                self.macs += alone.len() as u64 * plain.form().individual_macs();
                plain.score(&alone, 1, &mut unread)
            }
            _ => Ok(()),
        }
    }
}
