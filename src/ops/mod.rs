//! Health, metrics, logs and signals: what the operator of a worker observes and controls.
//!
//! This module makes no decision about an item.

mod health;
pub mod logging;
pub mod metrics;
pub mod server;
mod services;
mod signals;

pub use health::Health;
pub use services::Services;
pub use signals::Signals;
