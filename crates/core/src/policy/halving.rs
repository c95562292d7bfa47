//! Binary splitting: a positive group is cut in two halves, and a negative first half saves the
//! test of the second half.
//!
//! M. Sobel & P. A. Groll, "Group testing to eliminate efficiently all defectives in a binomial
//! sample", Bell Syst. Tech. J. 38 (1959); F. K. Hwang, "A method for detecting all defective
//! members in a population by group testing", J. Amer. Statist. Assoc. 67 (1972).

use super::{Decision, MAX_GROUP, Members, Outcome, Plan, PlanError, Policy, Round, Test};

/// Binary splitting: halves positive groups until every member has its verdict.
///
/// The first half of a positive set is tested. If the first half is negative, the second half must
/// be positive and is halved without a test of its own. If the first half is positive, the second
/// half is tested as a whole. A member is flagged only after a positive individual test, even where
/// the verdict was certain before. The first half is the largest power of two below the size, which
/// is how the merged slots of a tree are aligned.
///
/// A group of n takes at most 2n - 1 tests, in at most 2 ceil(log2 n) + 1 rounds. With few
/// positives it takes few tests, most of them one after another. With perfect tests, one positive
/// in a group of n = 2^k takes at most 2k + 2 tests.
///
/// ```
/// use dorfman_core::policy::{Halving, Plan};
///
/// assert_eq!(Halving::new(12)?.arities(), [12, 8, 4, 2, 1]);
/// # Ok::<(), dorfman_core::policy::PlanError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Halving {
    group_size: usize,
    /// First halves whose test is outstanding, each with the second half of its positive set.
    open: Vec<(Members, Members)>,
}

impl Halving {
    /// A plan for groups of `group_size` items, 1 to [`MAX_GROUP`].
    ///
    /// # Errors
    /// [`PlanError::GroupSize`] if `group_size` is not 1 to [`MAX_GROUP`].
    pub fn new(group_size: usize) -> Result<Self, PlanError> {
        if !(1..=MAX_GROUP).contains(&group_size) {
            return Err(PlanError::GroupSize(group_size));
        }
        Ok(Self { group_size, open: Vec::new() })
    }

    /// Requests the next test of a set that is known to be positive, by its own test or because its
    /// sibling is negative.
    fn resolve(&mut self, positive: Members, round: Round, decision: &mut Decision) {
        if positive.len() == 1 {
            return decision.test(positive, round);
        }
        let half = first_half(positive.len());
        let mut parts = positive.chunks(half);
        let (Some(first), Some(second)) = (parts.next(), parts.next()) else { return };
        self.open.push((first, second));
        decision.test(first, round);
    }

    fn sibling(&mut self, half: Members) -> Option<Members> {
        let at = self.open.iter().position(|(first, _)| *first == half)?;
        Some(self.open.swap_remove(at).1)
    }
}

/// The largest power of two below `size`, which is at least 2.
fn first_half(size: usize) -> usize {
    size.next_power_of_two() / 2
}

impl Policy for Halving {
    fn start(&mut self, size: usize, decision: &mut Decision) {
        decision.test(Members::first(size), Round::FIRST);
    }

    fn observe(&mut self, test: Test, outcome: Outcome, decision: &mut Decision) {
        let (members, next) = (test.members, test.round.next());
        let sibling = self.sibling(members);
        if !outcome.positive {
            decision.clear(members);
            if let Some(sibling) = sibling {
                self.resolve(sibling, next, decision);
            }
            return;
        }
        match members.len() {
            1 => decision.flag(members),
            _ => self.resolve(members, next, decision),
        }
        if let Some(sibling) = sibling {
            decision.test(sibling, next);
        }
    }
}

impl Plan for Halving {
    fn group_size(&self) -> usize {
        self.group_size
    }

    fn policy(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }

    fn arities(&self) -> Vec<usize> {
        let mut sizes = vec![self.group_size];
        let mut size = self.group_size;
        while size > 1 {
            let half = first_half(size);
            sizes.extend([half, size - half]);
            size = half;
        }
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.dedup();
        sizes
    }

    fn describe(&self) -> String {
        format!("halving {}", self.group_size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::harness::{resolve, resolve_noisily, rounds};

    fn plan() -> Halving {
        Halving::new(64).unwrap()
    }

    proptest! {
        #[test]
        fn perfect_tests_find_exactly_the_positives(size in 1usize..=64, truth: u64) {
            let truth = Members(truth).intersection(Members::first(size));
            let (flagged, cleared, _) =
                resolve(&plan(), size, |t| !t.members.intersection(truth).is_empty());
            prop_assert_eq!(flagged, truth);
            prop_assert_eq!(cleared, Members::first(size).without(truth));
        }

        /// However wrong the tests are: one verdict per member, bounded rounds and tests, no flag
        /// without an individual test.
        #[test]
        fn the_invariants_hold_whatever_the_tests_say(size in 1usize..=64, seed: u64) {
            let noisy = resolve_noisily(&plan(), size, seed);
            prop_assert_eq!(noisy.flagged.union(noisy.cleared), Members::first(size));
            prop_assert_eq!(noisy.flagged, noisy.alone);
            // A binary tree over n members has 2n - 1 nodes, and no node is tested twice.
            prop_assert!(noisy.tests.len() < 2 * size);
            prop_assert!(rounds(&noisy.tests) <= 13);
        }

        /// One positive in a power of two takes at most two tests per level and two more.
        #[test]
        fn one_positive_costs_at_most_two_tests_per_level(level in 0u32..=6, place in 0usize..64) {
            let size = 1usize << level;
            let hot = Members::only(place % size);
            let (_, _, tests) = resolve(&plan(), size, |t| !t.members.intersection(hot).is_empty());
            prop_assert!(tests.len() <= 2 + 2 * level as usize);
        }
    }

    #[test]
    fn a_negative_half_saves_the_test_of_the_other() {
        // Member 3 of 0..4 is positive. {0, 1} is negative, so {2, 3} must be positive; {2} is
        // negative, so {3} must be positive, and is tested alone before it is flagged.
        let hot = Members::only(3);
        let (flagged, _, tests) = resolve(&plan(), 4, |t| !t.members.intersection(hot).is_empty());
        let asked: Vec<Vec<usize>> = tests.iter().map(|t| t.members.iter().collect()).collect();
        assert_eq!(asked, [vec![0, 1, 2, 3], vec![0, 1], vec![2], vec![3]]);
        assert_eq!(flagged, hot);
    }

    #[test]
    fn halves_are_powers_of_two() {
        assert_eq!(Halving::new(12).unwrap().arities(), [12, 8, 4, 2, 1]);
        assert_eq!(Halving::new(7).unwrap().arities(), [7, 4, 3, 2, 1]);
        assert_eq!(Halving::new(1).unwrap().arities(), [1]);
        assert_eq!(Halving::new(0).unwrap_err(), PlanError::GroupSize(0));
    }
}
