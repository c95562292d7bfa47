//! An item in flight, and what the engine returns about it.

/// The key of an item among the items in flight.
pub(super) type ItemId = usize;

/// The key of a group among the groups in flight.
pub(super) type GroupId = usize;

/// A score column with a score.
pub(super) type ScoredLabel = (usize, f32);

/// The pool of an item and its risk.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PoolAssignment {
    /// The pool whose items share groups; 0 where there is one pool.
    pub pool: usize,
    /// The prior risk of the item, 0 to 1, if it is known.
    pub risk: Option<f32>,
}

/// An item in flight.
pub(super) struct Item<T> {
    pub payload: T,
    pub risk: Option<f32>,
    /// The preprocessed image. Empty after stage 0, unless the confirm network may need it.
    pub image: Vec<f32>,
    /// The slot of level 0, after stage 0 has run.
    pub slot: Option<usize>,
    /// The group, after it was formed.
    pub group: Option<GroupId>,
    /// Tests of the item without an outcome.
    pub outstanding: u16,
    /// Tests that the item took part in.
    pub tests: u16,
    /// The number of the last round.
    pub rounds: u8,
    /// The score of the last test, except the confirm network's.
    pub score: f32,
    /// Items in that test.
    pub arity: u8,
    /// The labels that passed the individual test.
    pub passed: Vec<ScoredLabel>,
    /// Whether the item was audited.
    pub audited: bool,
}

impl<T> Item<T> {
    pub fn new(image: Vec<f32>, payload: T, risk: Option<f32>) -> Self {
        Self {
            payload,
            risk,
            image,
            slot: None,
            group: None,
            outstanding: 0,
            tests: 0,
            rounds: 0,
            score: f32::NAN,
            arity: 0,
            passed: Vec::new(),
            audited: false,
        }
    }
}

/// An item with its verdict.
#[derive(Debug)]
pub struct ItemVerdict<T> {
    /// The payload that was offered with the image.
    pub payload: T,
    /// The verdict.
    pub verdict: Verdict,
    /// Tests that the item took part in, including the confirm network's.
    pub tests: u16,
    /// Rounds until the verdict.
    pub rounds: u8,
    /// The score of the last test that the item took part in, except the confirm network's.
    pub score: f32,
    /// Items in that test.
    pub arity: u8,
    /// Whether pooling cleared the item and its last test was an audit.
    pub audited: bool,
    /// The confirm network's score, if it gave a number. For a flagged item: the score of the
    /// flag's label with the highest individual score. For a cleared one: the score of the label
    /// with the highest individual score among those that passed the individual test.
    pub confirm_score: Option<f32>,
}

/// The verdict on an item.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Positive, with every label that passed as (score column, score of the individual test). With
    /// a confirm network a label must pass both. A policy that flags without an individual test
    /// gives the labels that its positive tests have in common, each with its lowest score.
    Flagged(Vec<ScoredLabel>),
    /// Negative.
    Cleared,
    /// The item could not be scored.
    Failed(NotFinite),
}

/// The network whose score of a single image was not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotFinite {
    /// The stages of the network.
    #[error("the network's score is not a number")]
    Network,
    /// The confirm network.
    #[error("the confirm network's score is not a number")]
    Confirm,
}
