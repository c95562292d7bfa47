//! What tests cost (pure).
//!
//! All costs of one calculation share one unit: seconds of a measured profile, or multiply-adds
//! (MACs). The *arity* of a test is the number of its items, 1 to [`MAX_GROUP`]. A *row* is one
//! entry of a stage's batch: it computes one slot, or in the last stage the scores of one test.
//!
//! - [`StageCosts`] is the cost model of a network: what each stage costs per row.
//! - [`TestCosts`] is derived from it: what a whole test costs, by arity. Policies that weigh the
//!   cost of the next test read it.
//! - [`TestCount`] counts tests that were made and charges them by an [`Accounting`] rule.

use crate::policy::MAX_GROUP;

/// The cost of one test, in the caller's unit (seconds or multiply-adds).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TestCost {
    /// The cost of a first test: no features of its members are cached. Finite and above 0.
    pub full: f64,
    /// The cost of a retest: the features of its members are cached. Finite and above 0.
    pub retest: f64,
}

/// The error of [`TestCosts::new`]: the cost of a test is not a positive, finite number.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a test of {arity} costs {cost:?}; costs must be finite and above 0")]
pub struct CostError {
    /// Items per test, 1 to [`MAX_GROUP`].
    pub arity: usize,
    /// The cost that was given, in the caller's unit.
    pub cost: TestCost,
}

/// Costs of tests by arity, 1 to [`MAX_GROUP`], in the caller's unit. All are finite and above 0.
#[derive(Debug, Clone, PartialEq)]
pub struct TestCosts {
    by_arity: Vec<TestCost>,
}

impl TestCosts {
    /// The costs that `cost` gives. `cost(arity)` is called once for every arity from 1 to
    /// [`MAX_GROUP`]. Arity 1 is the individual test.
    ///
    /// ```
    /// use dorfman_core::cost::{StageCosts, TestCosts};
    ///
    /// let stages = StageCosts { items: vec![1.0], last: vec![(1, 9.0)], ..StageCosts::default() };
    /// let costs = TestCosts::new(|arity| stages.test(arity))?;
    /// assert_eq!((costs.full(4), costs.retest(4)), (13.0, 9.0));
    /// # Ok::<(), dorfman_core::cost::CostError>(())
    /// ```
    ///
    /// # Errors
    /// [`CostError`] for the first arity whose cost is not finite and above 0.
    pub fn new(cost: impl Fn(usize) -> TestCost) -> Result<Self, CostError> {
        let by_arity: Vec<TestCost> = (1..=MAX_GROUP).map(cost).collect();
        let valid = |cost: f64| cost.is_finite() && cost > 0.0;
        let invalid = by_arity.iter().position(|cost| !valid(cost.full) || !valid(cost.retest));
        match invalid {
            Some(at) => Err(CostError { arity: at + 1, cost: by_arity[at] }),
            None => Ok(Self { by_arity }),
        }
    }

    /// The cost of a test of `arity` items without cached features, in the caller's unit. An arity
    /// outside 1 to [`MAX_GROUP`] is clamped to this range.
    pub fn full(&self, arity: usize) -> f64 {
        self.at(arity).full
    }

    /// The cost of a test of `arity` items on cached features, in the caller's unit. An arity
    /// outside 1 to [`MAX_GROUP`] is clamped to this range.
    pub fn retest(&self, arity: usize) -> f64 {
        self.at(arity).retest
    }

    fn at(&self, arity: usize) -> TestCost {
        self.by_arity[arity.clamp(1, MAX_GROUP) - 1]
    }
}

/// The cost of a stage between the first and the last one. Such a stage merges rows of the stage
/// before (a tree's pairs).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TierCost {
    /// Items that a full row covers, at least 2.
    pub span: usize,
    /// Cost of one row, in the caller's unit.
    pub row: f64,
}

/// The cost model of a network, in the caller's unit. Each item passes the item stages once: the
/// first stage, and the stages behind it that refine one item. Its features are kept, so a retest
/// pays only for rows that do not exist yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StageCosts {
    /// Cost of the screen per item. 0 without a screen. Only plans that use the screen pay it.
    pub screen: f64,
    /// Cost of each item stage per item, in order. At least one entry, except for networks whose
    /// slots hold the images themselves; these may have none.
    pub items: Vec<f64>,
    /// The stages between the first and the last, by rising span. Empty except for trees.
    pub tiers: Vec<TierCost>,
    /// Cost of the last stage per test, as (rows that the test merges, cost) by rising rows, at
    /// least one entry. Costs between two entries lie on a line. Before the first entry and beyond
    /// the last one the cost is constant.
    pub last: Vec<(usize, f64)>,
}

impl StageCosts {
    /// The cost of the last stage for a test of `arity` items.
    fn last_stage(&self, arity: usize) -> f64 {
        let rows = arity.div_ceil(self.tiers.last().map_or(1, |tier| tier.span));
        let after = self.last.iter().position(|&(merged, _)| merged >= rows);
        match after {
            None => self.last.last().map_or(0.0, |&(_, cost)| cost),
            Some(0) => self.last[0].1,
            Some(i) => {
                let ((low, from), (high, to)) = (self.last[i - 1], self.last[i]);
                from + (to - from) * (rows - low) as f64 / (high - low) as f64
            }
        }
    }

    /// The cost of all item stages per item.
    pub fn item(&self) -> f64 {
        self.items.iter().sum()
    }

    /// The costs of items that have passed the screen and the item stages.
    pub fn after_items(&self) -> Self {
        Self { screen: 0.0, items: Vec::new(), ..self.clone() }
    }

