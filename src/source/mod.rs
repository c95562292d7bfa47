//! Reads items: from a topic ([`kafka`]) or from files ([`files`]).
//!
//! The output is batches of [`crate::item::ReceivedItem`], each with the ticket that acknowledges
//! it. The consumer is polled as long as the worker lives. Offsets are committed only up
//! to the watermark.

mod assignment;
mod caution;
mod clock;
pub mod embedded;
pub mod files;
mod history;
pub mod kafka;
mod member;
mod queues;
mod reader;
mod rebalance;
