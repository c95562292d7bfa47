//! Why parameters do not make a plan.

use super::MAX_GROUP;
use crate::calibration::CalibrationError;

/// Why parameters do not make a plan. Sizes are numbers of items.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A chain without sizes.
    #[error("a chain needs at least one size")]
    EmptyChain,
    /// The first size of a chain is larger than [`MAX_GROUP`]. Holds that size.
    #[error("the chain starts with {0}; at most {MAX_GROUP} images can share a test")]
    ChainTooLarge(usize),
    /// The sizes of a chain do not fall: a size is not smaller than the one before.
    #[error("the sizes of the chain must fall, as in [16, 4, 1]")]
    ChainNotFalling,
    /// A chain does not end in 1.
    #[error("the chain must end in 1: a flag requires a positive individual test")]
    ChainWithoutIndividualTest,
    /// A group size that is not 1 to [`MAX_GROUP`]. Holds that size.
    #[error("{0} images cannot share a test; 1 to {MAX_GROUP} can")]
    GroupSize(usize),
    /// A group size that is not a square number from 9 to [`MAX_GROUP`]. Holds that size.
    #[error("{0} images cannot be tested by rows and columns; 9, 16, 25, 36, 49 and 64 can")]
    NotSquare(usize),
    /// A prior share of positives that is not above 0 and below 1. Holds that prior.
    #[error("the prior share of positives is {0}; it must be above 0 and below 1")]
    Prior(f64),
    /// The worth of a positive, in individual tests, is not finite and above 0. Holds that worth.
    #[error("a positive is worth {0} individual tests; the worth must be finite and above 0")]
    Worth(f64),
    /// The policy needs [`super::PolicyInputs`] and there are none.
    #[error("the policy needs the calibration of a network; multi-round and halving do not")]
    NoInputs,
    /// The calibration lacks what the policy needs.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
}
