//! Why something can't be replayed.

/// Why something can't be replayed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// A file can't be read, or is not of the form.
    #[error("{file}: {what}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// A value in a file.
    #[error("{file}, line {line}, column `{column}`: {what}")]
    Cell {
        /// The file.
        file: String,
        /// Its line, from 1.
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
        /// The design whose scores they are.
        design: String,
        /// Items in a group.
        size: usize,
        /// What is wrong.
        what: String,
    },
    /// What is asked for was not recorded.
    #[error("{0}")]
    NotRecorded(String),
    /// The plan is none.
    #[error("{0}")]
    Plan(String),
}
