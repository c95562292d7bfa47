//! `dorfman check`: is this configuration right?

use clap::Args;

use super::{CliError, ConfigArgs};
use crate::fetch::Fetcher;
use crate::model::Bundle;
use crate::worker::Model;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Open the bundle too, load it into ONNX Runtime on the configured provider, and look for the folders of `fetch.roots`.
    #[arg(long)]
    model: bool,
    /// Only the verdict, not the configuration.
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), CliError> {
    let config = args.config.load()?;
    if args.model {
        let bundle = Bundle::open(&config.model.bundle).map_err(|e| CliError::Usage(e.to_string()))?;
        Model::open(&config)?;
        Fetcher::new(&config.fetch).map_err(|e| CliError::Usage(e.to_string()))?;
        eprintln!("bundle {} {}: ok", bundle.manifest.name, bundle.manifest.version);
    }
    if !args.quiet {
        print!("{}", config.redacted());
    }
    eprintln!("{}: ok (plan: {})", args.config.config.display(), config.plan_in_words()?);
    Ok(())
}
