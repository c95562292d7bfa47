//! What a policy must know about a network and a stream before it sees an item of the stream.

use crate::calibration::{CalibrationError, Evidence, OperatingPoints};
use crate::cost::TestCosts;

/// Inputs of policies that weigh the next test by probabilities and costs.
#[derive(Debug, Clone)]
pub struct PolicyInputs {
    /// Likelihood ratios of scores, or why the calibration yields none.
    pub evidence: Result<Evidence, CalibrationError>,
    /// Sensitivity and specificity of tests of every calibrated arity.
    pub operating_points: OperatingPoints,
    /// Costs of tests.
    pub costs: TestCosts,
    /// Prior share of positives among the items, above 0 and below 1.
    pub prior: f64,
}
