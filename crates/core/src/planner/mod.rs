//! The cheapest plan for a prevalence (pure).
//!
//! From the operating points of tests, their costs and the prevalence, [`Planner`] chooses the early
//! exits in use, a group size, a chain of retests and a sensitivity for each, and gives the expected
//! cost, recall and false positive rate. Expectations are exact under the model of [`expected`];
//! nothing is simulated. [`AdaptivePlanner`] estimates the prevalence of a stream from its verdicts
//! and replans.

mod adaptive;
mod bounds;
mod exits;
mod expect;
mod plan;
mod prevalence;
mod search;
mod setting;

pub use adaptive::{AdaptivePlanner, ReplanRule, VERDICTS_PER_UPDATE};
pub use bounds::{Bounds, bounds};
pub use expect::{ChainLink, Coherence, ExitShare, Expectation, expected};
pub use plan::{ChainPlan, ExitLink, ItemFlow, PlanConstraints, PlanKind, describe_exits};
pub use prevalence::PrevalenceEstimate;
pub use search::Planner;
pub use setting::PassedPoints;
