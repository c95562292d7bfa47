//! Which offset of a partition may be committed.
//!
//! The source takes a ticket for each offset it reads; the sink resolves the ticket. The watermark
//! of a (partition, epoch) is the end of the resolved prefix of its offsets. An item that is
//! dropped unresolved is never acknowledged: the watermark stays below its offset.

mod ticket;
mod watermark;

pub use ticket::{Ticket, Tracker};
pub use watermark::Watermark;
