//! `dorfman simulate`: a simulated day of a stream, and what plans cost and find in it.

use std::path::PathBuf;

use clap::Args;
use dorfman_core::simulation::{Band, Burst, Risk, Stream};
use dorfman_lab::simulate::{SimulateRequest, simulate};
use dorfman_model::Bundle;

use super::plan::configured;
use super::progress::ProgressBars;
use super::{CliError, configuration, writable};
use crate::config::Config;
use crate::config::exits::ExitMode;
use crate::config::group::GroupSize;
use crate::config::retest::PolicyKind;

/// Arguments of `simulate`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct SimulateArgs {
    /// The folder of the bundle whose calibration gives the results of the tests.
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// Share of positives, between 0 and 1.
    #[arg(long, value_name = "P", default_value_t = 0.001)]
    prevalence: f64,
    /// The factor by which the prevalence is multiplied during a burst. 1: no burst.
    #[arg(long, value_name = "FACTOR", default_value_t = 10.0)]
    burst: f64,
    /// The first hour of the burst, from 0.
    #[arg(long, value_name = "HOUR", default_value_t = 9)]
    burst_from: usize,
    /// Hours of the burst.
    #[arg(long, value_name = "N", default_value_t = 3)]
    burst_hours: usize,
    /// The probability that an image after a positive one is positive too (albums, uploaders). 0:
    /// positives are independent.
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    correlation: f64,
    /// How well the risk of an image predicts a positive: the share of the variance that it
    /// explains, between 0 and 1. With this option the stream runs a second time, pooled by risk,
    /// with one plan per band.
    #[arg(long, value_name = "SHARE")]
    risk: Option<f64>,
    /// Rising edges of the risk bands [default: group.risk_bands, or else 0.1, 1, 10 and 100 times
    /// the prevalence].
    #[arg(long, value_name = "RISK", value_delimiter = ',', requires = "risk")]
    risk_bands: Vec<f64>,
    /// Images per hour.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    rate: u64,
    /// Hours.
    #[arg(long, value_name = "N", default_value_t = 24)]
    hours: usize,
    /// The seed of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the report as JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Write a picture of the cost by the hour.
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    /// The policy that is compared with auto, instead of the configured one.
    #[arg(long, value_enum)]
    policy: Option<PolicyKind>,
    /// The group size of this policy, instead of the configured one.
    #[arg(long, value_name = "M")]
    group_size: Option<usize>,
    /// The sizes of its tests after the first, instead of the configured ones.
    #[arg(long, value_name = "SIZE", value_delimiter = ',')]
    chain: Vec<usize>,
    /// A configuration file. Its section planning is used for auto. The plan of its sections group
    /// and retest is compared with auto.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const HELP: &str = "\
Simulates a stream of images with a burst of positives, hour by hour. Three ways to plan are \
compared: auto, which plans as the worker does with group.size: auto and observes only verdicts; \
the configured plan; and the expected cost of the best plan for the true prevalence of each \
hour. The results of exits and tests are drawn at random from the bundle's calibration. No network \
runs. Costs are multiply-adds. DORFMAN_EXITS__MODE=none leaves the exits out. The configured plan, \
and the plans of risk bands, have no exits.

Examples:
  dorfman simulate --bundle models/fashion-bag
  dorfman simulate --bundle models/fashion-bag --prevalence 0.005 --burst 20 --picture day.svg
  dorfman simulate --bundle models/fashion-bag --prevalence 0.01 --burst 1 --risk 0.1
  dorfman simulate --bundle models/fashion-bag --policy halving --group-size 32";

