//! Binary splitting: a positive group is cut in two, and what is known of one half spares a test of the other.
//!
//! M. Sobel & P. A. Groll, "Group testing to eliminate efficiently all defectives in a binomial sample", Bell Syst. Tech. J. 38 (1959);
//! F. K. Hwang, "A method for detecting all defective members in a population by group testing", J. Amer. Statist. Assoc. 67 (1972).

use super::{Ask, MAX_GROUP, Members, Outcome, Plan, Policy, Step};

/// Halves positive groups until every member has its verdict.
///
/// Of a positive set the first half is tested. If it is negative, the second half must be positive and is halved without a test of its own;
/// if it is positive, the second half is tested as a whole. A flag has passed an individual test even where it was already certain.
/// Halves are powers of two wherever they can be, which is how a tree's merged rows lie. With few positives this takes the fewest tests of
/// the policies here, one after another: up to twice the binary logarithm of the group's size in rounds.
#[derive(Debug, Clone)]
pub struct Halving {
    group_size: usize,
    /// Halves that are being tested, each with the other half of its positive set.
    open: Vec<(Members, Members)>,
}

impl Halving {
    /// A policy for groups of `group_size`.
    ///
    /// # Errors
    /// Says what is wrong if it is not 1 to [`MAX_GROUP`].
    pub fn new(group_size: usize) -> Result<Self, String> {
        if !(1..=MAX_GROUP).contains(&group_size) {
            return Err(format!("{group_size} images can't share a test, 1 to {MAX_GROUP} can"));
        }
        Ok(Self { group_size, open: Vec::new() })
    }

    /// Goes on with a set that is known to be positive, by a test or because its sibling is negative.
    fn resolve(&mut self, positive: Members, round: u8, step: &mut Step) {
        if positive.len() == 1 {
            return step.test(positive, round);
        }
        let half = first_half(positive.len());
        let mut parts = positive.chunks(half);
        let (Some(first), Some(second)) = (parts.next(), parts.next()) else { return };
        self.open.push((first, second));
        step.test(first, round);
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
    fn start(&mut self, size: usize, step: &mut Step) {
        step.test(Members::first(size), 1);
    }

    fn observe(&mut self, test: Ask, outcome: Outcome, step: &mut Step) {
        let (members, next) = (test.members, test.round + 1);
        let sibling = self.sibling(members);
        if !outcome.positive {
            step.cleared = step.cleared.union(members);
            if let Some(sibling) = sibling {
                self.resolve(sibling, next, step);
            }
            return;
        }
        match members.len() {
            1 => step.flagged = step.flagged.union(members),
            _ => self.resolve(members, next, step),
        }
        if let Some(sibling) = sibling {
            step.test(sibling, next);
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
    use crate::retest::harness::{resolve, resolve_noisily};

    fn plan() -> Halving {
        Halving::new(64).unwrap()
    }

    proptest! {
        #[test]
        fn perfect_tests_find_exactly_the_positives(size in 1usize..=64, truth: u64) {
            let truth = Members(truth).intersection(Members::first(size));
            let (flagged, cleared, _) = resolve(&plan(), size, |t| !t.members.intersection(truth).is_empty());
            prop_assert_eq!(flagged, truth);
            prop_assert_eq!(cleared, Members::first(size).without(truth));
        }

        /// However wrong the tests are: one verdict each, bounded rounds and cost, no flag without an individual test.
        #[test]
        fn the_invariants_hold_whatever_the_tests_say(size in 1usize..=64, seed: u64) {
            let noisy = resolve_noisily(&plan(), size, seed);
            prop_assert_eq!(noisy.flagged.union(noisy.cleared), Members::first(size));
            prop_assert_eq!(noisy.flagged, noisy.alone);
            // A binary tree over n members has 2n - 1 nodes, and none is tested twice.
            prop_assert!(noisy.tests.len() < 2 * size);
            prop_assert!(noisy.tests.iter().all(|t| t.round <= 13));
        }

        /// One positive in a power of two: a test a level, and at most one more to flag it.
        #[test]
        fn one_positive_costs_a_test_a_level(level in 0u32..=6, place in 0usize..64) {
            let size = 1usize << level;
            let hot = Members::only(place % size);
            let (_, _, tests) = resolve(&plan(), size, |t| !t.members.intersection(hot).is_empty());
            prop_assert!(tests.len() <= 2 + 2 * level as usize);
        }
    }

    #[test]
    fn a_negative_half_spares_a_test_of_the_other() {
        // Positive: 3 of 0..4. Tested: all, {0,1} negative, so {2,3} is positive: {2} negative, so 3 is, and is tested alone to be flagged.
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
        assert!(Halving::new(0).unwrap_err().contains("1 to 64"));
    }
}
