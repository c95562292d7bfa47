//! A chain of ever smaller tests: 16 > 4 > 1 tests a positive group of 16 in fours, and a positive four one by one.
//!
//! Two rounds (16 > 1) are R. Dorfman, "The Detection of Defective Members of Large Populations", Ann. Math. Statist. 14 (1943);
//! more are algorithm 2 of Liang & Zou, "Neural Group Testing to Accelerate Deep Learning", ISIT 2021.

use std::sync::Arc;

use super::{Ask, MAX_GROUP, Members, Outcome, Plan, Policy, Step};

/// Tests a group at the sizes of a falling chain that ends in 1.
///
/// A group smaller than a size of the chain skips that size. A group of n costs at most the sum over the chain of
/// ceil(n / size) tests, and each member is tested at most once a size.
#[derive(Debug, Clone)]
pub struct MultiRound {
    chain: Arc<[usize]>,
}

impl MultiRound {
    /// A policy from a chain such as `[16, 4, 1]`.
    ///
    /// # Errors
    /// Says what is wrong if the chain does not fall, does not end in 1, or starts above [`MAX_GROUP`].
    pub fn new(chain: &[usize]) -> Result<Self, String> {
        let Some(&first) = chain.first() else { return Err("a chain needs at least one size".into()) };
        if first > MAX_GROUP {
            return Err(format!("the chain starts with {first}, at most {MAX_GROUP} images can share a test"));
        }
        if !chain.windows(2).all(|pair| pair[0] > pair[1]) {
            return Err("the sizes of the chain must fall, as in [16, 4, 1]".into());
        }
        if chain.last() != Some(&1) {
            return Err("the chain must end in 1: a flag has passed an individual test".into());
        }
        Ok(Self { chain: chain.into() })
    }

    /// The largest size of the chain below `size`.
    fn next_size(&self, size: usize) -> usize {
        self.chain.iter().copied().find(|&s| s < size).unwrap_or(1)
    }
}

impl Policy for MultiRound {
    fn start(&mut self, size: usize, step: &mut Step) {
        step.test(Members::first(size), 1);
    }

    fn observe(&mut self, test: Ask, outcome: Outcome, step: &mut Step) {
        if !outcome.positive {
            step.cleared = step.cleared.union(test.members);
            return;
        }
        if test.members.len() == 1 {
            step.flagged = step.flagged.union(test.members);
            return;
        }
        let size = self.next_size(test.members.len());
        for part in test.members.chunks(size) {
            step.test(part, test.round + 1);
        }
    }
}

impl Plan for MultiRound {
    fn group_size(&self) -> usize {
        self.chain[0]
    }

    fn policy(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }

    fn arities(&self) -> Vec<usize> {
        self.chain.to_vec()
    }

    fn describe(&self) -> String {
        self.chain.iter().map(usize::to_string).collect::<Vec<_>>().join(" > ")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::retest::Individual;
    use crate::retest::harness::{resolve, resolve_noisily};

    fn chains() -> impl Strategy<Value = Vec<usize>> {
        prop::collection::btree_set(2usize..=64, 0..5).prop_map(|sizes| sizes.into_iter().rev().chain([1]).collect())
    }

    proptest! {
        /// With perfect tests the positives and nobody else are flagged.
        #[test]
        fn perfect_tests_find_exactly_the_positives(chain in chains(), size in 1usize..=64, truth: u64) {
            let plan = MultiRound::new(&chain).unwrap();
            let size = size.min(plan.group_size());
            let truth = Members(truth).intersection(Members::first(size));
            let (flagged, cleared, _) = resolve(&plan, size, |t| !t.members.intersection(truth).is_empty());
            prop_assert_eq!(flagged, truth);
            prop_assert_eq!(cleared, Members::first(size).without(truth));
        }

        /// However wrong the tests are: one verdict each, bounded rounds and cost, no flag without an individual test.
        #[test]
        fn the_invariants_hold_whatever_the_tests_say(chain in chains(), size in 1usize..=64, seed: u64) {
            let plan = MultiRound::new(&chain).unwrap();
            let size = size.min(plan.group_size());
            let noisy = resolve_noisily(&plan, size, seed);
            prop_assert_eq!(noisy.flagged.union(noisy.cleared), Members::first(size));
            prop_assert_eq!(noisy.flagged, noisy.alone);
            prop_assert!(noisy.tests.iter().all(|t| usize::from(t.round) <= chain.len()));
            let bound: usize = chain.iter().filter(|&&s| s < size).map(|s| 2 * size.div_ceil(*s)).sum::<usize>() + 1;
            prop_assert!(noisy.tests.len() <= bound);
        }

        /// Two rounds never cost more than individual testing and the first test.
        #[test]
        fn two_rounds_cost_at_most_one_test_more(m in 2usize..=64, size in 1usize..=64, truth: u64) {
            let plan = MultiRound::new(&[m, 1]).unwrap();
            let size = size.min(m);
            let (_, _, tests) = resolve(&plan, size, |t| t.members.0 & truth != 0);
            prop_assert!(tests.len() <= size + 1);
        }

        #[test]
        fn individual_tests_everyone_once(size in 1usize..=64, truth: u64) {
            let truth = Members(truth).intersection(Members::first(size));
            let (flagged, cleared, tests) = resolve(&Individual, size, |t| !t.members.intersection(truth).is_empty());
            prop_assert_eq!(flagged, truth);
            prop_assert_eq!(cleared, Members::first(size).without(truth));
            prop_assert_eq!(tests.len(), size);
        }
    }

    #[test]
    fn sixteen_four_one() {
        let plan = MultiRound::new(&[16, 4, 1]).unwrap();
        let (flagged, _, tests) = resolve(&plan, 16, |t| t.members.0 & (1 << 6) != 0);
        assert_eq!(flagged, Members::only(6));
        assert_eq!(tests.len(), 1 + 4 + 4);
        assert!(tests.contains(&Ask { members: Members(0b1111_0000), round: 2 }));
    }

    #[test]
    fn a_short_group_skips_sizes_it_does_not_reach() {
        let plan = MultiRound::new(&[16, 4, 1]).unwrap();
        let (_, _, tests) = resolve(&plan, 3, |_| true);
        assert_eq!(tests.len(), 1 + 3);
        let (_, _, tests) = resolve(&plan, 1, |_| true);
        assert_eq!(tests.len(), 1);
    }

    #[test]
    fn a_wrong_chain_says_why() {
        for (chain, word) in
            [(&[][..], "at least one"), (&[16, 4], "end in 1"), (&[4, 16, 1], "fall"), (&[65, 1], "at most 64")]
        {
            assert!(MultiRound::new(chain).unwrap_err().contains(word));
        }
    }
}
