//! What goes out: flags, verdicts, dead letters.
//!
//! In: items with their verdicts. Out: records in the topics, and resolved tickets, each only after the broker acknowledged every record
//! of its item. A record that can't be delivered stops the worker; nothing is acknowledged in its stead.

pub mod kafka;
pub mod message;

use bytes::Bytes;

use crate::engine::Judged;
use crate::message::{Failure, Reference};
use crate::source::Origin;

/// What is known of an item when its verdict comes: its reference (inline bytes dropped) and where it came from.
#[derive(Debug)]
pub struct Subject {
    /// The reference.
    pub reference: Reference,
    /// Where it came from.
    pub origin: Origin,
}

/// An item at the end of its way.
#[derive(Debug)]
pub enum Ending {
    /// The engine gave its verdict.
    Judged(Judged<Subject>),
    /// It never reached the engine.
    Dead {
        /// Where it came from.
        origin: Origin,
        /// The reference, if the message was one.
        reference: Option<Reference>,
        /// The message, if it was none.
        payload: Bytes,
        /// Why.
        failure: Failure,
    },
}
