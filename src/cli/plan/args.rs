//! What is asked for.

use std::path::PathBuf;

use clap::Args;

use super::super::{CliError, configuration, writable};
use crate::config::Config;
use crate::planner::Wanted;
use crate::retest::MAX_GROUP;

/// Arguments of `plan`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(in crate::cli) struct PlanArgs {
    /// The bundle.
    #[arg(long, value_name = "DIR")]
    pub(super) bundle: PathBuf,
    /// Shares of positives to plan for, between 0 and 1.
    #[arg(long, value_name = "P", value_delimiter = ',', default_value = "0.0001,0.001,0.01,0.05,0.2")]
    pub(super) prevalence: Vec<f64>,
    /// Share of all positives that pooling may miss beyond what individual testing misses [default: planning.recall_loss, 0.005].
    #[arg(long, value_name = "SHARE")]
    recall_loss: Option<f64>,
    /// Share of positives that individual tests must find, by the calibration [default: retest.individual_sensitivity, 0.99].
    #[arg(long, value_name = "S")]
    individual_sensitivity: Option<f64>,
    /// Images of a group at most [default: planning.largest, 32].
    #[arg(long, value_name = "M")]
    largest: Option<usize>,
    /// Rounds at most: each waits for the one before [default: planning.rounds, 4].
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Plan by the seconds of a profile, as `dorfman profile` writes it, instead of multiply-adds.
    #[arg(long, value_name = "FILE")]
    pub(super) profile: Option<PathBuf>,
    /// Everything as JSON on standard output, instead of the tables.
    #[arg(long)]
    pub(super) json: bool,
    /// Cost against prevalence, and against the group size, as a picture.
    #[arg(long, value_name = "FILE.svg")]
    pub(super) picture: Option<PathBuf>,
    /// A configuration file, for its planning section, and to compare its group and retest sections.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const HELP: &str = "\
For each prevalence: the group size, the sizes of the retests and the sensitivity of each size with the least expected cost, such that \
grouped testing finds at most --recall-loss less than individual testing. Group sizes and sensitivities are those that the bundle was \
calibrated for. Individual testing is one of the plans, and the answer where pooling does not pay.

Expectations follow from the calibration, without simulating; docs/planning.md says how, and how far they were from what was measured.

Examples:
  dorfman plan --bundle models/fashion-bag
  dorfman plan --bundle models/fashion-bag --prevalence 0.001 --recall-loss 0.002 --picture plan.svg
  dorfman plan --bundle models/fashion-bag --config dorfman.yaml --prevalence 0.003 --json";

/// A valid request.
#[derive(Debug)]
pub(super) struct Request {
    /// What it is compared with.
    pub(super) config: Config,
    /// What plans must keep to.
    pub(super) wanted: Wanted,
}

impl Request {
    /// Checks the arguments.
    ///
    /// # Errors
    /// [`CliError::Usage`], which names the argument.
    pub(super) fn new(args: &PlanArgs) -> Result<Self, CliError> {
        let config = configuration(args.config.as_deref(), "{}")?;
        writable("--picture", args.picture.as_deref())?;
        let usage = |what: String| Err(CliError::Usage(what));
        if let Some(p) = args.prevalence.iter().find(|&&p| !(p > 0.0 && p < 1.0)) {
            return usage(format!("--prevalence is {p}, must be between 0 and 1"));
        }
        let standard = config.wanted();
        let recall_loss = args.recall_loss.unwrap_or(standard.recall_loss);
        let (largest, rounds) = (args.largest.unwrap_or(standard.largest), args.rounds.unwrap_or(standard.rounds));
        if !(0.0..1.0).contains(&recall_loss) {
            return usage(format!("--recall-loss is {recall_loss}, must be 0 or more and below 1, such as 0.005"));
        }
        let individual_sensitivity = args.individual_sensitivity.unwrap_or(standard.individual_sensitivity);
        if !(individual_sensitivity > 0.0 && individual_sensitivity < 1.0) {
            return usage(format!("--individual-sensitivity is {individual_sensitivity}, must be between 0 and 1"));
        }
        if !(1..=MAX_GROUP).contains(&largest) {
            return usage(format!("--largest is {largest}, must be 1 to {MAX_GROUP}"));
        }
        if !(1..=8).contains(&rounds) {
            return usage(format!("--rounds is {rounds}, must be 1 to 8"));
        }
        Ok(Self { config, wanted: Wanted { individual_sensitivity, recall_loss, largest, rounds } })
    }
}
