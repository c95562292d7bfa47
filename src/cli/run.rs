//! `dorfman run`: the worker.

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::{CliError, ConfigArgs};
use crate::config::Config;
use crate::ops::logging;
use crate::worker::{self, Model, Running};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &RunArgs) -> Result<(), CliError> {
    let config = args.config.load()?;
    logging::init(&config.logging).map_err(|e| CliError::Usage(format!("configuration: `logging.level`: {e}")))?;
    info!(version = env!("CARGO_PKG_VERSION"), config = args.config.config.display().to_string(), "dorfman starts");
    for line in config.redacted().lines() {
        info!(target: "dorfman::config", "{line}");
    }
    let report = start(&config)?.wait()?;
    let (items, tests, seconds) = (report.stats.items, report.stats.tests(), report.stats.network_seconds());
    info!(items, tests, network_seconds = seconds, "dorfman stopped");
    Ok(())
}

fn start(config: &Config) -> Result<Running, CliError> {
    let running = worker::start(config, Model::open(config)?)?;
    let (stop, abort) = (running.stopper(), running.aborter());
    let (mut term, mut int) = {
        let handle = running.handle();
        let _inside = handle.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    running.handle().spawn(async move {
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        };
        warn!(signal = name, "stopping: finishing what was taken; a second signal stops at once");
        stop();
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        warn!("stopping at once; items without a verdict will be read again");
        abort();
    });
    Ok(running)
}
