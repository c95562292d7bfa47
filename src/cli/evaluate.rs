//! `dorfman evaluate`: measures what a bundle finds and costs on labelled images.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dorfman_core::policy::MAX_GROUP;
use dorfman_lab::evaluate::{ConfirmChoice, EvaluateReport, EvaluateRequest, PlanChoice, evaluate};

use super::progress::ProgressBars;
use super::{CliError, configuration, writable};
use crate::config::Config;
use crate::config::exits::ExitMode;
use crate::config::group::GroupSize;
use crate::config::retest::PolicyKind;
use crate::ops::logging;

/// Whether the confirm network is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Confirm {
    /// If the bundle has one.
    Yes,
    /// Never.
    No,
    /// One row with it and one row without it.
    Both,
}

impl From<Confirm> for ConfirmChoice {
    fn from(confirm: Confirm) -> Self {
        match confirm {
            Confirm::Yes => Self::Yes,
            Confirm::No => Self::No,
            Confirm::Both => Self::Both,
        }
    }
}

/// Which plans are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlanArg {
    /// The plan that the planner picks for each prevalence, and beside it the best plans without
    /// exits, without pooling, and with a single exit.
    Best,
    /// The given policies, group sizes and sensitivities, without exits.
    Configured,
}

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct EvaluateArgs {
    /// The folder of a bundle. Repeat the option to compare several bundles.
    #[arg(long, value_name = "DIR", required = true)]
    bundle: Vec<PathBuf>,
    /// The labelled images: a folder with one subfolder per class, a .zip of CLASS/name entries, or
    /// a CSV file whose header has the columns `path` (relative to the file) and `class`, and
    /// optionally `source`.
    #[arg(long, value_name = "FOLDER|ZIP|LIST")]
    data: PathBuf,
    /// The classes to be found. All other classes are negative. Separate several classes by commas,
    /// or repeat the option.
    #[arg(long, value_name = "CLASS", value_delimiter = ',', required = true)]
    positive: Vec<String>,
    /// Shares of positives in the streams to estimate, between 0 and 1.
    #[arg(long, value_name = "P", value_delimiter = ',', required = true)]
    prevalence: Vec<f64>,
    /// Which plans to measure [default: best, or configured if an option names a policy, a chain,
    /// a group size or a pooled sensitivity].
    #[arg(long, value_enum, value_name = "WHICH")]
    plan: Option<PlanArg>,
    /// The share of all positives that exits and pooling together may miss in addition to
    /// individual testing, for `--plan best` [default: the configured planning.recall_loss].
    #[arg(long, value_name = "SHARE")]
    recall_loss: Option<f64>,
    /// Policies, for `--plan configured` [default: multi-round]. Individual testing is always
    /// measured in addition.
    #[arg(long, value_enum, value_delimiter = ',')]
    policy: Vec<PolicyKind>,
    /// Falling sizes of the tests after the first, for multi-round and planned [default: the
    /// configured retest.chain].
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    chain: Option<Vec<usize>>,
    /// What finding a positive is worth to planned, in individual tests [default: the configured
    /// retest.worth].
    #[arg(long, value_name = "TESTS")]
    worth: Option<f64>,
    /// Group sizes [default: the configured one, or the largest calibrated size if that is
    /// smaller].
    #[arg(long, value_name = "M", value_delimiter = ',')]
    group_size: Vec<usize>,
    /// Shares of positive groups that pooled tests must find, by the calibration [default: the
    /// configured one].
    #[arg(long, value_name = "S", value_delimiter = ',')]
    pooled_sensitivity: Vec<f64>,
    /// Shares of positives that individual tests must find [default: the configured one].
    #[arg(long, value_name = "S", value_delimiter = ',')]
    individual_sensitivity: Vec<f64>,
    /// Whether a bundle's confirm network decides what grouped testing flags. Individual testing
    /// does not use it.
    #[arg(long, value_enum, value_name = "WHEN", default_value = "yes")]
    confirm: Confirm,
    /// Shares of positives that the confirm network must find [default: the configured one].
    #[arg(long, value_name = "S", value_delimiter = ',')]
    confirm_sensitivity: Vec<f64>,
    /// Run a plain random stream of N images at each prevalence, instead of strata. It is less
    /// exact for rare positives, but no result is weighted.
    #[arg(long, value_name = "N")]
    stream: Option<usize>,
    /// Use at most N negatives. The seed decides which.
    #[arg(long, value_name = "N")]
    limit_negatives: Option<usize>,
    /// Images of a stratum, at most.
    #[arg(long, value_name = "N", default_value_t = 32_768)]
    cap: usize,
    /// Repeat the runs until grouped and individual testing both have this many seconds in the
    /// network.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    repeat: f64,
    /// The seed of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print false positives by class of negative, and recall by positive class and by source, as
    /// further tables.
    #[arg(long)]
    by_class: bool,
    /// Write the report as JSON into a file. `-`: to standard output, instead of the tables.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a picture of recall against network seconds.
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    /// A configuration file. Its sections decode, group, retest, engine and model are used.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const HELP: &str = "\
Every image is decoded once and kept in memory, one byte per value: 150 kB at 224 x 224 in \
colour, so 10,000 images take 1.5 GB.

Rare positives would need millions of images. A stream is therefore estimated by two strata: \
groups without a positive, and groups with at least one positive, whose number follows from the \
prevalence. Each stratum runs through the worker's engine. The results are weighted by the \
shares of the strata in the stream. Individual testing of the same network runs in turns with \
the strata, and seconds are given relative to it, so that other work on the machine affects both \
alike. Intervals are Wilson's at 95 %.

Examples:
  dorfman evaluate --bundle models/fashion-bag --data labelled/ --positive bag --prevalence 0.01
  dorfman evaluate --bundle a --bundle b --data photos.csv --positive weapon \\
    --prevalence 0.001 --group-size 4,8,16 \\
      --policy two-round,multi-round --chain 4 --json report.json --picture recall.svg";

pub(super) fn run(args: &EvaluateArgs) -> Result<(), CliError> {
    let config = args.config()?;
    args.check(&config)?;
    logging::init(&config.logging).map_err(|e| CliError::Usage(e.to_string()))?;
    let report = evaluate(&args.request(&config), &ProgressBars::default())?;
    args.write(&report)
}

impl EvaluateArgs {
    /// The configuration with the arguments that replace its keys.
    fn config(&self) -> Result<Config, CliError> {
        let mut config =
            configuration(self.config.as_deref(), "logging: {level: 'warn,ort=error'}")?;
        if let Some(chain) = &self.chain {
            config.retest.chain.clone_from(chain);
        }
        if let Some(worth) = self.worth {
            config.retest.worth = worth;
        }
        if let Some(loss) = self.recall_loss {
            config.planning.recall_loss = loss;
        }
        config.validate()?;
        Ok(config)
    }

    /// Checks the arguments.
    ///
    /// # Errors
    /// [`CliError::Usage`], which names the argument.
    fn check(&self, config: &Config) -> Result<(), CliError> {
        shares("--prevalence", &self.prevalence)?;
        shares("--pooled-sensitivity", &self.pooled_sensitivity)?;
        shares("--individual-sensitivity", &self.individual_sensitivity)?;
        shares("--confirm-sensitivity", &self.confirm_sensitivity)?;
        let most = MAX_GROUP.min(config.engine.slots);
        if let Some(size) = self.group_size.iter().find(|size| !(1..=most).contains(*size)) {
            let what = format!("--group-size is {size}, must be 1 to {most}");
            return Err(CliError::Usage(what));
        }
        if self.stream == Some(0) || self.cap == 0 || self.limit_negatives == Some(0) {
            let what = "--stream, --cap and --limit-negatives must be at least 1";
            return Err(CliError::Usage(what.into()));
        }
        if !(0.0..=3600.0).contains(&self.repeat) {
            let what = format!("--repeat is {}, must be 0 to 3600 seconds", self.repeat);
            return Err(CliError::Usage(what));
        }
        writable("--json", self.json.as_deref())?;
        writable("--picture", self.picture.as_deref())
    }

    fn request(&self, config: &Config) -> EvaluateRequest {
        let retest = &config.retest;
        let or = |given: &[f64], default| {
            if given.is_empty() { vec![default] } else { unique(given) }
        };
        let given = match &self.policy[..] {
            [] => &[PolicyKind::MultiRound],
            given => given,
        };
        let mut policies: Vec<PolicyKind> = Vec::new();
        for &policy in given {
            if !policies.contains(&policy) {
                policies.push(policy);
            }
        }
        EvaluateRequest {
            bundles: self.bundle.clone(),
            data: self.data.clone(),
            positive: self.positive.clone(),
            prevalences: self.prevalence.clone(),
            plans: self.plans(),
            constraints: config.constraints(),
            exits: config.exits.mode != ExitMode::None,
            policies: policies.into_iter().map(Into::into).collect(),
            chain: retest.chain.clone(),
            worth: retest.worth,
            prior: retest.prior,
            group_sizes: self.group_size.clone(),
            default_group_size: match config.group.size {
                GroupSize::Auto => None,
                GroupSize::Fixed(size) => Some(size),
            },
            pooled_sensitivities: or(&self.pooled_sensitivity, retest.pooled_sensitivity),
            individual_sensitivities: or(
                &self.individual_sensitivity,
                retest.individual_sensitivity,
            ),
            confirm_sensitivities: or(&self.confirm_sensitivity, retest.confirm_sensitivity),
            confirm: self.confirm.into(),
            stream: self.stream,
            limit_negatives: self.limit_negatives,
            cap: self.cap,
            repeat: self.repeat,
            seed: self.seed,
            batching: config.engine.batching(),
            max_wait: config.group.max_wait,
            load: config.load_options(),
            decode_threads: config.decode.threads,
            max_pixels: config.decode.max_pixels,
        }
    }

    /// The plans that the arguments ask for.
    fn plans(&self) -> PlanChoice {
        let named = !self.policy.is_empty()
            || self.chain.is_some()
            || self.worth.is_some()
            || !self.group_size.is_empty()
            || !self.pooled_sensitivity.is_empty()
            || self.stream.is_some();
        match self.plan {
            Some(PlanArg::Best) => PlanChoice::Best,
            Some(PlanArg::Configured) => PlanChoice::Configured,
            None if named => PlanChoice::Configured,
            None => PlanChoice::Best,
        }
    }

    fn write(&self, report: &EvaluateReport) -> Result<(), CliError> {
        if let Some(path) = &self.picture {
            std::fs::write(path, report.picture()?)?;
        }
        match &self.json {
            Some(path) if path.as_os_str() == "-" => {
                println!("{}", serde_json::to_string_pretty(report)?);
                return Ok(());
            }
            Some(path) => std::fs::write(path, serde_json::to_vec_pretty(report)?)?,
            None => {}
        }
        println!("{}", report.table(self.by_class));
        Ok(())
    }
}

fn shares(argument: &str, values: &[f64]) -> Result<(), CliError> {
    match values.iter().find(|&&v| !(v > 0.0 && v < 1.0)) {
        Some(value) => {
            Err(CliError::Usage(format!("{argument} is {value}, must be between 0 and 1")))
        }
        None => Ok(()),
    }
}

fn unique(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}
