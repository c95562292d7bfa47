//! The worker's policies over recorded scores instead of a network.
//!
//! In: a folder of recordings: the scores that networks gave to fixed groups of the same items. Out: the verdicts and the tests of a plan,
//! what they cost in multiply-adds, and the table of the paper that group testing of images comes from (Liang & Zou, "Neural Group Testing
//! to Accelerate Deep Learning", ISIT 2021). A policy's test is answered by the recorded score of exactly its members, or by an error.
//! Pure but for [`Archive`], which reads the files.

mod accounting;
mod archive;
mod error;
mod halvings;
mod index;
mod one_round;
mod plan;
mod recording;
mod row;
mod sheet;
mod table1;
#[cfg(test)]
mod tests;

pub use accounting::{Accounting, Spent, TestCost};
pub use archive::Archive;
pub use error::ReplayError;
pub use halvings::{Fitted, HALVED, Halved, fit, halve, judge};
pub use index::Entry;
pub use one_round::{OneRound, one_round};
pub use plan::{RecordedPlan, Replayed, TestKind};
pub use recording::{Group, INDIVIDUAL, Item, Recording, Scores};
pub use row::{Algorithm, Row, Summary};
pub use table1::{PREVALENCE_PERCENT, SEEDS, table1};
