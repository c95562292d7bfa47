//! `dorfman check`: validates a configuration.

use clap::Args;
use dorfman_model::{Bundle, Profile};

use super::{CliError, ConfigArgs};
use crate::config::Config;
use crate::fetch::Fetcher;
use crate::sink::topics;
use crate::stages::plans::{self, ExpectedPlan};
use crate::worker::Model;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also load the bundle into ONNX Runtime on the configured provider, use its profile of this
    /// device to choose the plan, and check that the folders of `fetch.roots` exist.
    #[arg(long)]
    model: bool,
    /// Also connect to the brokers, and check that every topic exists and how large its records may
    /// be.
    #[arg(long)]
    connect: bool,
    /// Do not print the configuration.
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), CliError> {
    let config = args.config.load()?;
    let mut profile = None;
    if args.model {
        let bundle =
            Bundle::open(&config.model.bundle).map_err(|e| CliError::Usage(e.to_string()))?;
        profile = Model::open(&config)?.profile;
        Fetcher::new(&config.fetch).map_err(|e| CliError::Usage(e.to_string()))?;
        eprintln!("bundle {} {}: ok", bundle.manifest.name, bundle.manifest.version);
    }
    if args.connect {
        connect(&config)?;
    }
    if !args.quiet {
        print!("{}", config.redacted());
    }
    config.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
    eprintln!("{}: ok", args.config.config.display());
    eprintln!("plan: {}", plan(&config, profile.as_ref())?);
    if !args.model && config.model.bundle.join("profiles").is_dir() {
        eprintln!(
            "note: this plan and its cost are by multiply-adds; a worker on a device with a profile \
             plans by seconds, as `--model` does"
        );
    }
    Ok(())
}

/// Connects as the worker would, and prints what the brokers say about the topics.
fn connect(config: &Config) -> Result<(), CliError> {
    let found = topics::check(config).map_err(CliError::Usage)?;
    found.iter().for_each(|line| eprintln!("{line}"));
    Ok(())
}

/// The plan that a worker with this configuration starts with, and what it should cost. Without the
/// bundle only the configured plan is known.
fn plan(config: &Config, profile: Option<&Profile>) -> Result<String, CliError> {
    let bundle = match Bundle::open(&config.model.bundle) {
        Ok(bundle) => bundle,
        Err(error) => {
            return Ok(format!("{} (its cost is unknown: {error})", config.describe_plan()?));
        }
    };
    let ExpectedPlan { plan, expected, unit } =
        plans::expected(config, &bundle, profile).map_err(|e| CliError::Usage(e.to_string()))?;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let Some((cost, recall)) = expected else {
        return Ok(format!("{plan} (the calibration of the bundle does not give its cost)"));
    };
    Ok(format!(
        "{plan}; it should take {} of the {unit} of individual testing and find {} of the \
         positives, if {} of the images are positive",
        percent(cost),
        percent(recall),
        percent(config.planning.prevalence)
    ))
}
