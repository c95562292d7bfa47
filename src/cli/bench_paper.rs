//! `dorfman bench-paper`: the seconds that group testing saves on the paper's network.

use std::path::PathBuf;

use clap::Args;
use dorfman_lab::paper::{self, DEFAULT_PLANS, PaperPlan, PaperRequest};

use super::progress::ProgressBars;
use super::{CliError, environment};
use crate::config::Config;
use crate::ops::logging;

/// Arguments of `bench-paper`.
#[derive(Debug, Args)]
pub(super) struct BenchPaperArgs {
    /// The folder of the paper's recorded scores (docs/retesting.md, Recordings).
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The folder of the bundles d1, d2 and d3, which `make bench-paper` writes.
    #[arg(long, value_name = "DIR", default_value = "target/paper")]
    bundles: PathBuf,
    /// Plans: the chain of one design's tests, and the rule that makes a test positive, as in
    /// d3:16,8,4,d3:1@0.5 or d2:16,4,1@worth=500. A test of one image runs on the plain network,
    /// from the pixels on, unless its design is named.
    #[arg(
        long,
        value_name = "PLAN",
        default_value = DEFAULT_PLANS,
        value_delimiter = ' ',
        num_args = 1..
    )]
    plan: Vec<PaperPlan>,
    /// Groups per plan. More groups take longer, and their tests are closer to the mean of all
    /// groups.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 32,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    groups: u64,
    /// Rows per run of a stage, at most, for groups and individual tests alike.
    #[arg(
        long,
        value_name = "ROWS",
        default_value_t = 8,
        value_parser = clap::value_parser!(u64).range(1..=128)
    )]
    batch: u64,
    /// The seed of the groups, of their order, and of the half on which @worth and @margin are
    /// fitted.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(args: &BenchPaperArgs) -> Result<(), CliError> {
    let config = Config::parse("logging: {level: 'warn,ort=error'}", environment())?;
    logging::init(&config.logging).map_err(|e| CliError::Usage(e.to_string()))?;
    let request = PaperRequest {
        data: args.data.clone(),
        bundles: args.bundles.clone(),
        plans: args.plan.clone(),
        groups: args.groups as usize,
        batch: args.batch as usize,
        seed: args.seed,
        load: config.load_options(),
    };
    let report = paper::run(&request, &ProgressBars::default(), &mut |line| println!("{line}"))?;
    println!("\n{}", report.table());
    Ok(())
}
