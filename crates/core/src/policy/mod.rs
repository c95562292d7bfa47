//! How a positive group is resolved (pure).
//!
//! A [`Plan`] makes one [`Policy`] per group. A policy is a state machine: it requests tests of
//! some of the group's members, receives the outcome of each test, and gives every member exactly
//! one verdict.
//!
//! | policy | in the literature |
//! |---|---|
//! | [`Individual`] | individual testing |
//! | [`MultiRound`] | two rounds: Dorfman testing; more rounds: hierarchical testing |
//! | [`Halving`] | binary splitting |
//! | [`OneRound`] | array testing |
//! | [`Planned`] | tests chosen by posterior probabilities |
//! | [`Audited`] | any of them, with a random share of its cleared members tested alone |
//!
//! [`PlanSpec`] names a plan by its parameters and builds it.
//!
//! # Example
//!
//! Dorfman testing of three items, of which the last is positive:
//!
//! ```
//! use dorfman_core::policy::{Decision, Members, MultiRound, Outcome, Plan};
//!
//! let positive = Members::only(2);
//! let mut policy = MultiRound::new(&[3, 1])?.policy();
//! let (mut decision, mut waiting) = (Decision::default(), Vec::new());
//! let (mut flagged, mut cleared) = (Members::NONE, Members::NONE);
//! policy.start(3, &mut decision);
//! loop {
//!     flagged = flagged.union(decision.flagged);
//!     cleared = cleared.union(decision.cleared);
//!     waiting.append(&mut decision.tests);
//!     decision.reset();
//!     let Some(test) = waiting.pop() else { break };
//!     let hit = !test.members.intersection(positive).is_empty();
//!     policy.observe(test, Outcome { positive: hit, score: 0.5 }, &mut decision);
//! }
//! assert_eq!((flagged, cleared), (positive, Members::first(2)));
//! # Ok::<(), dorfman_core::policy::PlanError>(())
//! ```

mod audited;
mod error;
mod halving;
#[cfg(test)]
mod harness;
mod individual;
mod inputs;
mod members;
mod multi_round;
mod one_round;
mod planned;
mod spec;

pub(crate) use audited::AuditAlone;
pub use audited::Audited;
pub use error::PlanError;
pub use halving::Halving;
pub use individual::Individual;
pub use inputs::PolicyInputs;
pub use members::Members;
pub use multi_round::MultiRound;
pub use one_round::OneRound;
pub use planned::Planned;
pub use spec::{PlanSpec, PolicyKind};

/// The largest number of members of a group, 64: [`Members`] is a set of 64 bits.
pub const MAX_GROUP: usize = 64;

/// The round that a test belongs to. Later rounds compare greater; audits come after all numbered
/// rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Round {
    /// A round of the policy, counted from 1. At most 255.
    Number(u8),
    /// The individual test of a member that the policy would have cleared ([`Audited`]).
    Audit,
}

impl Round {
    /// The first round of every policy.
    pub const FIRST: Round = Round::Number(1);

    /// The round after this one. Round 255 and an audit have no later round and return themselves.
    pub fn next(self) -> Self {
        match self {
            Round::Number(number) => Round::Number(number.saturating_add(1)),
            Round::Audit => Round::Audit,
        }
    }

    /// The number of the round, 1 to 255. `None` for an audit.
    pub fn number(self) -> Option<u8> {
        match self {
            Round::Number(number) => Some(number),
            Round::Audit => None,
        }
    }
}

/// One test that a policy requests: one evaluation of the network on a set of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// The members that are tested together, 1 to [`MAX_GROUP`]. Their number is the test's arity.
    pub members: Members,
    /// The round of the test within its group.
    pub round: Round,
}

/// The outcome of one test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Whether a score reached the threshold of the test's arity, or was NaN.
    pub positive: bool,
    /// The score of the label with the greatest difference of score and threshold, 0 to 1. NaN if
    /// the score of a positive label was NaN.
    pub score: f32,
}

/// What a policy decides at the start of a group or after an outcome: further tests, and verdicts
/// of members.
#[derive(Debug, Default)]
pub struct Decision {
    /// Tests to run. They may run in any order, and together with the tests of other groups.
    pub tests: Vec<Test>,
    /// Members whose verdict is *flagged*.
    pub flagged: Members,
    /// Members whose verdict is *cleared*.
    pub cleared: Members,
}

impl Decision {
    /// Empties the decision, so that its memory can be used again.
    pub fn reset(&mut self) {
        self.tests.clear();
        self.flagged = Members::NONE;
        self.cleared = Members::NONE;
    }

    /// Requests a test of `members` (at least one) in `round`.
    pub fn test(&mut self, members: Members, round: Round) {
        self.tests.push(Test { members, round });
    }

    /// Adds `members` to the flagged ones.
    pub fn flag(&mut self, members: Members) {
        self.flagged = self.flagged.union(members);
    }

    /// Adds `members` to the cleared ones.
    pub fn clear(&mut self, members: Members) {
        self.cleared = self.cleared.union(members);
    }

    /// Gives `members` the verdict of their individual test: flagged if it was positive, otherwise
    /// cleared.
    pub fn settle(&mut self, members: Members, positive: bool) {
        if positive {
            self.flag(members);
        } else {
            self.clear(members);
        }
    }
}

/// The state machine of one group.
///
/// A member is named by its position in the group, from 0. A policy must keep this contract:
///
/// - It requests tests only of members without a verdict, and each test has at least one member.
/// - It gives a member its verdict only when no test of that member is outstanding.
/// - It gives every member exactly one verdict. While a member has no verdict, at least one test of
///   the group is outstanding.
/// - The number of its rounds is bounded, at most 255.
///
/// The caller calls [`Policy::start`] once, and then [`Policy::observe`] once for every requested
/// test. A group may have fewer members than [`Plan::group_size`].
pub trait Policy: Send {
    /// Writes the first decision for a group of `size` members into `decision`, which is empty.
    /// `size` is 1 to [`MAX_GROUP`] and at most [`Plan::group_size`].
    fn start(&mut self, size: usize, decision: &mut Decision);

    /// Writes the decision that follows from the outcome of `test`, one of the requested tests,
    /// into `decision`, which is empty.
    fn observe(&mut self, test: Test, outcome: Outcome, decision: &mut Decision);
}

/// Makes the policy of each new group.
pub trait Plan: Send {
    /// Items pooled into one first-round test, 1 to [`MAX_GROUP`].
    fn group_size(&self) -> usize;

    /// The policy of a new group.
    fn policy(&self) -> Box<dyn Policy>;

    /// The policy of a new group whose members' prior risks (0 to 1) are known in part. `risks` is
    /// `[size]`: `risks[i]` is the risk of member `i`, or `None` if it is unknown. Plans that do
    /// not use risks return [`Plan::policy`].
    fn policy_for(&self, _risks: &[Option<f32>]) -> Box<dyn Policy> {
        self.policy()
    }

    /// The arities (items per test) of the tests of full groups, 1 to [`MAX_GROUP`], largest first
    /// and without repeats. The engine warms the network up for them.
    fn arities(&self) -> Vec<usize>;

    /// The plan in words, such as `16 > 4 > 1`.
    fn describe(&self) -> String;
}
