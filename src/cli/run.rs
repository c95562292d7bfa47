//! `dorfman run`: the worker.

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use super::signals::Listener;
use super::{CliError, ConfigArgs};
use crate::ops::logging;
use crate::worker::{self, Model};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &RunArgs) -> Result<(), CliError> {
    let config = args.config.load()?;
    logging::init(&config.logging)
        .map_err(|e| CliError::Usage(format!("configuration: `logging.level`: {e}")))?;
    raise_open_files();
    let signals = Listener::start()?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        config = args.config.config.display().to_string(),
        "dorfman starts"
    );
    for line in config.redacted().lines() {
        info!(target: "dorfman::config", "{line}");
    }
    config.warnings().iter().for_each(|warning| warn!("{warning}"));
    let running = worker::start(&config, Model::open(&config)?)?;
    signals.act_on(&running);
    let report = running.wait()?;
    let (stats, screen) = (&report.stats, &report.screen);
    let network_seconds = stats.network_seconds() + screen.stage.seconds;
    info!(
        screen_cleared = screen.exit.cleared,
        engine_items = stats.items,
        tests = stats.tests(),
        network_seconds,
        "dorfman stopped"
    );
    Ok(())
}

/// Lets the process open as many files as its hard limit allows. Connections to image servers and
/// brokers count as open files, and the usual soft limit is 1,024.
fn raise_open_files() {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limits.maximum, ..limits };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, soft_limit = ?limits.current, "the limit of open files was not raised");
    }
}
