//! What the engine asks of a network: rows in a store, and tests over them.

use std::fmt;

use crate::retest::MAX_GROUP;

/// A network cut into stages, whose features stay where it likes.
///
/// It holds numbered *rows*: at level 0 a row an item, at level k > 0 a row a merged node of the tree. The engine decides which row is
/// whose; the network computes them and forgets nothing until a row is written again. A pixel network has one level, whose rows are the
/// images themselves.
pub trait Network: Send {
    /// The chain's form.
    fn form(&self) -> &Form;

    /// Runs stage 0 on preprocessed images and keeps the features in rows `first..first + images.len()` of level 0.
    ///
    /// # Errors
    /// [`RunError`]: the rows are then undefined.
    fn embed(&mut self, images: &[&[f32]], first: usize) -> Result<(), RunError>;

    /// Runs the stage of `level` (1 or more, not the last): merges rows of the level below, `arity` for each new row, into rows
    /// `first..first + members.len() / arity`.
    ///
    /// # Errors
    /// [`RunError`]: the rows are then undefined.
    fn merge(&mut self, level: usize, members: &[i64], arity: usize, first: usize) -> Result<(), RunError>;

    /// Runs the last stage: merges rows of the last level, `arity` for each test, and appends [`Form::labels`] scores a test to `scores`.
    ///
    /// # Errors
    /// [`RunError`]: `scores` is then undefined.
    fn score(&mut self, members: &[i64], arity: usize, scores: &mut Vec<f32>) -> Result<(), RunError>;

    /// Runs the confirm network on preprocessed images, each alone, and appends [`Form::labels`] scores an image to `scores`. It shares
    /// nothing with the stages, and reads and writes no row.
    ///
    /// # Errors
    /// [`RunError`]: `scores` is then undefined. Always, where [`Form::confirm_macs`] is absent.
    fn confirm(&mut self, _images: &[&[f32]], _scores: &mut Vec<f32>) -> Result<(), RunError> {
        Err(RunError { stage: self.form().confirm_stage(), message: "there is no confirm network".into() })
    }
}

/// The form of a chain of stages.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// A level for each stage that keeps rows, in order; level 0 always there.
    pub levels: Vec<Level>,
    /// Scores a test.
    pub labels: usize,
    /// Multiply-adds of one test in the last stage.
    pub score_macs: u64,
    /// Whether a row of members may be padded by repeating one of them (max) or not (mean).
    pub repeats: bool,
    /// Multiply-adds of the confirm network for one image; absent if there is none.
    pub confirm_macs: Option<u64>,
}

/// A store of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// How many rows of the level below one row merges; 1 at level 0.
    pub fan_in: usize,
    /// How many rows there are.
    pub rows: usize,
    /// Multiply-adds to compute one row (0 where the images themselves are the rows).
    pub macs: u64,
}

impl Form {
    /// Multiply-adds of one image alone, through all stages; the confirm network is not among them.
    pub fn individual_macs(&self) -> u64 {
        self.levels.iter().map(|l| l.macs).sum::<u64>() + self.score_macs
    }

    /// How many items a row of `level` covers when full.
    pub fn span(&self, level: usize) -> usize {
        self.levels[..=level].iter().map(|l| l.fan_in.max(1)).product()
    }

    /// How many members a row of `members` is padded to: few different ones, where repeats change nothing.
    pub fn padded(&self, members: usize) -> usize {
        if self.repeats { members.next_power_of_two().min(MAX_GROUP) } else { members }
    }

    /// The last level, whose rows the tests merge.
    pub fn top(&self) -> usize {
        self.levels.len() - 1
    }

    /// What the confirm network is called in a [`RunError`]: the stage after the last.
    pub fn confirm_stage(&self) -> usize {
        self.levels.len() + 1
    }
}

/// A part of a network that is run by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The stage of a level or, after those, the one that scores. A pixel network's stage 0 only keeps the images.
    Stage(usize),
    /// The confirm network.
    Confirm,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Stage(stage) => write!(f, "{stage}"),
            Part::Confirm => f.write_str("confirm"),
        }
    }
}

/// A stage could not be run. Nothing about an image causes this, so the worker stops rather than give verdicts.
#[derive(Debug, thiserror::Error)]
pub struct RunError {
    /// Which stage; [`Form::confirm_stage`] for the confirm network.
    pub stage: usize,
    /// What the runtime said.
    pub message: String,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage {} of the network failed: {}", self.stage, self.message)
    }
}

/// A pointer to a network is one.
macro_rules! forward {
    ($pointer:ty) => {
        impl<N: Network + ?Sized> Network for $pointer {
            fn form(&self) -> &Form {
                (**self).form()
            }

            fn embed(&mut self, images: &[&[f32]], first: usize) -> Result<(), RunError> {
                (**self).embed(images, first)
            }

            fn merge(&mut self, level: usize, members: &[i64], arity: usize, first: usize) -> Result<(), RunError> {
                (**self).merge(level, members, arity, first)
            }

            fn score(&mut self, members: &[i64], arity: usize, scores: &mut Vec<f32>) -> Result<(), RunError> {
                (**self).score(members, arity, scores)
            }

            fn confirm(&mut self, images: &[&[f32]], scores: &mut Vec<f32>) -> Result<(), RunError> {
                (**self).confirm(images, scores)
            }
        }
    };
}

forward!(Box<N>);
forward!(&mut N);
