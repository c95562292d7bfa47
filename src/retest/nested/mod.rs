//! Nested testing: of a positive set a part is tested next, and the size of every test is the one that costs least in expectation.
//!
//! M. Sobel & P. A. Groll, "Group testing to eliminate efficiently all defectives in a binomial sample", Bell Syst. Tech. J. 38 (1959): at any
//! time one set of members is suspected, and of the others nothing is known but the prevalence, so that a table over the two sizes says
//! what to test next. Here tests err and differ in cost as well, the first test of members may pay for stages that retests find cached, and
//! the suspicion is a probability: a third coordinate of the table.

mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{Ask, Knowledge, MAX_GROUP, Members, Outcome, Plan, Policy, Step};
use table::{Suspects, Table};

/// Tests one set of a group after another, each of the size with the least expected cost.
///
/// With a suspected set, a part of it is tested: if it is negative the rest is suspected, if it is positive the part is, and the rest goes
/// back to those of whom nothing is known. A flag has passed an individual test. A negative test clears its members. After 2n tests of a
/// group of n, which only tests that err can lead to, whoever is left is tested alone: at most 3n tests and 2n + 1 rounds.
#[derive(Debug, Clone)]
pub struct Nested {
    table: Arc<Table>,
}

impl Nested {
    /// A policy for groups of `group_size`, by what is known of the network and the stream. Tests of several images are set for
    /// `pooled_sensitivity`, those of one for `individual_sensitivity`; a size without calibration counts as the next larger one with it,
    /// or else as the largest.
    ///
    /// # Errors
    /// Says what is wrong with the size, or which sensitivity is not calibrated.
    pub fn new(
        group_size: usize,
        known: &Knowledge,
        pooled_sensitivity: f64,
        individual_sensitivity: f64,
    ) -> Result<Self, String> {
        if !(1..=MAX_GROUP).contains(&group_size) {
            return Err(format!("{group_size} images can't share a test, 1 to {MAX_GROUP} can"));
        }
        let point = |size: usize| {
            let wanted = if size == 1 { individual_sensitivity } else { pooled_sensitivity };
            let sizes = known.answers.sizes();
            let holds = sizes.iter().find(|s| s.arity >= size).or(sizes.last());
            let point = holds.and_then(|s| known.answers.at(s.arity, wanted));
            point.ok_or_else(|| format!("tests of {size} are not calibrated for a sensitivity of {wanted}"))
        };
        let points: Result<Vec<_>, String> = (1..=group_size).map(point).collect();
        Ok(Self { table: Arc::new(Table::new(&points?, &known.costs, known.prior)) })
    }

    /// The expected cost of a full group in the unit of the costs; members' first stages, which every policy pays, are left out.
    pub fn expected_cost(&self) -> f64 {
        self.table.expected_cost()
    }
}

impl Plan for Nested {
    fn group_size(&self) -> usize {
        self.table.group_size()
    }

    fn policy(&self) -> Box<dyn Policy> {
        Box::new(Group { table: Arc::clone(&self.table), fresh: Members::NONE, suspects: None, tests: 0, limit: 0 })
    }

    fn arities(&self) -> Vec<usize> {
        self.table.sizes()
    }

    fn describe(&self) -> String {
        format!("nested {}", self.group_size())
    }
}

/// A group on its way.
#[derive(Debug)]
struct Group {
    table: Arc<Table>,
    /// Those of whom nothing is known.
    fresh: Members,
    /// The suspected set, which is no part of `fresh`, and how likely it holds a positive.
    suspects: Option<(Members, f64)>,
    tests: usize,
    /// Tests after which the rest are tested alone.
    limit: usize,
}

impl Group {
    fn next(&mut self, round: u8, step: &mut Step) {
        if self.tests >= self.limit {
            let left = self.suspects.take().map_or(self.fresh, |(members, _)| self.fresh.union(members));
            self.fresh = Members::NONE;
            return left.parts(1).for_each(|member| step.test(member, round));
        }
        let from = self.suspects.map_or(self.fresh, |(members, _)| members);
        let suspects = self.suspects.map(|(members, belief)| Suspects { count: members.len(), belief });
        let size = self.table.next_size(suspects, self.fresh.len());
        let Some(part) = from.chunks(size).next() else { return };
        self.tests += 1;
        step.test(part, round);
    }

    /// Takes in what a test of a part of the suspects, or of the fresh, showed.
    fn learn(&mut self, tested: Members, positive: bool) {
        let before = self.suspects.take();
        let (members, belief) = before.unwrap_or((self.fresh, self.table.belief(self.fresh.len())));
        let rest = members.without(tested);
        let suspects = Suspects { count: members.len(), belief };
        let after = self.table.after(suspects, tested.len());
        match (positive, before.is_some()) {
            // What is left of a suspected set is suspected, what is left of the fresh is as fresh as before.
            (false, true) => self.suspects = (!rest.is_empty()).then_some((rest, after.rest)),
            (false, false) => self.fresh = rest,
            (true, _) => {
                self.fresh = self.fresh.union(rest).without(tested);
                self.suspects = (tested.len() > 1).then_some((tested, after.part));
            }
        }
    }
}

impl Policy for Group {
    fn start(&mut self, size: usize, step: &mut Step) {
        (self.fresh, self.suspects) = (Members::first(size), None);
        (self.tests, self.limit) = (0, 2 * size);
        self.next(1, step);
    }

    fn observe(&mut self, test: Ask, outcome: Outcome, step: &mut Step) {
        match (outcome.positive, test.members.len()) {
            (false, _) => step.cleared = step.cleared.union(test.members),
            (true, 1) => step.flagged = step.flagged.union(test.members),
            (true, _) => (),
        }
        if self.fresh.is_empty() && self.suspects.is_none() {
            return;
        }
        self.learn(test.members, outcome.positive);
        if !self.fresh.is_empty() || self.suspects.is_some() {
            self.next(test.round + 1, step);
        }
    }
}
