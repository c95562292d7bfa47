//! Why scores cannot be replayed.

use std::io;
use std::path::PathBuf;

use dorfman_core::calibration::CalibrationError;
use dorfman_core::policy::PlanError;

/// Why scores cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file is not a CSV file.
    #[error("{}: {source}", file.display())]
    Csv {
        /// The file.
        file: PathBuf,
        /// The error.
        source: csv::Error,
    },
    /// A file does not have the required form.
    #[error("{}: {what}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A value in a file is wrong.
    #[error("{}, line {line}, column `{column}`: {what}", file.display())]
    Cell {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column's name.
        column: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The scores of a folder do not fit its items.
    #[error("{folder}: {design} in groups of {size}: {what}")]
    Scores {
        /// The folder.
        folder: String,
        /// The design of the scores.
        design: String,
        /// Items per group.
        size: usize,
        /// What is wrong.
        what: String,
    },
    /// The requested scores were not recorded.
    #[error("{0}")]
    NotRecorded(String),
    /// The sizes do not make a plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The scores of groups of one size are not enough to fit a policy.
    #[error("groups of {size}: {source}")]
    Fit {
        /// Items per group.
        size: usize,
        /// The error.
        source: CalibrationError,
    },
    /// No group of one size is positive.
    #[error("groups of {size}: none is positive, so no threshold can be fitted")]
    NoPositiveGroup {
        /// Items per group.
        size: usize,
    },
    /// No design is named for tests of a size.
    #[error("no design is named for tests of {size}; name one, as in d2:{size}")]
    NoDesign {
        /// Items per group.
        size: usize,
    },
    /// The number of thresholds is not that of the sizes.
    #[error("{sizes} sizes need one threshold or {sizes}, not {thresholds}")]
    Thresholds {
        /// Sizes of the plan.
        sizes: usize,
        /// Thresholds that were given.
        thresholds: usize,
    },
    /// A test of the plan is not a recorded group.
    #[error(
        "the plan {plan} requests in round {round} a test of {items} items between positions \
         {first} and {last}, which is not a recorded group: a recorded group of M starts at a \
         multiple of M, so each size must divide the one before it"
    )]
    NoSuchGroup {
        /// The plan in words.
        plan: String,
        /// The round, from 1.
        round: u8,
        /// Items of the test.
        items: usize,
        /// The position of its first item.
        first: usize,
        /// The position of its last item.
        last: usize,
    },
    /// A policy stopped before every item had its verdict.
    #[error("a bug: no verdict on some of the {size} items from position {start} on")]
    NoVerdict {
        /// Items of the group.
        size: usize,
        /// The position of its first item.
        start: usize,
    },
}

impl From<CalibrationError> for ReplayError {
    fn from(error: CalibrationError) -> Self {
        Self::Plan(error.into())
    }
}
