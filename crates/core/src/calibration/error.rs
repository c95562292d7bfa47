//! Why measured scores do not make a calibration.

use crate::cost::CostError;

/// Why measured scores do not make a calibration. In all variants the *arity* is the number of
/// items per test.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// An arity without operating points. Holds the arity.
    #[error("no operating point is known for tests of {0}")]
    NoOperatingPoint(usize),
    /// The individual test (arity 1) is not calibrated.
    #[error("no operating point is known for tests of one image")]
    NoIndividualTest,
    /// No operating point of an arity reaches the sensitivity.
    #[error("tests of {arity} are not calibrated for a sensitivity of {sensitivity}")]
    Sensitivity {
        /// Items per test.
        arity: usize,
        /// The sensitivity that was requested, 0 to 1.
        sensitivity: f64,
    },
    /// Too few scores of positive groups to estimate a density. Holds their number, 0 or 1.
    #[error("{0} scores of positive groups are too few; at least 2 are needed")]
    TooFewPositives(u64),
    /// Too few scores of negative groups to estimate a density. Holds their number, 0 to 19.
    #[error("{0} scores of negative groups are too few; at least 20 are needed")]
    TooFewNegatives(u64),
    /// A score that is not a probability. Holds the score: NaN, below 0 or above 1.
    #[error("a score is {0}; scores must be 0 to 1")]
    Score(f32),
    /// No distribution of scores at all.
    #[error("evidence needs the distribution of scores for at least one arity")]
    NoDistribution,
    /// Two distributions of scores for one arity. Holds the arity.
    #[error("there are two distributions of scores for arity {0}")]
    TwoDistributions(usize),
    /// There are several positive labels. A test has one score per label, and evidence needs one
    /// score per test.
    #[error("the planned policy needs a bundle with one positive label; this bundle has several")]
    SeveralLabels,
    /// An error that concerns one arity.
    #[error("arity {arity}: {source}")]
    AtArity {
        /// Items per test.
        arity: usize,
        /// The error.
        source: Box<CalibrationError>,
    },
    /// The joint scores of the exits and the individual test cannot be used. Holds the reason.
    #[error("the joint scores of the exits: {0}")]
    JointScores(&'static str),
    /// A cost that is not a positive, finite number.
    #[error(transparent)]
    Cost(#[from] CostError),
}

impl CalibrationError {
    /// This error wrapped in [`CalibrationError::AtArity`], with the arity (items per test) that it
    /// concerns.
    pub fn at_arity(self, arity: usize) -> Self {
        Self::AtArity { arity, source: Box::new(self) }
    }
}
