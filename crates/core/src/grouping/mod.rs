//! Which items share a group (pure; the caller supplies the time).
//!
//! [`PoolRule`] assigns each item to a pool by its risk and its message key. [`Pools`] collects the
//! items of each pool into groups of at most the pool's size. No member waits longer than
//! `max_wait` for the rest of its group.

mod grouper;
mod pool_rule;
mod pools;

pub use grouper::Grouper;
pub use pool_rule::{PoolRule, key_hash};
pub use pools::Pools;
