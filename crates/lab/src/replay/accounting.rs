//! What tests cost (pure).

/// What a retest is charged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Accounting {
    /// As in the paper: every test after the first round re-uses the features of its members, whichever checkpoint they came from.
    #[default]
    Paper,
    /// A retest re-uses what an earlier test of the same checkpoint computed for its members; the first one of a checkpoint pays in full.
    Honest,
}

/// What a test costs, in GMAC (10^9 multiply-adds).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TestCost {
    /// Nothing is cached.
    pub full: f64,
    /// The features of its members are cached.
    pub retest: f64,
}

/// How often a test of one kind was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spent {
    /// What one costs.
    pub cost: TestCost,
    /// Tests of the first round.
    pub first: u64,
    /// Later tests on features that an earlier test of the same checkpoint computed.
    pub cached: u64,
    /// Later tests on features that none computed.
    pub uncached: u64,
}

impl Spent {
    /// Nothing yet.
    pub fn none(cost: TestCost) -> Self {
        Self { cost, first: 0, cached: 0, uncached: 0 }
    }

    /// How many tests.
    pub fn tests(&self) -> u64 {
        self.first + self.cached + self.uncached
    }

    /// What they cost, in GMAC.
    pub fn gmac(&self, accounting: Accounting) -> f64 {
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
    fn only_honest_accounting_charges_what_was_not_cached() {
        let spent = Spent { first: 3, cached: 5, uncached: 7, ..Spent::none(TestCost { full: 100.0, retest: 1.0 }) };
        assert_eq!(spent.tests(), 15);
        assert_eq!(spent.gmac(Accounting::Paper), 312.0);
        assert_eq!(spent.gmac(Accounting::Honest), 1005.0);
    }
}
