//! Experiments with policies and bundles.
//!
//! | module | question | command |
//! |---|---|---|
//! | [`evaluate`] | What does a bundle find and cost on labelled images? | `dorfman evaluate` |
//! | [`plan`] | Which plan is the cheapest for a prevalence? | `dorfman plan` |
//! | [`simulate`] | What does a plan cost and find over a day? | `dorfman simulate` |
//! | [`replay`] | What does a plan find and cost on recorded scores? | `dorfman replay-scores` |
//! | [`paper`] | How many seconds does the paper's network save? | `dorfman bench-paper` |
//!
//! Each experiment takes a request and returns a report. A report can be serialised as JSON, and it
//! can be written as tables ([`table`]) and, in part, as a picture. The crate reads images, bundles
//! and recordings. It writes no file and prints nothing: long work reports to a [`Progress`], and
//! the caller writes the reports. The engine, the policies and the planner are those of the worker,
//! from `dorfman-core`.

mod chart;
mod error;
pub mod evaluate;
mod feed;
pub mod labelled;
pub mod paper;
pub mod plan;
pub mod progress;
pub mod replay;
pub mod simulate;
pub mod table;

pub use chart::PictureError;
pub use error::LabError;
pub use progress::Progress;
