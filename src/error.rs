//! Why a worker did not start, or stopped.

use dorfman_core::engine::EngineError;

use crate::sink::kafka::SinkError;
use crate::source::kafka::SourceError;

/// Why a worker did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The consumer failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The producer failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Anything that is set up before the first item failed.
    #[error("{0}")]
    Setup(String),
    /// A thread did not stop within the deadline. The source hangs if the brokers do not answer.
    #[error(
        "the {0} thread did not stop in time; items without a committed offset will be read again"
    )]
    Hanging(&'static str),
    /// A thread panicked.
    #[error("a bug: the {0} thread panicked")]
    Panic(&'static str),
}

/// A setup error with the message of another error.
pub(crate) fn setup(error: impl std::fmt::Display) -> WorkerError {
    WorkerError::Setup(error.to_string())
}
