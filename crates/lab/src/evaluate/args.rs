//! What is asked for: arguments over a configuration, checked before anything is opened.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::{CliError, configuration, writable};
use crate::config::Config;
use crate::config::retest::PolicyKind;
use crate::model::Bundle;
use crate::retest::MAX_GROUP;

/// Whether the confirm network is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Confirm {
    /// Where the bundle has one.
    Yes,
    /// Never.
    No,
    /// A row with it and one without.
    Both,
}

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(in crate::cli) struct EvaluateArgs {
    /// A bundle; repeat it to set several against each other.
    #[arg(long, value_name = "DIR", required = true)]
    bundle: Vec<PathBuf>,
    /// Labelled images: a folder with a class a subfolder, a .zip of CLASS/name entries, or a CSV file whose header has the columns `path`
    /// (relative to the file) and `class`, and perhaps `source`.
    #[arg(long, value_name = "FOLDER|ZIP|LIST")]
    pub(super) data: PathBuf,
    /// The classes to be found; all others are negative. Several by comma or repeated.
    #[arg(long, value_name = "CLASS", value_delimiter = ',', required = true)]
    pub(super) positive: Vec<String>,
    /// Shares of positives in the streams to estimate, between 0 and 1.
    #[arg(long, value_name = "P", value_delimiter = ',', required = true)]
    pub(super) prevalence: Vec<f64>,
    /// Policies; individual testing is always measured beside them.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "multi-round")]
    policy: Vec<PolicyKind>,
    /// Sizes of the tests after the first for multi-round, falling [default: the configured retest.chain].
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    chain: Option<Vec<usize>>,
    /// What finding a positive is worth in individual tests, for planned [default: the configured retest.worth].
    #[arg(long, value_name = "TESTS")]
    worth: Option<f64>,
    /// Group sizes [default: the configured one, or the largest below it that the bundle is calibrated for].
    #[arg(long, value_name = "M", value_delimiter = ',')]
    pub(super) group_size: Vec<usize>,
    /// Shares of positive groups that pooled tests must find, by the calibration [default: the configured one].
    #[arg(long, value_name = "S", value_delimiter = ',')]
    pooled_sensitivity: Vec<f64>,
    /// Shares of positives that individual tests must find [default: the configured one].
    #[arg(long, value_name = "S", value_delimiter = ',')]
    individual_sensitivity: Vec<f64>,
    /// Whether a bundle's confirm network has the last word on what is flagged. Individual testing beside it is without.
    #[arg(long, value_enum, value_name = "WHEN", default_value = "yes")]
    confirm: Confirm,
    /// Shares of positives that the confirm network must find [default: the configured one].
    #[arg(long, value_name = "S", value_delimiter = ',')]
    confirm_sensitivity: Vec<f64>,
    /// Instead of strata, a plain random stream of so many images at each prevalence: slow to tell of rare positives, but a check.
    #[arg(long, value_name = "N")]
    pub(super) stream: Option<usize>,
    /// Take so many negatives at most, drawn by the seed.
    #[arg(long, value_name = "N")]
    pub(super) limit_negatives: Option<usize>,
    /// Images of a stratum at most.
    #[arg(long, value_name = "N", default_value_t = 32_768)]
    pub(super) cap: usize,
    /// Repeat passes until each timing rests on so many seconds in the network, grouped and individual alike.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub(super) repeat: f64,
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// False positives by class of negative, and recall by positive class and by source, as further tables.
    #[arg(long)]
    pub(super) by_class: bool,
    /// Everything as JSON into a file; `-`: on standard output, instead of the tables.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Recall against network seconds as a picture.
    #[arg(long, value_name = "FILE.svg")]
    pub(super) picture: Option<PathBuf>,
    /// A configuration file; its sections decode, group, retest, engine and model count here.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const HELP: &str = "\
Every image is decoded once and kept in memory, a byte a value: 150 kB at 224 x 224 in colour, so 10,000 images take 1.5 GB.

Rare positives would need millions of images, so a stream is estimated by strata: groups without a positive, and groups with at least one \
(their number drawn as the prevalence says), each run through the worker's engine and weighted by how often the stream has them. Individual \
testing of the same network runs in turns with them, and seconds are given relative to it, so that a noisy machine hits both alike. \
Intervals are Wilson's at 95 %.

Examples:
  dorfman evaluate --bundle models/fashion-bag --data labelled/ --positive bag --prevalence 0.001,0.01
  dorfman evaluate --bundle a --bundle b --data photos.csv --positive weapon --prevalence 0.001 --group-size 4,8,16 \\
      --policy two-round,multi-round --chain 4 --json report.json --picture recall.svg";

/// A valid request.
#[derive(Debug)]
pub(super) struct Request {
    /// The configuration but for what varies.
    pub(super) config: Config,
    /// The bundles' folders.
    pub(super) bundles: Vec<PathBuf>,
    /// Policies other than individual testing.
    pub(super) policies: Vec<PolicyKind>,
    /// Sensitivities of pooled tests.
    pub(super) pooled: Vec<f64>,
    /// Sensitivities of individual tests.
    pub(super) individual: Vec<f64>,
    /// Sensitivities of the confirm network, or none to leave it out.
    confirm: Vec<Option<f64>>,
}

impl Request {
    /// Checks the arguments.
    ///
    /// # Errors
    /// [`CliError::Usage`], which names the argument.
    pub(super) fn new(args: &EvaluateArgs) -> Result<Self, CliError> {
        let mut config = configuration(args.config.as_deref(), "logging: {level: 'warn,ort=error'}")?;
        if let Some(chain) = &args.chain {
            config.retest.chain.clone_from(chain);
        }
        if let Some(worth) = args.worth {
            config.retest.worth = worth;
        }
        config.validate()?;
        shares("--prevalence", &args.prevalence)?;
        shares("--pooled-sensitivity", &args.pooled_sensitivity)?;
        shares("--individual-sensitivity", &args.individual_sensitivity)?;
        shares("--confirm-sensitivity", &args.confirm_sensitivity)?;
        if let Some(size) = args.group_size.iter().find(|s| !(1..=MAX_GROUP.min(config.engine.slots)).contains(s)) {
            let most = MAX_GROUP.min(config.engine.slots);
            return Err(CliError::Usage(format!("--group-size is {size}, must be 1 to {most}")));
        }
        if args.stream == Some(0) || args.cap == 0 || args.limit_negatives == Some(0) {
            return Err(CliError::Usage("--stream, --cap and --limit-negatives must be at least 1".into()));
        }
        if !(0.0..=3600.0).contains(&args.repeat) {
            return Err(CliError::Usage(format!("--repeat is {}, must be 0 to 3600 seconds", args.repeat)));
        }
        writable("--json", args.json.as_deref())?;
        writable("--picture", args.picture.as_deref())?;
        let or = |given: &[f64], default| if given.is_empty() { vec![default] } else { unique(given) };
        let mut policies: Vec<PolicyKind> = Vec::new();
        for &policy in args.policy.iter().filter(|&&p| p != PolicyKind::Individual) {
            if !policies.contains(&policy) {
                policies.push(policy);
            }
        }
        let mut confirm = Vec::new();
        if args.confirm != Confirm::Yes {
            confirm.push(None);
        }
        if args.confirm != Confirm::No {
            confirm.extend(or(&args.confirm_sensitivity, config.retest.confirm_sensitivity).into_iter().map(Some));
        }
        Ok(Self {
            confirm,
            bundles: args.bundle.clone(),
            policies,
            pooled: or(&args.pooled_sensitivity, config.retest.pooled_sensitivity),
            individual: or(&args.individual_sensitivity, config.retest.individual_sensitivity),
            config,
        })
    }
}

impl Request {
    /// Sensitivities of a bundle's confirm network, or none to leave it out.
    pub(super) fn confirm(&self, bundle: &Bundle) -> Vec<Option<f64>> {
        if bundle.manifest.confirm.is_some() { self.confirm.clone() } else { vec![None] }
    }
}

fn shares(argument: &str, values: &[f64]) -> Result<(), CliError> {
    match values.iter().find(|&&v| !(v > 0.0 && v < 1.0)) {
        Some(value) => Err(CliError::Usage(format!("{argument} is {value}, must be between 0 and 1"))),
        None => Ok(()),
    }
}

fn unique(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}
