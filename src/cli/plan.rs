//! `dorfman plan`: the cheapest plan for a prevalence, with its expected cost and recall.

use std::path::PathBuf;

use clap::Args;
use dorfman_core::planner::PlanConstraints;
use dorfman_core::policy::MAX_GROUP;
use dorfman_lab::plan::{ConfiguredPlan, PlanReport};
use dorfman_model::{Bundle, Profile};

use super::{CliError, configuration, writable};
use crate::config::Config;
use crate::config::exits::ExitMode;

/// Arguments of `plan`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct PlanArgs {
    /// The folder of the bundle.
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// Shares of positives to plan for, between 0 and 1.
    #[arg(
        long,
        value_name = "P",
        value_delimiter = ',',
        default_value = "0.0001,0.001,0.01,0.05,0.2"
    )]
    prevalence: Vec<f64>,
    /// Share of all positives that exits and pooling together may miss in addition to individual
    /// testing [default: planning.recall_loss, 0.01].
    #[arg(long, value_name = "SHARE")]
    recall_loss: Option<f64>,
    /// Share of positives that individual tests must find, by the calibration [default:
    /// retest.individual_sensitivity, 0.99].
    #[arg(long, value_name = "S")]
    individual_sensitivity: Option<f64>,
    /// Images per group, at most [default: planning.largest, 32].
    #[arg(long, value_name = "M")]
    largest: Option<usize>,
    /// Rounds, at most. Each round waits for the one before [default: planning.rounds, 4].
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Plan by the seconds of a profile, as `dorfman profile` writes it, instead of multiply-adds.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Print the report as JSON instead of the tables.
    #[arg(long)]
    json: bool,
    /// Write a picture of cost against prevalence, and of cost against the group size.
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    /// A configuration file. Its section planning is used, and the plan of its sections group and
    /// retest is compared.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const HELP: &str = "\
For each prevalence, the report has the group size, the sizes of the retests and the sensitivity \
of each size that have the least expected cost. Grouped testing then finds at most --recall-loss \
less than individual testing. Only group sizes and sensitivities for which the bundle is \
calibrated are used. Individual testing is one of the plans, and the cheapest one where pooling \
does not pay.

Expectations follow from the calibration, without simulation. docs/planning.md describes the \
model and compares it with measurements.

Examples:
  dorfman plan --bundle models/fashion-bag
  dorfman plan --bundle models/fashion-bag --prevalence 0.001 --recall-loss 0.002 --picture plan.svg
  dorfman plan --bundle models/fashion-bag --config dorfman.yaml --prevalence 0.003 --json";

pub(super) fn run(args: &PlanArgs) -> Result<(), CliError> {
    let config = configuration(args.config.as_deref(), "{}")?;
    let constraints = args.constraints(&config)?;
    let usage = |e: &dyn std::fmt::Display| CliError::Usage(e.to_string());
    let bundle = Bundle::open(&args.bundle).map_err(|e| usage(&e))?;
    let profile = args.profile.as_deref().map(|file| Profile::of(&bundle, file));
    let profile = profile.transpose().map_err(|e| usage(&e))?;
    let configured = configured(&config);
    let report = PlanReport::new(
        &bundle,
        constraints,
        &args.prevalence,
        profile.as_ref(),
        configured.as_ref(),
        config.exits.mode != ExitMode::None,
    )?;
    if let Some(file) = &args.picture {
        let failed = |e| CliError::Failed(format!("{}: {e}", file.display()));
        std::fs::write(file, report.picture()?).map_err(failed)?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", report.table());
    }
    Ok(())
}

/// The configured plan with its sensitivities. `None` if the worker chooses the plan.
pub(super) fn configured(config: &Config) -> Option<ConfiguredPlan> {
    Some(ConfiguredPlan {
        spec: config.plan_spec()?,
        pooled_sensitivity: config.retest.pooled_sensitivity,
        individual_sensitivity: config.retest.individual_sensitivity,
    })
}

impl PlanArgs {
    /// The constraints on plans: those of the configuration, with the arguments that replace them.
    ///
    /// # Errors
    /// [`CliError::Usage`], which names the argument.
    fn constraints(&self, config: &Config) -> Result<PlanConstraints, CliError> {
        writable("--picture", self.picture.as_deref())?;
        let usage = |what: String| Err(CliError::Usage(what));
        if let Some(p) = self.prevalence.iter().find(|&&p| !(p > 0.0 && p < 1.0)) {
            return usage(format!("--prevalence is {p}, must be between 0 and 1"));
        }
        let default = config.constraints();
        let constraints = PlanConstraints {
            individual_sensitivity: self
                .individual_sensitivity
                .unwrap_or(default.individual_sensitivity),
            recall_loss: self.recall_loss.unwrap_or(default.recall_loss),
            recall_price: default.recall_price,
            largest: self.largest.unwrap_or(default.largest),
            rounds: self.rounds.unwrap_or(default.rounds),
        };
        let PlanConstraints { individual_sensitivity, recall_loss, largest, rounds, .. } =
            constraints;
        if !(0.0..1.0).contains(&recall_loss) {
            return usage(format!(
                "--recall-loss is {recall_loss}, must be 0 or more and below 1, such as 0.01"
            ));
        }
        if !(individual_sensitivity > 0.0 && individual_sensitivity < 1.0) {
            return usage(format!(
                "--individual-sensitivity is {individual_sensitivity}, must be between 0 and 1"
            ));
        }
        if !(1..=MAX_GROUP).contains(&largest) {
            return usage(format!("--largest is {largest}, must be 1 to {MAX_GROUP}"));
        }
        if !(1..=8).contains(&rounds) {
            return usage(format!("--rounds is {rounds}, must be 1 to 8"));
        }
        Ok(constraints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::group::GroupSize;

    #[test]
    fn with_an_automatic_group_size_no_plan_is_configured() {
        let mut config = Config::default();
        config.group.size = GroupSize::Fixed(16);
        let plan = configured(&config).unwrap();
        assert_eq!(plan.spec.describe().unwrap(), "16 > 4 > 1");
        config.group.size = GroupSize::Auto;
        assert!(configured(&config).is_none());
    }
}
