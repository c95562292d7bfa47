//! A stream of images and a network that answers as a calibration says, both drawn by a seed (pure).
//!
//! In: how frequent positives are and how they come ([`Stream`]), how tests answer ([`crate::retest::Answers`]), what they cost. Out: what
//! a plan, or the pilot that changes plans, costs and finds hour by hour. Tests of one image, of several and of their parts hang together as
//! `planner::expect` has it, so that simulated and expected costs agree but for chance.

mod member;
mod risk;
mod run;
mod stream;

pub use risk::{Band, Risk};
pub use run::{Hour, Planned, Steered, simulate};
pub use stream::{Burst, Stream};
