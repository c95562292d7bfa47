//! The command line: one file per subcommand.
//!
//! Exit codes: 0 success, 1 failure, 64 wrong configuration or usage (EX_USAGE).

mod bench;
mod bench_paper;
mod check;
pub mod demo;
mod evaluate;
mod health;
mod local_run;
mod plan;
mod produce;
mod producer;
mod profile;
mod progress;
mod redrive;
mod replay;
mod run;
mod scan;
mod schema;
mod signals;
mod simulate;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use dorfman_lab::LabError;

use crate::config::{Config, ConfigError};
use crate::worker::WorkerError;

/// Exit code for a wrong configuration or command line.
pub const EXIT_USAGE: u8 = 64;

/// The version. It says if the binary was built for fault tests.
const VERSION: &str = if cfg!(feature = "failpoints") {
    concat!(env!("CARGO_PKG_VERSION"), "+failpoints")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Finds rare positive images in a stream. Many images share one test; only positive groups are
/// retested.
#[derive(Debug, Parser)]
#[command(name = "dorfman", version = VERSION, max_term_width = 110, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 success, 1 failure, 64 wrong configuration or usage.

Examples:
  dorfman demo                                  broker, stream and worker in one process
  dorfman check --config dorfman.yaml           validate a configuration
  dorfman run --config dorfman.yaml             run the worker
  dorfman redrive --config dorfman.yaml --reason unavailable --dry-run
                                                count the dead letters that would be sent again
  dorfman scan photos/ --bundle models/shoes    score a folder, without Kafka
  dorfman evaluate --bundle models/fashion-bag --data labelled/ --positive bag --prevalence 0.01
                                                recall and cost of a bundle on labelled images
  dorfman plan --bundle models/fashion-bag      the best group size by prevalence
  dorfman simulate --bundle models/fashion-bag  a day with a burst of positives
  dorfman profile --bundle models/fashion-bag   measure each stage on this device
  dorfman replay-scores --data recorded/ --table1
                                                the paper's table, from recorded scores";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worker: consume references and publish flags, until SIGTERM or SIGINT.
    Run(run::RunArgs),
    /// Check whether the worker of a configuration is healthy on this machine, for containers
    /// without a shell.
    Health(health::HealthArgs),
    /// Validate a configuration and print it with its defaults, without secrets.
    Check(check::CheckArgs),
    /// Print a JSON Schema (of the configuration, the bundle manifest, a profile or a message), or
    /// the example configuration.
    Schema(schema::SchemaArgs),
    /// Score the images of a folder, or of a list of paths and URLs, without a broker.
    Scan(scan::ScanArgs),
    /// Produce references to the images of a folder, to try a deployment.
    Produce(produce::ProduceArgs),
    /// Send the items of dead letters to the source topic again, after their cause is removed.
    Redrive(redrive::RedriveArgs),
    /// Show the worker in one process: an embedded broker, a stream with rare positives, and a
    /// table of grouped and individual testing.
    Demo(demo::DemoArgs),
    /// Evaluate a bundle on labelled images: recall, false positive rate and cost of a policy,
    /// beside individual testing.
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Print the cheapest plan for a prevalence: group size, retests, sensitivities and expected
    /// results.
    Plan(plan::PlanArgs),
    /// Simulate a stream with a burst of positives: cost and recall of `group.size: auto`, of a
    /// fixed plan and of the best plan.
    Simulate(simulate::SimulateArgs),
    /// Run plans on recorded scores instead of a network: recall and cost of each, and Table 1 of
    /// the paper.
    #[command(name = "replay-scores")]
    Replay(replay::ReplayArgs),
    /// Measure every stage of a bundle at every batch size on this device, and write the profile to
    /// the bundle.
    Profile(profile::ProfileArgs),
    /// Measure the worker: the engine alone, the stream with a null network, the demo, and plans.
    Bench(bench::BenchArgs),
    /// Measure the paper's network: seconds and MACs of grouped and individual testing.
    BenchPaper(bench_paper::BenchPaperArgs),
}

/// The file of the configuration.
#[derive(Debug, Clone, Args)]
struct ConfigArgs {
    /// The YAML file. The environment overrides its keys: DORFMAN_GROUP__SIZE=8 sets group.size.
    #[arg(long, value_name = "FILE", env = "DORFMAN_CONFIG")]
    config: PathBuf,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.config, environment())
    }
}

/// The configuration of a command whose file is optional: from the file, or else from `yaml`. The
/// environment overrides both.
fn configuration(file: Option<&Path>, yaml: &str) -> Result<Config, ConfigError> {
    match file {
        Some(file) => Config::load(file, environment()),
        None => Config::parse(yaml, environment()),
    }
}

/// The environment, without variables that are not UTF-8.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text)
}

/// An error if the folder of a file that will be written does not exist. Long work checks this
/// before it starts.
fn writable(argument: &str, file: Option<&Path>) -> Result<(), CliError> {
    let Some(folder) = file.and_then(Path::parent) else { return Ok(()) };
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let message = format!("{argument}: there is no folder {}; create it first", folder.display());
    Err(CliError::Usage(message))
}

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration or the arguments are wrong: exit code 64.
    #[error("{0}")]
    Usage(String),
    /// Any other failure: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl From<ConfigError> for CliError {
    fn from(e: ConfigError) -> Self {
        Self::Usage(e.to_string())
    }
}

impl From<LabError> for CliError {
    fn from(e: LabError) -> Self {
        if e.is_usage() { Self::Usage(e.to_string()) } else { Self::Failed(e.to_string()) }
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

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            // If the message cannot be printed, the exit code still reports the error.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dorfman: {error}");
            match error {
                CliError::Usage(_) => ExitCode::from(EXIT_USAGE),
                CliError::Failed(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Scan(args) => scan::run(&args),
        Command::Produce(args) => produce::run(&args),
        Command::Redrive(args) => redrive::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::BenchPaper(args) => bench_paper::run(&args),
    }
}
