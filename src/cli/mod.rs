//! The command line: a file a subcommand.
//!
//! In: arguments. Out: an exit code: 0 well, 1 failed, 64 wrong configuration or usage (EX_USAGE).

mod bench;
mod chart;
mod check;
pub mod demo;
mod evaluate;
mod health;
mod labelled;
mod local;
mod plan;
mod produce;
mod profile;
mod progress;
mod replay;
mod run;
mod scan;
mod schema;
mod signals;
mod simulate;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::replay::ReplayError;
use crate::worker::WorkerError;

/// Exit code for a wrong configuration or command line.
pub const EXIT_USAGE: u8 = 64;

/// Finds the rare bad image in a stream: tests many images in one forward pass, retests only what comes back positive.
#[derive(Debug, Parser)]
#[command(name = "dorfman", version, max_term_width = 110, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 well, 1 failed, 64 wrong configuration or usage.

Examples:
  dorfman demo                                  everything in one process: broker, stream, worker, table
  dorfman check --config dorfman.yaml           is this configuration right?
  dorfman run --config dorfman.yaml             the worker
  dorfman scan photos/ --json > verdicts.jsonl  a folder, without Kafka
  dorfman evaluate --bundle models/fashion-bag --data labelled/ --positive bag --prevalence 0.001,0.01
                                                what a bundle finds and costs on labelled images
  dorfman plan --bundle models/fashion-bag      which group size, at which prevalence
  dorfman simulate --bundle models/fashion-bag  a day with a burst of positives, planned as it goes
  dorfman profile --bundle models/fashion-bag   what each stage costs on this device
  dorfman replay --data recorded/ --table1      the paper's table, from recorded scores";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worker: consume references, publish flags, until SIGTERM or SIGINT.
    Run(run::RunArgs),
    /// Ask the worker of a configuration, on this machine, whether it is healthy: for containers without a shell.
    Health(health::HealthArgs),
    /// Validate a configuration and print it as the worker would see it, secrets blotted out.
    Check(check::CheckArgs),
    /// Print a JSON Schema: of the configuration, the bundle's manifest, a profile, or a message.
    Schema(schema::SchemaArgs),
    /// Score the images of a folder, or of a list of paths and URLs, without a broker.
    Scan(scan::ScanArgs),
    /// Produce references to a folder's images, for trying a deployment.
    Produce(produce::ProduceArgs),
    /// Show it at work: an embedded broker, a stream with rare positives, the worker grouped and individual, a table.
    Demo(demo::DemoArgs),
    /// Judge a bundle on labelled images: recall, false positives and cost of a policy against individual testing.
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// The cheapest plan for a prevalence: group size, retests and sensitivities, and what to expect of them.
    Plan(plan::PlanArgs),
    /// Simulate a stream with a burst of positives: what planning as it goes costs and finds, beside a fixed plan and the best one.
    Simulate(simulate::SimulateArgs),
    /// Run plans over recorded scores instead of a network: what each finds and costs, and Table 1 of the paper.
    Replay(replay::ReplayArgs),
    /// Measure the seconds of every stage of a bundle at every batch on this device, and keep them beside the bundle.
    Profile(profile::ProfileArgs),
    /// Measure it: the engine alone, the whole flow with a null network, and the demo's time by part.
    Bench(bench::BenchArgs),
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
struct ConfigArgs {
    /// The YAML file. Every key can be overridden by the environment: DORFMAN_GROUP__SIZE=8 sets group.size.
    #[arg(long, value_name = "FILE", env = "DORFMAN_CONFIG")]
    config: PathBuf,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.config, environment())
    }
}

/// The configuration of a command that can do without a file: the file's, or else that of `yaml`, the environment laid over either.
fn configuration(file: Option<&Path>, yaml: &str) -> Result<Config, ConfigError> {
    match file {
        Some(file) => Config::load(file, environment()),
        None => Config::parse(yaml, environment()),
    }
}

/// The environment; what is not UTF-8 in it is none of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// A folder that is not there is better found before the work than after.
fn writable(argument: &str, file: Option<&Path>) -> Result<(), CliError> {
    let Some(folder) = file.and_then(Path::parent) else { return Ok(()) };
    match folder.as_os_str().is_empty() || folder.is_dir() {
        true => Ok(()),
        false => Err(CliError::Usage(format!("{argument}: there is no folder {}", folder.display()))),
    }
}

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration or the arguments are wrong: exit code 64.
    #[error("{0}")]
    Usage(String),
    /// Anything else: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl From<ConfigError> for CliError {
    fn from(e: ConfigError) -> Self {
        Self::Usage(e.to_string())
    }
}

impl From<ReplayError> for CliError {
    fn from(e: ReplayError) -> Self {
        Self::Usage(e.to_string())
    }
}

impl From<WorkerError> for CliError {
    fn from(e: WorkerError) -> Self {
        Self::Failed(e.to_string())
    }
}

impl From<std::io::Error> for CliError {
    fn from(e: std::io::Error) -> Self {
        Self::Failed(e.to_string())
    }
}

impl From<rdkafka::error::KafkaError> for CliError {
    fn from(e: rdkafka::error::KafkaError) -> Self {
        Self::Failed(format!("kafka: {e}"))
    }
}

impl From<serde_json::Error> for CliError {
    fn from(e: serde_json::Error) -> Self {
        Self::Failed(e.to_string())
    }
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            // Nothing is left to be done where even the message can't be printed.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Scan(args) => scan::run(&args),
        Command::Produce(args) => produce::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::Usage(message)) => {
            eprintln!("dorfman: {message}");
            ExitCode::from(EXIT_USAGE)
        }
        Err(CliError::Failed(message)) => {
            eprintln!("dorfman: {message}");
            ExitCode::FAILURE
        }
    }
}
