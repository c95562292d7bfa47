//! Which items share a group (pure: the caller brings the clock).
//!
//! In: items one by one, each with the pool that its risk and its message key put it in ([`Sorting`]). Out: groups of one pool, of at most
//! its size, none of whose members waited longer than `max_wait` for company ([`Pools`]). An item is never held back without a deadline.

mod grouper;
mod pools;
mod sorting;

pub use grouper::Grouper;
pub use pools::Pools;
pub use sorting::{Sorting, key_hash};
