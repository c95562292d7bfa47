//! One round: each image is tested in two groups of different company, and flagged where both are positive.
//!
//! Algorithm 3 of Liang & Zou, "Neural Group Testing to Accelerate Deep Learning", ISIT 2021. The two groups are a row and a column of a
//! square (R. M. Phatarfod & A. Sudbury, "The use of a square array scheme in blood testing", Statistics in Medicine 13, 1994), so that two
//! images share at most one test.

use super::{Ask, MAX_GROUP, Members, Outcome, Plan, Policy, Step};

/// Lays a group out as a square, and tests its rows and its columns, all at once: 2s tests for s x s images, and no retests.
///
/// The only policy here that flags without an individual test: a negative image whose row and column each hold a positive is flagged with
/// them. A smaller group is laid out as the smallest square that holds it; where that takes no fewer tests than images, each is tested
/// alone. Where a score is not a number, those it leaves in doubt are tested alone in a second round.
#[derive(Debug, Clone)]
pub struct OneRound {
    group_size: usize,
}

impl OneRound {
    /// A policy for groups of `group_size`, which must be the square of the size of its tests.
    ///
    /// # Errors
    /// Says what is wrong if it is no square from 9 to [`MAX_GROUP`].
    pub fn new(group_size: usize) -> Result<Self, String> {
        let side = side(group_size);
        if !(9..=MAX_GROUP).contains(&group_size) || side * side != group_size {
            return Err(format!(
                "{group_size} images can't be tested by rows and columns, 9, 16, 25, 36, 49 and 64 can"
            ));
        }
        Ok(Self { group_size })
    }
}

/// The side of the smallest square that holds `size` images.
fn side(size: usize) -> usize {
    (1..=MAX_GROUP).find(|side| side * side >= size).unwrap_or(MAX_GROUP)
}

/// A group whose tests run.
#[derive(Debug, Default)]
struct Square {
    members: Members,
    /// Tests that have not answered.
    running: usize,
    /// Members that some test cleared.
    cleared: Members,
    /// Members of tests whose score is not a number.
    unread: Members,
}

impl Policy for Square {
    fn start(&mut self, size: usize, step: &mut Step) {
        let (members, side) = (Members::first(size), side(size));
        (self.members, self.cleared, self.unread) = (members, Members::NONE, Members::NONE);
        let column = |at: usize| {
            let in_column = members.iter().filter(|member| member % side == at);
            in_column.fold(Members::NONE, |all, member| all.union(Members::only(member)))
        };
        let square = members.parts(side).chain((0..side).map(column));
        let tests: Vec<Members> = square.filter(|test| !test.is_empty()).collect();
        let tests = if tests.len() < size { tests } else { members.parts(1).collect() };
        self.running = tests.len();
        tests.into_iter().for_each(|test| step.test(test, 1));
    }

    fn observe(&mut self, test: Ask, outcome: Outcome, step: &mut Step) {
        if test.round > 1 {
            let verdicts = if outcome.positive { &mut step.flagged } else { &mut step.cleared };
            *verdicts = verdicts.union(test.members);
            return;
        }
        if !outcome.positive {
            self.cleared = self.cleared.union(test.members);
        }
        if outcome.score.is_nan() {
            self.unread = self.unread.union(test.members);
        }
        self.running -= 1;
        if self.running == 0 {
            let positive = self.members.without(self.cleared);
            step.cleared = self.cleared;
            step.flagged = positive.without(self.unread);
            // One bad image must not take its row and its column with it.
            positive.intersection(self.unread).parts(1).for_each(|member| step.test(member, 2));
        }
    }
}

impl Plan for OneRound {
    fn group_size(&self) -> usize {
        self.group_size
    }

    fn policy(&self) -> Box<dyn Policy> {
        Box::new(Square::default())
    }

    fn arities(&self) -> Vec<usize> {
        vec![side(self.group_size), 1]
    }

    fn describe(&self) -> String {
        let side = side(self.group_size);
        format!("one round, {side} and {side}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::retest::harness::{resolve, resolve_noisily};

    fn plan() -> OneRound {
        OneRound::new(64).unwrap()
    }

    proptest! {
        /// Perfect tests miss nobody, and flag a negative only where its row and its column both hold a positive.
        #[test]
        fn perfect_tests_miss_nobody(size in 1usize..=64, truth: u64) {
            let truth = Members(truth).intersection(Members::first(size));
            let (flagged, _, tests) = resolve(&plan(), size, |t| !t.members.intersection(truth).is_empty());
            prop_assert_eq!(truth.without(flagged), Members::NONE);
            for member in flagged.without(truth).iter() {
                let company: Vec<Members> =
                    tests.iter().map(|t| t.members).filter(|m| !m.intersection(Members::only(member)).is_empty()).collect();
                prop_assert!(company.len() == 2 && company.iter().all(|m| !m.intersection(truth).is_empty()));
            }
            if truth.len() == 1 {
                prop_assert_eq!(flagged, truth);
            }
        }

        /// However wrong the tests are: one verdict each, one round, fewer tests than images, and a flag for those alone of whom all tests
        /// were positive.
        #[test]
        fn the_invariants_hold_whatever_the_tests_say(size in 1usize..=64, seed: u64) {
            let noisy = resolve_noisily(&plan(), size, seed);
            prop_assert_eq!(noisy.flagged.union(noisy.cleared), Members::first(size));
            prop_assert_eq!(noisy.cleared, noisy.denied);
            prop_assert!(noisy.tests.len() <= size && noisy.tests.iter().all(|t| t.round == 1 && t.members.len() <= 8));
        }

        /// Two images share at most one test.
        #[test]
        fn company_differs(size in 6usize..=64) {
            let (_, _, tests) = resolve(&plan(), size, |_| false);
            for (i, a) in tests.iter().enumerate() {
                prop_assert!(tests[..i].iter().all(|b| a.members.intersection(b.members).len() <= 1));
            }
        }
    }

    #[test]
    fn a_square_takes_two_tests_a_side() {
        let (_, _, tests) = resolve(&OneRound::new(16).unwrap(), 16, |_| false);
        assert_eq!(tests.len(), 8);
        assert!(tests.iter().all(|t| t.members.len() == 4));
        assert_eq!(resolve(&plan(), 3, |_| false).2.len(), 3, "three are tested alone");
    }

    #[test]
    fn only_squares_can_be_laid_out() {
        assert!(OneRound::new(12).unwrap_err().contains("16"));
        assert!(OneRound::new(4).is_err() && OneRound::new(81).is_err() && OneRound::new(49).is_ok());
        let plan = plan();
        assert_eq!((plan.describe(), plan.arities()), ("one round, 8 and 8".into(), vec![8, 1]));
    }
}
