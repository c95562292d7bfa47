//! Continuous batching of tests.
//!
//! Preprocessed images are offered one by one; every image leaves with exactly one verdict. Groups
//! are small state machines ([`crate::policy`]) that request tests. Whenever the network is free,
//! one step is taken:
//!
//! 1. *Schedule* (`scheduler.rs`): choose the run with the fullest batch among the jobs of all
//!    groups.
//! 2. *Execute* (`executor.rs`): gather its slots or images and call the [`Network`] once.
//! 3. *Update* (`update.rs`, `dispatch.rs`, `verdict.rs`): give slots and scores to groups and
//!    policies, queue the tests that follow, and settle verdicts.
//!
//! An item that a policy flags is tested by the confirm network, if one is used; policies do not
//! depend on it. Features stay in a fixed number of slots, which bounds memory and the items in
//! flight.
//!
//! A [`Driver`] owns the loop around the steps; its documentation has an example.

mod clock;
mod dispatch;
mod driver;
#[expect(clippy::module_inception, reason = "the engine is one of several parts of this module")]
mod engine;
mod executor;
mod exits;
mod group;
mod in_flight;
mod item;
mod job_queue;
mod network;
mod scheduler;
mod scripted;
mod settings;
mod slots;
mod stats;
#[cfg(test)]
mod tests;
mod update;
mod verdict;
mod warm_up;

pub use clock::{Clock, ManualClock};
pub use driver::{Driver, Turn};
pub use engine::{BandPlan, Engine, EngineError};
pub use exits::{AuditSampler, ExitRule};
pub use item::{ItemPrior, ItemVerdict, NotFinite, Verdict};
pub use network::{Level, Network, NetworkPart, NetworkShape, RunError};
pub use scripted::{
    NullNetwork, ScriptedNetwork, scripted_image, scripted_score, single_label_shape,
};
pub use settings::BatchSettings;
pub use stats::{BandStats, ExitStats, StageStats, Stats};
