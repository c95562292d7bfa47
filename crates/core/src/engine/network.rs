//! What the engine requires of a network: slots that keep features, and tests over slots.

use std::fmt;

use crate::policy::MAX_GROUP;

/// A network cut into stages, which keeps features in numbered slots.
///
/// At level 0 a slot holds the features of one item. The first levels are *item levels*: their
/// fan-in is 1, and a slot of level k > 0 holds the features of one item, refined from its slot of
/// level k - 1. At a level above the item levels a slot holds a merged set of slots of the level
/// below (a tree's pairs). The engine decides which slot belongs to which item or set; the network
/// computes slots and keeps them until they are written again. A network of one stage (pixel
/// merging) has one level, whose slots hold the images themselves.
///
/// The stage of a level may have an *early exit* ([`Level::exit`]): it then also scores every row
/// that it computes.
///
/// Slot indices are 0 to [`Level::slots`] - 1 of their level. A batch may contain padding: repeats
/// of its last image or row, whose results the engine ignores. If [`NetworkShape::repeats`] is set,
/// a row may also repeat its last slot.
pub trait Network: Send {
    /// The levels, labels and costs of the network.
    fn shape(&self) -> &NetworkShape;

    /// Runs stage 0 on `N` preprocessed images and writes their features into slots `first..first +
    /// N` of level 0. Each image has the pixel values that the network's input expects, 0 to 255, in
    /// its layout. If level 0 has an early exit, appends its scores `[N, labels]` to `exits`, row by
    /// row.
    ///
    /// # Errors
    /// [`RunError`]; the slots and `exits` are then undefined.
    fn embed(
        &mut self,
        images: &[&[u8]],
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError>;

    /// Runs the stage of `level` (at least 1, not the last stage). `members` is a matrix `[T,
    /// arity]` of slot indices of level `level - 1`, row by row. Row t is merged into slot `first +
    /// t` of `level`. `arity` is 1 to the fan-in of `level`, or its padded value
    /// ([`NetworkShape::padded`]). At an item level it is 1. If `level` has an early exit, appends
    /// its scores `[T, labels]` to `exits`, row by row.
    ///
    /// # Errors
    /// [`RunError`]; the slots and `exits` are then undefined.
    fn merge(
        &mut self,
        level: usize,
        members: &[i64],
        arity: usize,
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError>;

    /// Runs the last stage. `members` is a matrix `[T, arity]` of slot indices of the last level,
    /// row by row: one row per test. `arity` is 1 to [`MAX_GROUP`]. Appends the scores `[T,
    /// labels]` to `scores`, row by row. A score is 0 to 1, or NaN if it could not be computed.
    ///
    /// # Errors
    /// [`RunError`]; `scores` is then undefined.
    fn score(
        &mut self,
        members: &[i64],
        arity: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), RunError>;

    /// Runs the confirm network on `N` preprocessed images, each alone, and appends the scores `[N,
    /// labels]` to `scores`, row by row. The labels are the same as those of [`Network::score`].
    /// The confirm network reads and writes no slot.
    ///
    /// # Errors
    /// [`RunError`]; `scores` is then undefined. The default implementation, for networks whose
    /// [`NetworkShape::confirm_macs`] is `None`, always returns this error.
    fn confirm(&mut self, _images: &[&[u8]], _scores: &mut Vec<f32>) -> Result<(), RunError> {
        Err(RunError {
            part: NetworkPart::Confirm,
            message: "the network has no confirm network".into(),
        })
    }
}

/// The levels, labels and costs of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkShape {
    /// One level per stage that keeps slots, in order. There is at least level 0.
    pub levels: Vec<Level>,
    /// Scores per test, one per label. At least 1.
    pub labels: usize,
    /// Multiply-adds of one test in the last stage.
    pub score_macs: u64,
    /// Whether a test may be padded by repeating a member without changing its scores. True for a
    /// maximum, false for a mean.
    pub repeats: bool,
    /// Multiply-adds of the confirm network per image. `None` without a confirm network.
    pub confirm_macs: Option<u64>,
}

/// The slots of one level.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// The number of slots of the level below that one slot merges; 1 at the item levels.
    pub fan_in: usize,
    /// The number of slots, at least 1. At level 0 it bounds the items in flight. An item level has
    /// as many slots as level 0. A level above the item levels must have a slot for every merged
    /// set that the items in flight can need at once; otherwise the engine can stall
    /// ([`super::EngineError::Stalled`]).
    pub slots: usize,
    /// Multiply-adds to compute one slot (0 where the images themselves are kept), with the early
    /// exit.
    pub macs: u64,
    /// Whether the stage of this level has an early exit: a small head that scores the row.
    pub exit: bool,
}

