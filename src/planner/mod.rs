//! Which plan is cheapest (pure).
//!
//! In: how tests of every size answer, by the bundle's calibration, what they cost, and the prevalence. Out: a group size, a chain and a
//! sensitivity for each size, with what they are expected to cost and find. Expectations are exact, never simulated. No I/O, no clock.

mod bounds;
mod stage_costs;
mod expect;
mod pilot;
mod prevalence;
mod search;

pub use bounds::{Bounds, bounds};
pub use expect::{Coherence, Expected, Link, expected};
pub use pilot::{LOOK, Pilot, Steering};
pub use prevalence::Prevalence;
pub use search::{Choice, Planner, Wanted};
pub use stage_costs::{StageCosts, Tier};
