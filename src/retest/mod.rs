//! How a positive group is resolved (pure).
//!
//! In: a group's size and, one by one, the outcome of each test asked for. Out: the next tests and the members' verdicts.
//! Every member gets exactly one verdict, rounds are bounded, and a flag has passed an individual test, unless the policy is one-round. No I/O, no clock, no ONNX.

mod answers;
mod audited;
mod costs;
mod evidence;
mod halving;
#[cfg(test)]
mod harness;
mod individual;
mod knowledge;
mod members;
mod miss_rate;
mod multi_round;
mod nested;
mod one_round;
mod planned;
mod thresholds;

pub(crate) use answers::Rates;
pub use answers::{Answers, Point, SizeAnswers};
pub use audited::Audited;
pub use costs::{Cost, Costs};
pub use evidence::{Evidence, Ratio, log_odds};
pub use halving::Halving;
pub use individual::Individual;
pub use knowledge::Knowledge;
pub use members::Members;
pub use miss_rate::{Audits, MissRate};
pub use multi_round::MultiRound;
pub use nested::Nested;
pub use one_round::OneRound;
pub use planned::Planned;
pub use thresholds::Thresholds;

/// Most members a group can have: [`Members`] is a 64-bit set.
pub const MAX_GROUP: usize = 64;

/// The round that an audit counts as: later than any of a policy.
pub const AUDIT: u8 = u8::MAX - 1;

/// A test that a policy asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Whom to test together.
    pub members: Members,
    /// Which round of the group it belongs to, from 1.
    pub round: u8,
}

/// What a test showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Whether the score reached the threshold of the test's arity.
    pub positive: bool,
    /// The score of the most suspicious label.
    pub score: f32,
}

/// What a policy wants after an observation: further tests, and verdicts for members it is done with.
#[derive(Debug, Default)]
pub struct Step {
    /// Tests to run, in any order, together with other groups' tests.
    pub tests: Vec<Ask>,
    /// Members whose verdict is *flagged*.
    pub flagged: Members,
    /// Members whose verdict is *cleared*.
    pub cleared: Members,
}

impl Step {
    /// Empties the step for the next use.
    pub fn reset(&mut self) {
        self.tests.clear();
        self.flagged = Members::NONE;
        self.cleared = Members::NONE;
    }

    /// Asks for a test.
    pub fn test(&mut self, members: Members, round: u8) {
        self.tests.push(Ask { members, round });
    }
}

/// The state machine of one group: it asks for tests and is told their outcomes.
///
/// It gives a member its verdict only when no test of that member is outstanding, and asks only for members without one.
pub trait Policy: Send {
    /// The first step for a group of `size` members (1 to [`MAX_GROUP`]).
    fn start(&mut self, size: usize, step: &mut Step);

    /// The step that follows from one test's outcome.
    fn observe(&mut self, test: Ask, outcome: Outcome, step: &mut Step);
}

/// Makes the policy of each new group.
pub trait Plan: Send {
    /// Items pooled into one first-round test.
    fn group_size(&self) -> usize;

    /// A fresh state machine.
    fn policy(&self) -> Box<dyn Policy>;

    /// The same for members of whom something is known: how likely each is positive, by position. Most plans don't look at it.
    fn policy_for(&self, _risks: &[Option<f32>]) -> Box<dyn Policy> {
        self.policy()
    }

    /// The sizes of tests that the plan uses for full groups, largest first: what the engine warms up.
    fn arities(&self) -> Vec<usize>;

    /// The plan in words, such as `16 > 4 > 1`.
    fn describe(&self) -> String;
}
