//! The log: lines on standard error, as text or JSON.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::logging::{LogFormat, LoggingConfig};

/// Starts logging for the process. A second call has no effect.
///
/// # Errors
/// If `level` is not a list of tracing directives.
pub fn init(config: &LoggingConfig) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&config.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that a subscriber is already set, by a test or a host program.
    let _ = match config.format {
        LogFormat::Text => {
            builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    Ok(())
}
