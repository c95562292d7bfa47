//! Publishes the records of finished items: flags, verdicts and dead letters.
//!
//! A ticket is resolved only after the broker has acknowledged every record of its item. A record
//! that the broker refuses is sent without the sender's fields, and then becomes a dead letter. Any
//! other failure to deliver stops the worker; the item is not acknowledged.

mod delivery;
pub mod kafka;
pub mod message;
mod producer;
pub mod records;
mod renewal;
pub(crate) mod topics;
