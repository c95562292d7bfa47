//! A chain of ever smaller tests: with 16 > 4 > 1, a positive group of 16 is retested in fours, and
//! a positive four is retested one item at a time.
//!
//! Two rounds (16 > 1) are R. Dorfman, "The Detection of Defective Members of Large Populations",
//! Ann. Math. Statist. 14 (1943); more are algorithm 2 of Liang & Zou, "Neural Group Testing to
//! Accelerate Deep Learning", ISIT 2021.

use std::sync::Arc;

use super::{Decision, MAX_GROUP, Members, Outcome, Plan, PlanError, Policy, Round, Test};

/// Two-round and multi-round testing: tests at the sizes of a falling chain that ends in 1.
///
/// The members of a positive test are retested in parts of the next smaller size of the chain. A
/// group, or a last part, that is not larger than a size skips that size. A member is flagged if
/// its individual test is positive, and cleared by its first negative test.
///
/// Each member is tested at most once per size, so a group takes at most as many rounds as the
/// chain has sizes. A group of n takes at most 2n - 1 tests. If each size divides the previous one,
/// it also takes at most the sum of ceil(n / size) tests over the chain. Other chains may exceed
/// this sum: a group of 12 takes up to 19 tests by 12 > 6 > 4 > 1, where the sum is 18.
///
/// ```
/// use dorfman_core::policy::{MultiRound, Plan};
///
/// let plan = MultiRound::new(&[16, 4, 1])?;
/// assert_eq!((plan.group_size(), plan.describe()), (16, "16 > 4 > 1".to_owned()));
/// # Ok::<(), dorfman_core::policy::PlanError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MultiRound {
    chain: Arc<[usize]>,
}

impl MultiRound {
    /// A plan from a chain of sizes, in items, such as `[16, 4, 1]`. The first size is the group
    /// size, at most [`MAX_GROUP`]; the sizes fall and end in 1. The chain `[1]` tests each item
    /// alone.
    ///
    /// # Errors
    /// [`PlanError::EmptyChain`] if the chain is empty, [`PlanError::ChainTooLarge`] if it starts
    /// above [`MAX_GROUP`], [`PlanError::ChainNotFalling`] if it does not fall, and
    /// [`PlanError::ChainWithoutIndividualTest`] if it does not end in 1.
    pub fn new(chain: &[usize]) -> Result<Self, PlanError> {
        let &first = chain.first().ok_or(PlanError::EmptyChain)?;
        if first > MAX_GROUP {
            return Err(PlanError::ChainTooLarge(first));
        }
        if !chain.windows(2).all(|pair| pair[0] > pair[1]) {
            return Err(PlanError::ChainNotFalling);
        }
        if chain.last() != Some(&1) {
            return Err(PlanError::ChainWithoutIndividualTest);
        }
        Ok(Self { chain: chain.into() })
    }

    /// The largest size of the chain below `size`.
    fn next_size(&self, size: usize) -> usize {
        self.chain.iter().copied().find(|&s| s < size).unwrap_or(1)
    }
}

impl Policy for MultiRound {
    fn start(&mut self, size: usize, decision: &mut Decision) {
        decision.test(Members::first(size), Round::FIRST);
    }

    fn observe(&mut self, test: Test, outcome: Outcome, decision: &mut Decision) {
        if !outcome.positive {
            return decision.clear(test.members);
        }
        if test.members.len() == 1 {
            return decision.flag(test.members);
        }
        let size = self.next_size(test.members.len());
        for part in test.members.chunks(size) {
            decision.test(part, test.round.next());
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
    use crate::policy::Individual;
    use crate::policy::harness::{resolve, resolve_noisily, rounds};

    fn chains() -> impl Strategy<Value = Vec<usize>> {
        prop::collection::btree_set(2usize..=64, 0..5)
            .prop_map(|sizes| sizes.into_iter().rev().chain([1]).collect())
    }

    proptest! {
        /// With perfect tests exactly the positives are flagged.
        #[test]
        fn perfect_tests_find_exactly_the_positives(
            chain in chains(),
            size in 1usize..=64,
            truth: u64,
        ) {
            let plan = MultiRound::new(&chain).unwrap();
            let size = size.min(plan.group_size());
            let truth = Members(truth).intersection(Members::first(size));
            let (flagged, cleared, _) =
                resolve(&plan, size, |t| !t.members.intersection(truth).is_empty());
            prop_assert_eq!(flagged, truth);
            prop_assert_eq!(cleared, Members::first(size).without(truth));
        }

        /// However wrong the tests are: one verdict per member, bounded rounds and tests, no flag
        /// without an individual test.
        #[test]
        fn the_invariants_hold_whatever_the_tests_say(
            chain in chains(),
            size in 1usize..=64,
            seed: u64,
        ) {
            let plan = MultiRound::new(&chain).unwrap();
            let size = size.min(plan.group_size());
            let noisy = resolve_noisily(&plan, size, seed);
            prop_assert_eq!(noisy.flagged.union(noisy.cleared), Members::first(size));
            prop_assert_eq!(noisy.flagged, noisy.alone);
            prop_assert!(rounds(&noisy.tests) <= chain.len());
            let bound: usize =
                chain.iter().filter(|&&s| s < size).map(|s| 2 * size.div_ceil(*s)).sum::<usize>()
                    + 1;
            prop_assert!(noisy.tests.len() <= bound);
        }

        /// Two rounds never cost more than individual testing and the first test.
        #[test]
        fn two_rounds_cost_at_most_one_test_more(
            m in 2usize..=64,
            size in 1usize..=64,
            truth: u64,
        ) {
            let plan = MultiRound::new(&[m, 1]).unwrap();
            let size = size.min(m);
            let (_, _, tests) = resolve(&plan, size, |t| t.members.0 & truth != 0);
            prop_assert!(tests.len() <= size + 1);
        }

        #[test]
        fn individual_tests_everyone_once(size in 1usize..=64, truth: u64) {
            let truth = Members(truth).intersection(Members::first(size));
            let (flagged, cleared, tests) =
                resolve(&Individual, size, |t| !t.members.intersection(truth).is_empty());
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
        assert!(tests.contains(&Test { members: Members(0b1111_0000), round: Round::Number(2) }));
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
    fn the_error_of_a_wrong_chain_names_the_reason() {
        for (chain, error) in [
            (&[][..], PlanError::EmptyChain),
            (&[16, 4], PlanError::ChainWithoutIndividualTest),
            (&[4, 16, 1], PlanError::ChainNotFalling),
            (&[65, 1], PlanError::ChainTooLarge(65)),
        ] {
            assert_eq!(MultiRound::new(chain).unwrap_err(), error);
        }
    }
}
