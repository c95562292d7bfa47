//! What an operator sees and says: health, metrics, logs, signals.
//!
//! In: what the stages count, and the wish to stop. Out: /healthz, /readyz, /metrics and log lines. Nothing here decides about an item.

mod health;
pub mod logging;
pub mod metrics;
pub mod server;
mod signals;

pub use health::Health;
pub use signals::Signals;
