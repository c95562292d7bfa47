//! What a policy reckons tests to cost (pure).

use super::MAX_GROUP;

/// What a test of one arity costs, in any unit that all tests share: seconds or multiply-adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Nothing is cached.
    pub full: f64,
    /// The features of its members are cached: a retest.
    pub cached: f64,
}

/// Costs by arity.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    by_arity: Vec<Cost>,
}

impl Costs {
    /// `cost(arity)` is asked once for every arity from 1 to [`MAX_GROUP`]; that of 1 is the individual test.
    ///
    /// # Errors
    /// Says which arity has a cost that is not positive.
    pub fn new(cost: impl Fn(usize) -> Cost) -> Result<Self, String> {
        let by_arity: Vec<Cost> = (1..=MAX_GROUP).map(cost).collect();
        let positive = |cost: f64| cost.is_finite() && cost > 0.0;
        match by_arity.iter().position(|cost| !positive(cost.full) || !positive(cost.cached)) {
            Some(at) => Err(format!("a test of {} costs {:?}, it must cost something", at + 1, by_arity[at])),
            None => Ok(Self { by_arity }),
        }
    }

    /// A test with nothing cached.
    pub fn full(&self, arity: usize) -> f64 {
        self.at(arity).full
    }

    /// A test on cached features.
    pub fn retest(&self, arity: usize) -> f64 {
        self.at(arity).cached
    }

    fn at(&self, arity: usize) -> Cost {
        self.by_arity[arity.clamp(1, MAX_GROUP) - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_found_by_arity_and_must_be_positive() {
        let costs = Costs::new(|arity| Cost { full: 10.0 + arity as f64, cached: 10.0 }).unwrap();
        assert_eq!((costs.full(4), costs.retest(4), costs.full(64)), (14.0, 10.0, 74.0));
        let error = Costs::new(|arity| Cost { full: 1.0, cached: 2.0 - arity as f64 }).unwrap_err();
        assert!(error.contains("a test of 2"), "{error}");
    }
}
