//! An item in flight, and what the engine returns about it.

use super::network::NetworkPart;

/// The key of an item among the items in flight.
pub(super) type ItemId = usize;

/// The key of a group among the groups in flight.
pub(super) type GroupId = usize;

/// A score column with a score.
pub(super) type ScoredLabel = (usize, f32);

/// What is known about an item before the network has seen it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ItemPrior {
    /// The prior risk of the item, 0 to 1, if it is known.
    pub risk: Option<f32>,
    /// The risk of the item after the screen, 0 to 1, if the screen says something about it. It
    /// holds until an early exit says something.
    pub screened: Option<f32>,
    /// The hash of the item's message key ([`crate::grouping::key_hash`]), if it has one.
    pub key: Option<u64>,
    /// The part of the network that would have cleared the item, if the item was chosen for an
    /// audit before it was offered: it then skips the early exits and is tested alone.
    pub audit: Option<NetworkPart>,
}

/// An item in flight.
pub(super) struct Item<T> {
    pub payload: T,
    pub prior: ItemPrior,
    /// The present risk: the prior risk, or the risk that follows from the last exit's score.
    pub risk: Option<f32>,
    /// The number of the item, in the order of arrival.
    pub sequence: u64,
    /// The preprocessed image. Empty after stage 0, unless the confirm network may need it.
    pub image: Vec<u8>,
    /// The item level of `slot`.
    pub level: usize,
    /// The slot, after stage 0 has run.
    pub slot: Option<usize>,
    /// The exit or screen that cleared the item, or would have cleared it without an audit.
    pub exit: Option<NetworkPart>,
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
    pub fn new(image: Vec<u8>, payload: T, prior: ItemPrior, sequence: u64) -> Self {
        Self {
            payload,
            prior,
            risk: prior.screened.or(prior.risk),
            sequence,
            image,
            level: 0,
            slot: None,
            exit: prior.audit,
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
    /// The number of tests that the item took part in, including audits and the confirm network's. 0
    /// for an item that an exit cleared.
    pub tests: u16,
    /// The number of the last round in which the item was tested, from 1, without audits.
    pub rounds: u8,
    /// The score of the last test that the item took part in, except the confirm network's, 0 to 1
    /// ([`crate::policy::Outcome::score`]). For an item that was flagged without an individual
    /// test: the highest score among its labels. For an item that an exit cleared: the exit's
    /// score. NaN if the test gave no number.
    pub score: f32,
    /// The number of items in that last test, 1 to [`crate::policy::MAX_GROUP`].
    pub arity: u8,
    /// Whether pooling or an exit cleared the item and its last test was an audit.
    pub audited: bool,
    /// The early exit ([`NetworkPart::Stage`]) or the screen that cleared the item or, if `audited`
    /// is true, would have cleared it. `None` for an item that no exit cleared.
    pub exit: Option<NetworkPart>,
    /// The confirm network's score, 0 to 1. `None` if it did not test the item or gave no number.
    /// For a flagged item: the score of the flag's label with the highest individual score. For a
    /// cleared item: the score of the label with the highest individual score among those that
    /// passed the individual test.
    pub confirm_score: Option<f32>,
}

/// The verdict on an item.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Positive, with every label that passed as (score column, score of the individual test). A
    /// label passes if its score, 0 to 1, reaches its threshold. With a confirm network a label
    /// must pass both networks. Where a policy flags without an individual test, the labels are
    /// those that passed all positive tests of the item, each with its lowest score. If there is no
    /// such label, all labels that passed any of these tests are given.
    Flagged(Vec<ScoredLabel>),
    /// Negative, by an exit, by the policy or by the confirm network.
    Cleared,
    /// The item could not be scored: the policy flagged it, and the score of the given network was
    /// NaN.
    Failed(NotFinite),
}

/// The network whose score of a single image was not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotFinite {
    /// The network whose stages run the tests of the policies.
    #[error("the network's score is not a number")]
    Network,
    /// The confirm network.
    #[error("the confirm network's score is not a number")]
    Confirm,
}