    /// The cost of a first-round test of `arity` items: item stages, tiers and last stage, without
    /// the screen.
    ///
    /// # Panics
    /// If the span of a tier is 0.
    pub fn first(&self, arity: usize) -> f64 {
        let tier_cost = |tier: &TierCost| tier.row * arity.div_ceil(tier.span) as f64;
        let between: f64 = self.tiers.iter().map(tier_cost).sum();
        self.item() * arity as f64 + between + self.last_stage(arity)
    }

    /// The cost of a retest of `arity` items that were in a larger test before, as a part that
    /// starts at a multiple of `arity`.
    ///
    /// A tier whose span divides `arity` costs nothing, because its rows exist. Any other tier is
    /// charged for ceil(`arity` / span) rows. This number is approximate: some of these rows may
    /// exist already, and a part that crosses the boundary of a row may need one row more.
    ///
    /// # Panics
    /// If the span of a tier is 0.
    pub fn retest(&self, arity: usize) -> f64 {
        let new_tiers = self.tiers.iter().filter(|tier| !arity.is_multiple_of(tier.span));
        let between: f64 = new_tiers.map(|tier| tier.row * arity.div_ceil(tier.span) as f64).sum();
        between + self.last_stage(arity)
    }

    /// Both costs of a test of `arity` items: [`StageCosts::first`] and [`StageCosts::retest`].
    ///
    /// # Panics
    /// If the span of a tier is 0.
    pub fn test(&self, arity: usize) -> TestCost {
        TestCost { full: self.first(arity), retest: self.retest(arity) }
    }

    /// The cost of testing one item alone, without cached features: [`StageCosts::first`] of 1.
    ///
    /// # Panics
    /// If the span of a tier is 0.
    pub fn individual(&self) -> f64 {
        self.first(1)
    }

    /// The cost of the cheapest test of items that have passed all stages before the last: the
    /// least cost in [`StageCosts::last`]. Infinite if `last` is empty.
    pub fn least_test(&self) -> f64 {
        self.last.iter().map(|&(_, cost)| cost).fold(f64::INFINITY, f64::min)
    }
}

/// The rule by which retests are charged. A *checkpoint* is one set of trained weights; tests of
/// different sizes may use different checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Accounting {
    /// The paper's rule: every test after the first round reuses the features of its members,
    /// whichever checkpoint computed them.
    #[default]
    Paper,
    /// A retest reuses what an earlier test of the same checkpoint computed for its members. The
    /// first test of a checkpoint pays in full.
    Honest,
}

/// How often a test of one kind was made, and its cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TestCount {
    /// The cost of one such test, in the caller's unit.
    pub cost: TestCost,
    /// Number of tests of the first round.
    pub first: u64,
    /// Number of later tests on features that an earlier test of the same checkpoint computed.
    pub cached: u64,
    /// Number of later tests whose checkpoint had not computed the features before.
    pub uncached: u64,
}

impl TestCount {
    /// A count of 0 tests of this cost.
    pub fn none(cost: TestCost) -> Self {
        Self { cost, first: 0, cached: 0, uncached: 0 }
    }

    /// The number of tests: first, cached and uncached.
    pub fn tests(&self) -> u64 {
        self.first + self.cached + self.uncached
    }

    /// The total cost, in the unit of [`TestCount::cost`].
    pub fn total(&self, accounting: Accounting) -> f64 {
        let (full, retests) = match accounting {
            Accounting::Paper => (self.first, self.cached + self.uncached),
            Accounting::Honest => (self.first + self.uncached, self.cached),
        };
        full as f64 * self.cost.full + retests as f64 * self.cost.retest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_found_by_arity_and_must_be_positive() {
        let costs =
            TestCosts::new(|arity| TestCost { full: 10.0 + arity as f64, retest: 10.0 }).unwrap();
        assert_eq!((costs.full(4), costs.retest(4), costs.full(64)), (14.0, 10.0, 74.0));
        let error =
            TestCosts::new(|arity| TestCost { full: 1.0, retest: 2.0 - arity as f64 }).unwrap_err();
        assert_eq!(error.arity, 2);
        assert!(error.to_string().contains("a test of 2"), "{error}");
    }

    #[test]
    fn a_retest_pays_for_rows_that_are_new() {
        let feature = StageCosts { items: vec![1.0], last: vec![(1, 10.0)], ..Default::default() };
        assert_eq!(
            (feature.first(16), feature.retest(4), feature.individual()),
            (26.0, 10.0, 11.0)
        );
        let tiers = vec![TierCost { span: 2, row: 3.0 }];
        let tree = StageCosts {
            items: vec![0.4, 0.6],
            tiers,
            last: vec![(1, 10.0)],
            ..Default::default()
        };
        // 16 items make 8 pairs. Tests of four reuse the pairs; an individual test needs a row of
        // its own.
        let costs = (tree.first(16), tree.retest(4), tree.retest(1), tree.individual());
        assert_eq!(costs, (50.0, 10.0, 13.0, 14.0));
    }

    #[test]
    fn wider_merges_cost_what_was_measured() {
        let last = vec![(1, 10.0), (4, 16.0), (16, 28.0)];
        let costs = StageCosts { last, ..Default::default() };
        let retests = [1, 2, 4, 10, 16, 64].map(|arity| costs.retest(arity));
        assert_eq!(retests, [10.0, 12.0, 16.0, 22.0, 28.0, 28.0]);
        assert_eq!(costs.least_test(), 10.0);
    }

    #[test]
    fn only_honest_accounting_charges_features_that_were_not_cached() {
        let cost = TestCost { full: 100.0, retest: 1.0 };
        let count = TestCount { first: 3, cached: 5, uncached: 7, ..TestCount::none(cost) };
        assert_eq!(count.tests(), 15);
        assert_eq!(count.total(Accounting::Paper), 312.0);
        assert_eq!(count.total(Accounting::Honest), 1005.0);
    }
}
