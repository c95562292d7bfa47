//! Which offset may be committed: the end of the flow, and the beginning of the next run.
//!
//! In: items taken, items resolved. Out: the lowest offset not yet resolved, per (partition, epoch).
//! An item that was dropped unresolved is never acknowledged: its partition's watermark stays below it for good.

mod ticket;
mod watermark;

pub use ticket::{Ticket, Tracker};
pub use watermark::Watermark;
