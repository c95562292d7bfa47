//! Where items come from.
//!
//! In: messages of a topic ([`kafka`]), or files ([`files`]). Out: batches of [`Incoming`], each with the ticket that acknowledges it.
//! Polling never stops while the worker lives; an offset is committed through the offset store only, and only as far as the watermark.

mod assignment;
pub mod embedded;
pub mod files;
pub mod kafka;
mod rebalance;

use std::time::Instant;

use bytes::Bytes;

use crate::message::{Failure, Reference};
use crate::offsets::Ticket;

/// Most items that travel in one batch between source and decode.
pub const BATCH: usize = 32;

/// An item as it was taken.
#[derive(Debug)]
pub struct Incoming {
    /// Where it came from.
    pub origin: Origin,
    /// The reference, or why the message is none, with the message itself for the dead-letter topic.
    pub content: Result<Reference, (Failure, Bytes)>,
}

/// Where an item came from, and what is owed to it: carried along to its verdict.
#[derive(Debug)]
pub struct Origin {
    /// To be resolved when the verdict is out.
    pub ticket: Ticket,
    /// The message's headers, carried over to what is published about it.
    pub headers: Vec<Header>,
    /// The hash of the message's key, if it has one: items of one key may be pooled together.
    pub key: Option<u64>,
    /// When it was taken.
    pub received: Instant,
}

/// A message header.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Its key.
    pub key: String,
    /// Its value, if any.
    pub value: Option<Vec<u8>>,
}
