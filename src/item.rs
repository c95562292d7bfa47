//! What is known about an item, from the poll to the commit.
//!
//! The life of an item:
//!
//! 1. The source reads a Kafka record and enters its offset in the partition's tracker, which
//!    yields a [`Ticket`]. The item is a [`ReceivedItem`]: its [`Origin`] (with the ticket) and its
//!    reference, or the reason why the record is not a reference.
//! 2. The ingest stage fetches the bytes and decodes them. The [`Item`], a reference with its origin,
//!    becomes one or several [`Picture`]s: a still image, or the sampled frames of an animation.
//!    If the screen is in use, the pictures are first decoded for the screen. The screen clears a
//!    picture, or returns it to be decoded in full. A picture with its pixels is a [`DecodedPicture`].
//! 3. The engine stage tests the pictures. With the verdict on its last picture, the item is a
//!    [`FinishedItem::Verdict`].
//! 4. An item that has no reference, no bytes or no pixels skips the engine: it is a
//!    [`FinishedItem::DeadLetter`].
//! 5. The sink publishes the records of a finished item and resolves the ticket after the broker
//!    has acknowledged all of them. The source then commits the offset.
//!
//! The ticket travels with the item through all of these types and is never copied.

use std::time::Instant;

use bytes::Bytes;
use dorfman_core::engine::ItemVerdict;
use dorfman_core::screen::Screened;

use crate::budget::Held;
use crate::failure::Failure;
use crate::frames::Picture;
use crate::message::{Location, Reference};
use crate::offsets::Ticket;

/// Items per batch between source and decode, at most.
pub const MAX_BATCH: usize = 32;

/// An item as the source read it.
#[derive(Debug)]
pub struct ReceivedItem {
    /// Where the item was read.
    pub origin: Origin,
    /// The reference, or why the record is not one.
    pub content: Result<Reference, Malformed>,
    /// The bytes of the message.
    pub bytes: usize,
    /// The part of `source.queue_bytes` that the message takes until its image is decoded or found
    /// elsewhere.
    pub(crate) held: Option<Held>,
}

/// A record that is not a reference.
#[derive(Debug)]
pub struct Malformed {
    /// Why.
    pub failure: Failure,
    /// The record's payload, for the dead letter.
    pub payload: Bytes,
}

/// Where an item was read, and the ticket that acknowledges it.
#[derive(Debug)]
pub struct Origin {
    /// Resolved after every record about the item is acknowledged.
    pub ticket: Ticket,
    /// The headers of the record, copied to the item's flag or dead letter.
    pub headers: Vec<Header>,
    /// The hash of the record's key, if it has one. Items with equal keys share a pool.
    pub key: Option<u64>,
    /// The timestamp of the record, in milliseconds since 1970, if it has one.
    pub timestamp: Option<i64>,
    /// When the record was read.
    pub received: Instant,
}

/// A header of a Kafka record.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The key.
    pub key: String,
    /// The value, if any.
    pub value: Option<Vec<u8>>,
}

/// A reference with its origin. Inline bytes are dropped when the image is decoded.
#[derive(Debug)]
pub struct Item {
    /// The reference.
    pub reference: Reference,
    /// Where it was read.
    pub origin: Origin,
    /// What is known of the image file.
    pub file: ImageFile,
}

/// What is known of the image file of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFile {
    /// Frames in the file, as far as it is known. 1 for a still image.
    pub frames: u32,
    /// The number, from 0, of the frame whose verdict decided. 0 before the verdict.
    pub frame: u32,
    /// Whether the file ends early, so that pixels or frames are missing.
    pub incomplete: bool,
}

impl Default for ImageFile {
    /// A complete still image.
    fn default() -> Self {
        Self { frames: 1, frame: 0, incomplete: false }
    }
}

impl Item {
    /// An item that was not decoded yet.
    pub fn new(reference: Reference, origin: Origin) -> Self {
        Self { reference, origin, file: ImageFile::default() }
    }

    /// Drops inline bytes. Whoever decodes the image has them.
    pub fn drop_inline(&mut self) {
        if let Location::Inline(bytes) = &mut self.reference.location {
            *bytes = Bytes::new();
        }
    }
}

/// A picture that is decoded and preprocessed.
#[derive(Debug)]
pub struct DecodedPicture {
    /// The pixels, in the size, the channels and the layout of the bundle's input.
    pub image: Vec<u8>,
    /// The picture.
    pub picture: Picture,
    /// What the screen says about the picture. Without a screen in use, the picture passes without a
    /// risk.
    pub screened: Screened,
}

/// An item whose processing has ended.
#[derive(Debug)]
pub enum FinishedItem {
    /// The engine gave its verdict.
    Verdict(ItemVerdict<Item>),
    /// The item did not reach the engine.
    DeadLetter {
        /// Where it was read.
        origin: Origin,
        /// The reference, if the record is one.
        reference: Option<Reference>,
        /// The record's payload, if it is not a reference.
        payload: Bytes,
        /// Why the item was not scored.
        failure: Failure,
    },
}

impl FinishedItem {
    /// Where the item was read.
    pub fn origin(&self) -> &Origin {
        match self {
            FinishedItem::Verdict(verdict) => &verdict.payload.origin,
            FinishedItem::DeadLetter { origin, .. } => origin,
        }
    }
}
