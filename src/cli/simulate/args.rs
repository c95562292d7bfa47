//! What is asked for.

use std::path::PathBuf;

use clap::Args;

use super::super::{CliError, configuration, writable};
use crate::config::Config;
use crate::config::group::GroupSize;
use crate::config::retest::PolicyKind;
use crate::simulation::{Band, Burst, Risk, Stream};

/// Arguments of `simulate`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(in crate::cli) struct SimulateArgs {
    /// The bundle whose calibration answers the tests.
    #[arg(long, value_name = "DIR")]
    pub(super) bundle: PathBuf,
    /// Share of positives, between 0 and 1.
    #[arg(long, value_name = "P", default_value_t = 0.001)]
    prevalence: f64,
    /// By what the prevalence is multiplied during a burst; 1: no burst.
    #[arg(long, value_name = "FACTOR", default_value_t = 10.0)]
    burst: f64,
    /// The first hour of the burst, from 0.
    #[arg(long, value_name = "HOUR", default_value_t = 9)]
    burst_from: usize,
    /// How many hours the burst lasts.
    #[arg(long, value_name = "N", default_value_t = 3)]
    burst_hours: usize,
    /// Probability that an image after a positive one is positive too (albums, uploaders); 0: positives come independently.
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    correlation: f64,
    /// How much the risk that comes with an image tells: the share of the variance of being positive that it explains, between 0 and 1. With
    /// it the stream is run a second time, pooled by risk, each band with a plan of its own.
    #[arg(long, value_name = "SHARE")]
    risk: Option<f64>,
    /// Edges of the bands of risk, rising; default: group.risk_bands, or else a tenth of the prevalence, the prevalence, and 10 and 100 times it.
    #[arg(long, value_name = "RISK", value_delimiter = ',', requires = "risk")]
    risk_bands: Vec<f64>,
    /// Images an hour.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    rate: u64,
    /// Hours.
    #[arg(long, value_name = "N", default_value_t = 24)]
    hours: usize,
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Everything as JSON on standard output, instead of the table.
    #[arg(long)]
    pub(super) json: bool,
    /// Cost by the hour as a picture.
    #[arg(long, value_name = "FILE.svg")]
    pub(super) picture: Option<PathBuf>,
    /// The policy beside auto, instead of the configured one.
    #[arg(long, value_enum)]
    policy: Option<PolicyKind>,
    /// Its group size, instead of the configured one.
    #[arg(long, value_name = "M")]
    group_size: Option<usize>,
    /// Sizes of its tests after the first, instead of the configured ones.
    #[arg(long, value_name = "SIZE", value_delimiter = ',')]
    chain: Vec<usize>,
    /// A configuration file: its planning section steers, its group and retest sections are the fixed plan beside it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const HELP: &str = "\
A stream of images with a burst of positives, hour by hour, through three ways to plan: as the worker does with group.size: auto, which sees \
verdicts alone; the configured plan throughout; and, for comparison, what the best plan for each hour's true prevalence is expected to cost. \
Tests are answered at random as the bundle's calibration says, no network is run. Costs are multiply-adds.

Examples:
  dorfman simulate --bundle models/fashion-bag
  dorfman simulate --bundle models/fashion-bag --prevalence 0.005 --burst 20 --correlation 0.5 --picture day.svg
  dorfman simulate --bundle models/fashion-bag --prevalence 0.01 --burst 1 --risk 0.1
  dorfman simulate --bundle models/fashion-bag --policy halving --group-size 32";

/// A valid request.
#[derive(Debug)]
pub(super) struct Request {
    /// How plans are made.
    pub(super) config: Config,
    /// What comes.
    pub(super) stream: Stream,
    /// The bands that it is pooled by, if risks come with it.
    pub(super) bands: Vec<Band>,
}

impl Request {
    /// Checks the arguments.
    ///
    /// # Errors
    /// [`CliError::Usage`], which names the argument.
    pub(super) fn new(args: &SimulateArgs) -> Result<Self, CliError> {
        let mut config = configuration(args.config.as_deref(), "{}")?;
        if let Some(policy) = args.policy {
            config.retest.policy = policy;
        }
        if let Some(size) = args.group_size {
            config.group.size = GroupSize::Of(size);
        }
        if !args.chain.is_empty() {
            config.retest.chain.clone_from(&args.chain);
        }
        config.validate()?;
        writable("--picture", args.picture.as_deref())?;
        let usage = |what: String| Err(CliError::Usage(what));
        if !(args.prevalence > 0.0 && args.prevalence < 1.0) {
            return usage(format!("--prevalence is {}, must be between 0 and 1", args.prevalence));
        }
        if !(args.burst >= 0.0 && args.burst * args.prevalence < 1.0) {
            let (burst, p) = (args.burst, args.prevalence);
            return usage(format!(
                "--burst is {burst}, must not be negative, nor make all images positive at --prevalence {p}"
            ));
        }
        if !(0.0..1.0).contains(&args.correlation) {
            return usage(format!("--correlation is {}, must be 0 or more and below 1", args.correlation));
        }
        let most = args.prevalence * args.burst.max(1.0);
        if args.correlation > 0.0 && most * (1.0 - args.correlation) > 1.0 - most {
            let c = args.correlation;
            return usage(format!("--correlation is {c}, too low for a share of {most} positives"));
        }
        if args.rate == 0 || !(1..=24 * 366).contains(&args.hours) {
            return usage("--rate must be at least 1, --hours 1 to 8784".into());
        }
        let burst = Burst { factor: args.burst, from: args.burst_from, hours: args.burst_hours };
        let (prevalence, correlation, rate, hours) = (args.prevalence, args.correlation, args.rate, args.hours);
        let stream = Stream { prevalence, burst: Some(burst), correlation, rate, hours };
        let bands = args.risk.map(|explained| args.bands(explained, &config)).transpose()?;
        Ok(Self { config, stream, bands: bands.unwrap_or_default() })
    }
}

impl SimulateArgs {
    fn bands(&self, explained: f64, config: &Config) -> Result<Vec<Band>, CliError> {
        if !(0.001..1.0).contains(&explained) {
            return Err(CliError::Usage(format!("--risk is {explained}, must be 0.001 or more and below 1")));
        }
        if self.correlation > 0.0 {
            return Err(CliError::Usage("--risk and --correlation can't be simulated together".into()));
        }
        let p = self.prevalence;
        let edges = match (&self.risk_bands[..], &config.group.risk_bands[..]) {
            ([], []) => [p / 10.0, p, p * 10.0, p * 100.0].into_iter().filter(|&edge| edge < 0.5).collect(),
            ([], edges) | (edges, _) => edges.to_vec(),
        };
        let rising = edges.windows(2).all(|pair| pair[0] < pair[1]);
        if !rising || edges.iter().any(|&edge| !(edge > 0.0 && edge < 1.0)) {
            return Err(CliError::Usage("--risk-bands must rise between 0 and 1, such as 0.0005,0.005".into()));
        }
        let bands = Risk { prevalence: p, explained }.bands(&edges);
        let most = bands.iter().map(|band| band.prevalence).fold(0.0, f64::max);
        if self.burst * most >= 1.0 {
            let burst = self.burst;
            return Err(CliError::Usage(format!(
                "--burst is {burst}, which makes more than all images of a band positive, {most:.2} of which are; with --risk take --burst 1"
            )));
        }
        Ok(bands)
    }
}
