//! The cheapest plan for a prevalence (pure).
//!
//! From the operating points of tests, their costs and the prevalence, [`Planner`] chooses a group
//! size, a chain of retests and a sensitivity for each size, and gives the expected cost, recall
//! and false positive rate. Expectations are exact under the model of [`expected`]; nothing is
//! simulated. [`AdaptivePlanner`] estimates the prevalence of a stream from its verdicts and
//! replans.

mod adaptive;
mod bounds;
mod expect;
mod prevalence;
mod search;

pub use adaptive::{AdaptivePlanner, ReplanRule, VERDICTS_PER_UPDATE};
pub use bounds::{Bounds, bounds};
pub use expect::{ChainLink, Coherence, Expectation, expected};
pub use prevalence::PrevalenceEstimate;
pub use search::{ChainPlan, PlanConstraints, Planner};
