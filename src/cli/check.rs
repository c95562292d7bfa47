//! `dorfman check`: validates a configuration.

use clap::Args;
use dorfman_model::Bundle;

use super::{CliError, ConfigArgs};
use crate::fetch::Fetcher;
use crate::worker::Model;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also load the bundle into ONNX Runtime on the configured provider, and check that the
    /// folders of `fetch.roots` exist.
    #[arg(long)]
    model: bool,
    /// Do not print the configuration.
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), CliError> {
    let config = args.config.load()?;
    if args.model {
        let bundle =
            Bundle::open(&config.model.bundle).map_err(|e| CliError::Usage(e.to_string()))?;
        Model::open(&config)?;
        Fetcher::new(&config.fetch).map_err(|e| CliError::Usage(e.to_string()))?;
        eprintln!("bundle {} {}: ok", bundle.manifest.name, bundle.manifest.version);
    }
    if !args.quiet {
        print!("{}", config.redacted());
    }
    eprintln!("{}: ok (plan: {})", args.config.config.display(), config.describe_plan()?);
    Ok(())
}