impl NetworkShape {
    /// Multiply-adds of one image alone, through all stages, without the confirm network.
    pub fn individual_macs(&self) -> u64 {
        self.levels.iter().map(|level| level.macs).sum::<u64>() + self.score_macs
    }

    /// The last item level: the leading levels up to this one have a fan-in of 1. An item at this
    /// level can be pooled.
    pub fn item_top(&self) -> usize {
        self.levels.iter().skip(1).take_while(|level| level.fan_in == 1).count()
    }

    /// The number of items that a full slot of `level` covers: the product of the fan-ins up to
    /// this level.
    ///
    /// # Panics
    /// If there is no level `level`.
    pub fn span(&self, level: usize) -> usize {
        self.levels[..=level].iter().map(|level| level.fan_in.max(1)).product()
    }

    /// The arity to which a set of `slots` slots is padded. Where repeats change nothing
    /// ([`NetworkShape::repeats`]), it is the next power of two, at most [`MAX_GROUP`], so that few
    /// different arities occur. Otherwise it is `slots`.
    pub fn padded(&self, slots: usize) -> usize {
        if self.repeats { slots.next_power_of_two().min(MAX_GROUP) } else { slots }
    }

    /// The index of the last level, whose slots the tests merge.
    ///
    /// # Panics
    /// In builds with overflow checks, if there is no level.
    pub fn top(&self) -> usize {
        self.levels.len() - 1
    }

    /// Multiply-adds of one row of `part`: one slot, one test, or one image of the confirm network.
    /// 0 for the confirm network of a network without one, and for the screen, which is a network
    /// of its own.
    pub fn macs(&self, part: NetworkPart) -> u64 {
        match part {
            NetworkPart::Stage(stage) => {
                self.levels.get(stage).map_or(self.score_macs, |level| level.macs)
            }
            NetworkPart::Confirm => self.confirm_macs.unwrap_or_default(),
            NetworkPart::Screen => 0,
        }
    }
}

/// A part of a network that is run by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkPart {
    /// A stage, counted from 0: that of the level with this index or, after the levels, the last
    /// stage. Stage 0 of a pixel network only keeps the images. Displayed as its number.
    Stage(usize),
    /// The confirm network. Displayed as `confirm`.
    Confirm,
    /// The screen network ([`crate::screen`]). Displayed as `screen`.
    Screen,
}

impl NetworkPart {
    /// The name in records and files: `stage0`, `confirm` or `screen`.
    pub fn name(self) -> String {
        match self {
            NetworkPart::Stage(stage) => format!("stage{stage}"),
            part => part.to_string(),
        }
    }
}

impl fmt::Display for NetworkPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkPart::Stage(stage) => write!(f, "{stage}"),
            NetworkPart::Confirm => f.write_str("confirm"),
            NetworkPart::Screen => f.write_str("screen"),
        }
    }
}

/// A part of the network failed to run. No image causes this error, so the engine stops
/// ([`super::EngineError::Network`]) instead of giving verdicts.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct RunError {
    /// The part that failed.
    pub part: NetworkPart,
    /// The message of the runtime.
    pub message: String,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            NetworkPart::Stage(stage) => {
                write!(f, "stage {stage} of the network failed: {}", self.message)
            }
            NetworkPart::Confirm => write!(f, "the confirm network failed: {}", self.message),
            NetworkPart::Screen => write!(f, "the screen network failed: {}", self.message),
        }
    }
}

/// Implements [`Network`] for a pointer to a network.
macro_rules! forward {
    ($pointer:ty) => {
        impl<N: Network + ?Sized> Network for $pointer {
            fn shape(&self) -> &NetworkShape {
                (**self).shape()
            }

            fn embed(
                &mut self,
                images: &[&[u8]],
                first: usize,
                exits: &mut Vec<f32>,
            ) -> Result<(), RunError> {
                (**self).embed(images, first, exits)
            }

            fn merge(
                &mut self,
                level: usize,
                members: &[i64],
                arity: usize,
                first: usize,
                exits: &mut Vec<f32>,
            ) -> Result<(), RunError> {
                (**self).merge(level, members, arity, first, exits)
            }

            fn score(
                &mut self,
                members: &[i64],
                arity: usize,
                scores: &mut Vec<f32>,
            ) -> Result<(), RunError> {
                (**self).score(members, arity, scores)
            }

            fn confirm(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError> {
                (**self).confirm(images, scores)
            }
        }
    };
}

forward!(Box<N>);
forward!(&mut N);
