//! One round: each item is in two tests with different members, and is flagged if both are
//! positive.
//!
//! Algorithm 3 of Liang & Zou, "Neural Group Testing to Accelerate Deep Learning", ISIT 2021. The
//! two groups are a row and a column of a square (R. M. Phatarfod & A. Sudbury, "The use of a
//! square array scheme in blood testing", Statistics in Medicine 13, 1994), so that two images
//! share at most one test.

use super::{Decision, MAX_GROUP, Members, Outcome, Plan, PlanError, Policy, Round, Test};

/// Array testing: lays a group out as a square and tests its rows and its columns at once. A member
/// is flagged if its row and its column are both positive, and cleared otherwise. A group of s x s
/// items takes 2s tests in one round, unless a score is NaN.
///
/// This is the only policy that flags without an individual test: a negative item whose row and
/// column each hold a positive is flagged too.
///
/// A smaller group is laid out as the smallest square that holds it, of which some rows or columns
/// may be empty or short. Where its rows and columns are at least as many as its items, each item
/// is tested alone. A group of n therefore takes at most n tests in the first round.
///
/// A test whose score is NaN (not a number) is positive. If there is such a test, its members that
/// no negative test cleared are tested alone in a second round. These are at most all n members, so
/// a group of s x s then takes up to 2s + s x s tests.
///
/// ```
/// use dorfman_core::policy::{OneRound, Plan};
///
/// assert_eq!(OneRound::new(16)?.describe(), "one round, 4 and 4");
/// # Ok::<(), dorfman_core::policy::PlanError>(())
/// ```
#[derive(Debug, Clone)]
pub struct OneRound {
    group_size: usize,
}

impl OneRound {
    /// A plan for groups of `group_size` items: 9, 16, 25, 36, 49 or 64.
    ///
    /// # Errors
    /// [`PlanError::NotSquare`] if `group_size` is not a square from 9 to [`MAX_GROUP`].
    pub fn new(group_size: usize) -> Result<Self, PlanError> {
        let side = side(group_size);
        if !(9..=MAX_GROUP).contains(&group_size) || side * side != group_size {
            return Err(PlanError::NotSquare(group_size));
        }
        Ok(Self { group_size })
    }
}

/// The side of the smallest square that holds `size` items.
fn side(size: usize) -> usize {
    (1..=MAX_GROUP).find(|side| side * side >= size).unwrap_or(MAX_GROUP)
}

/// The state machine of one group.
#[derive(Debug, Default)]
struct Square {
    members: Members,
    /// Tests whose outcome is outstanding.
    running: usize,
    /// Members of at least one negative test.
    cleared: Members,
    /// Members of tests whose score is not a number.
    unread: Members,
}

impl Policy for Square {
    fn start(&mut self, size: usize, decision: &mut Decision) {
        let (members, side) = (Members::first(size), side(size));
        (self.members, self.cleared, self.unread) = (members, Members::NONE, Members::NONE);
        let column = |at: usize| {
            let in_column = members.iter().filter(|member| member % side == at);
            in_column.fold(Members::NONE, |all, member| all.union(Members::only(member)))
        };
        let square = members.blocks(side).chain((0..side).map(column));
        let tests: Vec<Members> = square.filter(|test| !test.is_empty()).collect();
        let tests = if tests.len() < size { tests } else { members.blocks(1).collect() };
        self.running = tests.len();
        tests.into_iter().for_each(|test| decision.test(test, Round::FIRST));
    }

    fn observe(&mut self, test: Test, outcome: Outcome, decision: &mut Decision) {
        if test.round > Round::FIRST {
            return decision.settle(test.members, outcome.positive);
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
            decision.cleared = self.cleared;
            decision.flagged = positive.without(self.unread);
            // One bad image must not fail the other members of its row and its column.
            let doubtful = positive.intersection(self.unread);
            let second = Round::FIRST.next();
            doubtful.blocks(1).for_each(|member| decision.test(member, second));
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
    use crate::policy::harness::{resolve, resolve_noisily};

    fn plan() -> OneRound {
        OneRound::new(64).unwrap()
    }

    proptest! {
        /// Perfect tests miss no positive, and flag a negative only if its row and its column both
        /// hold a positive.
        #[test]
        fn perfect_tests_miss_no_positive(size in 1usize..=64, truth: u64) {
            let truth = Members(truth).intersection(Members::first(size));
            let (flagged, _, tests) =
                resolve(&plan(), size, |t| !t.members.intersection(truth).is_empty());
            prop_assert_eq!(truth.without(flagged), Members::NONE);
            for member in flagged.without(truth).iter() {
                let own = |m: &Members| m.contains(member);
                let tested: Vec<Members> = tests.iter().map(|t| t.members).filter(own).collect();
                let positive = tested.iter().all(|m| !m.intersection(truth).is_empty());
                prop_assert!(tested.len() == 2 && positive);
            }
            if truth.len() == 1 {
                prop_assert_eq!(flagged, truth);
            }
        }

        /// However wrong the tests are: one verdict per member, one round, no more tests than
        /// items, and flags only for members whose tests were all positive.
        #[test]
        fn the_invariants_hold_whatever_the_tests_say(size in 1usize..=64, seed: u64) {
            let noisy = resolve_noisily(&plan(), size, seed);
            prop_assert_eq!(noisy.flagged.union(noisy.cleared), Members::first(size));
            prop_assert_eq!(noisy.cleared, noisy.in_negative);
            prop_assert!(noisy.tests.len() <= size);
            prop_assert!(
                noisy.tests.iter().all(|t| t.round == Round::FIRST && t.members.len() <= 8)
            );
        }

        /// Two items share at most one test.
        #[test]
        fn two_items_share_at_most_one_test(size in 6usize..=64) {
            let (_, _, tests) = resolve(&plan(), size, |_| false);
            for (i, a) in tests.iter().enumerate() {
                prop_assert!(
                    tests[..i].iter().all(|b| a.members.intersection(b.members).len() <= 1)
                );
            }
        }
    }

    #[test]
    fn a_square_takes_two_tests_per_side() {
        let (_, _, tests) = resolve(&OneRound::new(16).unwrap(), 16, |_| false);
        assert_eq!(tests.len(), 8);
        assert!(tests.iter().all(|t| t.members.len() == 4));
        assert_eq!(resolve(&plan(), 3, |_| false).2.len(), 3, "three are tested alone");
    }

    #[test]
    fn only_squares_are_accepted() {
        assert_eq!(OneRound::new(12).unwrap_err(), PlanError::NotSquare(12));
        assert!(
            OneRound::new(4).is_err() && OneRound::new(81).is_err() && OneRound::new(49).is_ok()
        );
        let plan = plan();
        assert_eq!((plan.describe(), plan.arities()), ("one round, 8 and 8".into(), vec![8, 1]));
    }
}
