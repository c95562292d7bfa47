//! The worker's policies over recorded scores, without a network.
//!
//! Input: a folder of recordings, the scores that networks gave to fixed groups of the same items.
//! Output: the verdicts and tests of a plan, their cost in multiply-adds, and Table 1 of the paper
//! that introduced group testing of images (Liang & Zou, "Neural Group Testing to Accelerate Deep
//! Learning", ISIT 2021).
//!
//! The result of a policy's test is the recorded score of exactly its members; if there is none,
//! the replay ends with an error. [`Archive`] reads the files. Everything else is pure.

mod archive;
mod csv_file;
mod error;
mod halvings;
mod index;
mod one_round;
mod plan;
mod recording;
mod row;
mod table;
mod table1;
#[cfg(test)]
mod tests;

pub use archive::Archive;
pub use error::ReplayError;
pub use halvings::{FittedPolicy, HALVED, Halved, fit, halve, summarise};
pub use index::Entry;
pub use one_round::{OneRoundResult, one_round};
pub use plan::{RecordedPlan, Replayed, ScoreSource, ScoreSourceError};
pub use recording::{INDIVIDUAL, RecordedGroup, RecordedItem, Recording, Scores};
pub use row::{Algorithm, ReplayRow, Summary};
pub use table::{HalvedLine, ReplayLine, accounting_note, halved_table, replay_table};
pub use table1::{PREVALENCE_PERCENT, SEEDS, table1};
