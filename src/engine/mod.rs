//! Continuous batching of tests.
//!
//! In: preprocessed images, one by one. Out: a verdict for each, with what it took.
//! Groups are small state machines ([`crate::retest`]) that ask for tests; whenever the network is free, the engine runs the stage with the
//! most to gain on whatever any live group wants of it, later rounds first. What would be flagged goes through the confirm network, if there
//! is one; policies know nothing of it. Features stay in a fixed number of rows, which bounds memory and
//! the items in flight. Nothing here reads a topic, a file or a clock that it wasn't given; an item never leaves without a verdict.

mod asking;
mod core;
mod group;
mod lanes;
mod network;
mod rows;
mod run;
mod scripted;
mod stats;
mod verdict;
mod warm_up;

pub use self::core::{Engine, EngineError, Place, Settings};
pub use network::{Form, Level, Network, Part, RunError};
pub use scripted::{NullNetwork, ScriptedNetwork, single_label_form};
pub use stats::{BandStats, StageStats, Stats};

use crate::message::Failure;

/// An item with its verdict.
#[derive(Debug)]
pub struct Judged<T> {
    /// Whatever came in with the image.
    pub payload: T,
    /// The verdict.
    pub verdict: Verdict,
    /// How many tests the item took part in, the confirm network's among them.
    pub tests: u16,
    /// How many rounds its verdict took.
    pub rounds: u8,
    /// The score of the last test it took part in, the confirm network's apart.
    pub score: f32,
    /// How many images shared that test.
    pub arity: u8,
    /// Whether pooling would have cleared it and its last test was an audit.
    pub audited: bool,
    /// The confirm network's score, if it was asked and gave a number: of the flag's most suspicious label or, if the item was cleared, of
    /// the most suspicious one that passed the individual test.
    pub confirm_score: Option<f32>,
}

/// Flagged, cleared or failed.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Positive: every label that passed the individual test, and the confirm network if there is one, as (column, score of the
    /// individual test). Of a policy that flags without one: the labels that its tests have in common, each with its least score.
    Flagged(Vec<(usize, f32)>),
    /// Negative.
    Cleared,
    /// No score could be had.
    Failed(Failure),
}