pub(super) fn run(args: &SimulateArgs) -> Result<(), CliError> {
    let config = args.config()?;
    writable("--picture", args.picture.as_deref())?;
    let stream = args.stream()?;
    let bands = match args.risk {
        Some(explained) => args.bands(explained, &config)?,
        None => Vec::new(),
    };
    let bundle = Bundle::open(&args.bundle).map_err(|e| CliError::Usage(e.to_string()))?;
    let request = SimulateRequest {
        bundle,
        stream,
        bands,
        constraints: config.constraints(),
        exits: config.exits.mode != ExitMode::None,
        replan_rule: config.replan_rule(),
        configured: configured(&config),
        seed: args.seed,
    };
    let report = simulate(&request, &ProgressBars::default())?;
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

impl SimulateArgs {
    /// The configuration with the arguments that replace its keys.
    fn config(&self) -> Result<Config, CliError> {
        let mut config = configuration(self.config.as_deref(), "{}")?;
        if let Some(policy) = self.policy {
            config.retest.policy = policy;
        }
        if let Some(size) = self.group_size {
            config.group.size = GroupSize::Fixed(size);
        }
        if !self.chain.is_empty() {
            config.retest.chain.clone_from(&self.chain);
        }
        config.validate()?;
        Ok(config)
    }

    /// The stream.
    ///
    /// # Errors
    /// [`CliError::Usage`], which names the argument.
    fn stream(&self) -> Result<Stream, CliError> {
        let usage = |what: String| Err(CliError::Usage(what));
        let Self { prevalence, burst, correlation, rate, hours, .. } = *self;
        if !(prevalence > 0.0 && prevalence < 1.0) {
            return usage(format!("--prevalence is {prevalence}, must be between 0 and 1"));
        }
        if !(burst >= 0.0 && burst * prevalence < 1.0) {
            return usage(format!(
                "--burst is {burst}, must not be negative, nor make all images positive at \
                 --prevalence {prevalence}"
            ));
        }
        if !(0.0..1.0).contains(&correlation) {
            return usage(format!("--correlation is {correlation}, must be 0 or more and below 1"));
        }
        let most = prevalence * burst.max(1.0);
        if correlation > 0.0 && most * (1.0 - correlation) > 1.0 - most {
            return usage(format!(
                "--correlation is {correlation}, too low for a share of {most} positives"
            ));
        }
        if rate == 0 || !(1..=24 * 366).contains(&hours) {
            return usage("--rate must be at least 1, --hours 1 to 8784".into());
        }
        let burst = Burst { factor: burst, from: self.burst_from, hours: self.burst_hours };
        Ok(Stream { prevalence, burst: Some(burst), correlation, rate, hours })
    }

    /// The risk bands, if the risk explains the share `explained` of the variance.
    ///
    /// # Errors
    /// [`CliError::Usage`], which names the argument.
    fn bands(&self, explained: f64, config: &Config) -> Result<Vec<Band>, CliError> {
        let usage = |what: String| Err(CliError::Usage(what));
        if !(0.001..1.0).contains(&explained) {
            return usage(format!("--risk is {explained}, must be 0.001 or more and below 1"));
        }
        if self.correlation > 0.0 {
            return usage("--risk and --correlation can't be simulated together".into());
        }
        let p = self.prevalence;
        let edges: Vec<f64> = match (&self.risk_bands[..], &config.group.risk_bands[..]) {
            ([], []) => {
                let edges = [p / 10.0, p, p * 10.0, p * 100.0];
                edges.into_iter().filter(|&edge| edge < 0.5).collect()
            }
            ([], edges) | (edges, _) => edges.to_vec(),
        };
        let rising = edges.windows(2).all(|pair| pair[0] < pair[1]);
        if !rising || edges.iter().any(|&edge| !(edge > 0.0 && edge < 1.0)) {
            return usage("--risk-bands must rise between 0 and 1, such as 0.0005,0.005".into());
        }
        let bands = Risk { prevalence: p, explained }.bands(&edges);
        let most = bands.iter().map(|band| band.prevalence).fold(0.0, f64::max);
        let burst = self.burst;
        if burst * most >= 1.0 {
            return usage(format!(
                "--burst is {burst}; a share of {most:.2} of one band is positive without a burst, \
                 so the burst would make all of its images positive; with --risk use --burst 1"
            ));
        }
        Ok(bands)
    }
}
