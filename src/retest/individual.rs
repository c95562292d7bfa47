//! Every image alone: what group testing is measured against.

use super::{Ask, Outcome, Plan, Policy, Step};
use crate::retest::Members;

/// Tests every member alone, once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Individual;

impl Policy for Individual {
    fn start(&mut self, size: usize, step: &mut Step) {
        for position in 0..size {
            step.test(Members::only(position), 1);
        }
    }

    fn observe(&mut self, test: Ask, outcome: Outcome, step: &mut Step) {
        match outcome.positive {
            true => step.flagged = step.flagged.union(test.members),
            false => step.cleared = step.cleared.union(test.members),
        }
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
