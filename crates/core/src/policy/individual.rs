//! Individual testing: the baseline that group testing is compared with.

use super::{Decision, Members, Outcome, Plan, Policy, Round, Test};

/// Individual testing: every member is tested alone, once. It is both a plan and a policy.
///
/// The plan's group size is 1. The policy accepts larger groups too. A group of n takes n tests in
/// one round.
///
/// ```
/// use dorfman_core::policy::{Individual, Plan};
///
/// assert_eq!((Individual.group_size(), Individual.arities()), (1, vec![1]));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Individual;

impl Policy for Individual {
    fn start(&mut self, size: usize, decision: &mut Decision) {
        for position in 0..size {
            decision.test(Members::only(position), Round::FIRST);
        }
    }

    fn observe(&mut self, test: Test, outcome: Outcome, decision: &mut Decision) {
        decision.settle(test.members, outcome.positive);
    }
}

impl Plan for Individual {
    fn group_size(&self) -> usize {
        1
    }

    fn policy(&self) -> Box<dyn Policy> {
        Box::new(*self)
    }

    fn arities(&self) -> Vec<usize> {
        vec![1]
    }

    fn describe(&self) -> String {
        "individual".into()
    }
}
