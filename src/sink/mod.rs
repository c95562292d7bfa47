//! Publishes the records of finished items: flags, verdicts and dead letters.
//!
//! A ticket is resolved only after the broker has acknowledged every record of its item. A record
//! that cannot be delivered stops the worker; its item is not acknowledged.

mod delivery;
pub mod kafka;
pub mod message;
