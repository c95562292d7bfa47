//! A simulated stream of items and simulated tests, both drawn from a seed (pure).
//!
//! [`Stream`] describes how frequent positives are and how they arrive. The outcomes of tests
//! follow the operating points of a calibration, under the model of [`crate::planner::expected`];
//! simulated and expected costs agree except for chance. [`simulate`] returns, hour by hour, what a
//! plan costs and finds.

mod hour;
mod member;
mod resolver;
mod risk;
mod run;
mod stream;

pub use hour::Hour;
pub use risk::{Band, Risk};
pub use run::{PlanSource, SimulatedPlan, simulate};
pub use stream::{Burst, Stream};
