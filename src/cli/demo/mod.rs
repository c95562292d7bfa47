//! `dorfman demo`: the main job in one process.
//!
//! Starts an embedded broker, produces references to real images with rare positives, runs the
//! worker several times (individual testing, pooling alone, and the plan of the planner), consumes
//! the flagged topics, and prints the results side by side.

pub(super) mod data;
mod fashion;
pub mod items;
pub mod report;
mod sheet;
pub mod stream;

use std::path::PathBuf;

use clap::{Args, Parser};
use dorfman_model::Bundle;
use report::{Report, Run};
use stream::Stream;

use super::CliError;
use crate::config::Config;
use crate::config::exits::ExitMode;
use crate::config::group::GroupSize;
use crate::config::retest::PolicyKind;
use crate::ops::logging;
use crate::source::embedded::EmbeddedBroker;
use crate::worker::Model;

/// Arguments of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// The bundle.
    #[arg(long, value_name = "DIR", default_value = "models/fashion-bag")]
    pub bundle: PathBuf,
    /// The folder of Fashion-MNIST's test set (Debian's dataset-fashion-mnist), or labelled images
    /// as for `evaluate`: a folder or a zip with one subfolder per class, or a list.csv.
    #[arg(long, value_name = "DIR", default_value = "/usr/share/datasets/fashion-mnist")]
    pub data: PathBuf,
    /// Negative images in the stream. Images are repeated if the set has fewer (Fashion-MNIST's
    /// test set has 9,000).
    #[arg(long, value_name = "N", default_value_t = 9000)]
    pub negatives: usize,
    /// Share of positive images in the stream.
    #[arg(long, value_name = "P", default_value_t = 0.01)]
    pub prevalence: f64,
    /// Images per group of the pooled run.
    #[arg(long, value_name = "M", default_value_t = 16)]
    pub group_size: usize,
    /// Seed of the order of the stream.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The folder of the images, the report and the contact sheet.
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    pub out: PathBuf,
    /// Log level of the worker.
    #[arg(long, default_value = "warn")]
    pub log: String,
}

#[derive(Debug, Parser)]
struct Defaults {
    #[command(flatten)]
    args: DemoArgs,
}

impl DemoArgs {
    /// The arguments of an empty command line.
    pub(super) fn defaults() -> Result<Self, CliError> {
        let defaults =
            Defaults::try_parse_from(["demo"]).map_err(|e| CliError::Failed(e.to_string()))?;
        Ok(defaults.args)
    }
}

pub(super) fn run(args: &DemoArgs) -> Result<(), CliError> {
    let report = measure(args)?;
    println!("{}", report.table());
    println!("report: {}", args.out.join("report.json").display());
    println!("flagged images: {}", args.out.join("flagged.png").display());
    Ok(())
}

/// Runs the demo and writes its files.
///
/// # Errors
/// [`CliError`], which names what is missing and how to get it.
pub fn measure(args: &DemoArgs) -> Result<Report, CliError> {
    if !(args.prevalence > 0.0 && args.prevalence < 1.0) {
        return Err(CliError::Usage("--prevalence must be between 0 and 1".into()));
    }
    let base = config(args, RunKind::Best)?;
    logging::init(&base.logging).map_err(|e| CliError::Usage(format!("--log: {e}")))?;
    eprintln!("writing the images to {}", args.out.join("images").display());
    let bundle = Bundle::open(&args.bundle).map_err(|e| CliError::Failed(e.to_string()))?;
    let items = data::prepare(args, &bundle)?;
    let broker = EmbeddedBroker::start(&stream::topics())?;
    eprintln!(
        "embedded broker on {}: producing {} references",
        broker.bootstrap_servers(),
        items.len()
    );
    let stream = Stream::new(broker.bootstrap_servers(), items);
    stream.produce()?;
    let mut runs = Vec::new();
    for kind in RunKind::ALL {
        let mut config = config(args, kind)?;
        stream.configure(&mut config, kind.name());
        eprintln!("starting the worker for the {} run", kind.name());
        let measured = stream.run(kind.name(), &config, Model::open(&config)?)?;
        runs.push(Run::new(&stream, kind.name(), measured));
    }
    if let Some(best) = runs.last() {
        let width = bundle.manifest.input.width;
        sheet::write(&args.out.join("flagged.png"), &stream, &best.measured.flagged, width)?;
    }
    let report = Report::new(&stream, runs);
    std::fs::write(args.out.join("report.json"), serde_json::to_vec_pretty(&report)?)?;
    Ok(report)
}

/// What a run of the demo does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunKind {
    /// Every image is tested alone.
    Individual,
    /// Images are pooled, and no exit is used.
    Pooled,
    /// The plan of the planner.
    Best,
}

impl RunKind {
    /// All runs, in the order of the table.
    const ALL: [Self; 3] = [Self::Individual, Self::Pooled, Self::Best];

    /// The name in topics and reports.
    fn name(self) -> &'static str {
        match self {
            Self::Individual => "individual",
            Self::Pooled => "pooled",
            Self::Best => "best",
        }
    }
}

/// The configuration of the worker for a run of the demo.
fn config(args: &DemoArgs, kind: RunKind) -> Result<Config, CliError> {
    let mut config = base(args)?;
    match kind {
        RunKind::Individual => {
            config.retest.policy = PolicyKind::Individual;
            config.exits.mode = ExitMode::None;
        }
        RunKind::Pooled => {
            config.group.size = GroupSize::Fixed(args.group_size);
            config.exits.mode = ExitMode::None;
        }
        RunKind::Best => {
            config.group.size = GroupSize::Auto;
            config.planning.prevalence = args.prevalence;
        }
    }
    config.validate()?;
    Ok(config)
}

/// The defaults with the environment, and the paths of the demo.
pub(super) fn base(args: &DemoArgs) -> Result<Config, CliError> {
    let mut config = Config::parse("", super::environment())?;
    config.model.bundle.clone_from(&args.bundle);
    config.logging.level = format!("{},ort=error,librdkafka=error", args.log);
    std::fs::create_dir_all(&args.out)?;
    config.fetch.roots = vec![args.out.canonicalize()?];
    config.ops.listen = "127.0.0.1:0".into();
    Ok(config)
}
