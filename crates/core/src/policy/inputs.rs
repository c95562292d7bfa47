//! The inputs of policies that weigh the next test by probabilities and costs.

use crate::calibration::{CalibrationError, Evidence};
use crate::cost::TestCosts;

/// Inputs of policies that weigh the next test by probabilities and costs. Only [`super::Planned`]
/// needs them.
#[derive(Debug, Clone)]
pub struct PolicyInputs {
    /// Likelihood ratios of scores, or why the calibration yields none.
    pub evidence: Result<Evidence, CalibrationError>,
    /// Costs of tests by arity, in any unit (seconds or multiply-adds).
    pub costs: TestCosts,
    /// Prior share of positives among the items, above 0 and below 1.
    pub prior: f64,
}
