//! What scores mean: thresholds, operating points and likelihood ratios measured on held-out data
//! (pure).
//!
//! - [`Thresholds`] turn the scores of a test into an outcome.
//! - [`OperatingPoints`] give sensitivity and specificity of tests, by arity.
//! - [`Evidence`] gives the likelihood ratio of a score.
//! - [`JointScores`] count what early exits and the individual test do with the same images.
//! - [`AuditCounts`] estimate from audits what pooling misses.

mod error;
mod evidence;
mod joint;
mod miss_rate;
mod operating_points;
mod thresholds;

pub use error::CalibrationError;
pub use evidence::{Evidence, LikelihoodRatio, log_odds, posterior};
pub use joint::{JointExit, JointRow, JointScores, Passage};
pub use miss_rate::{AuditCounts, MissRate};
pub(crate) use operating_points::MemberRates;
pub use operating_points::{ArityPoints, OperatingPoint, OperatingPoints};
pub use thresholds::Thresholds;
