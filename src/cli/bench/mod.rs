//! `dorfman bench`: what everything but the network costs, and what grouping saves, each measured in one run.

mod demo;
mod engine;
mod paper;
mod plans;
mod stream;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::CliError;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// What to measure; everything but the paper's network if absent.
    #[arg(value_enum)]
    what: Vec<What>,
    /// Items of the stream bench.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    items: usize,
    /// Times that each plan of the plans bench is run.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// The bundle of the demo and plans benches.
    #[arg(long, value_name = "DIR", default_value = "models/fashion-bag")]
    bundle: PathBuf,
    #[command(flatten)]
    paper: paper::PaperArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum What {
    /// Grouping, engine and policies alone, no I/O: items a second.
    Engine,
    /// From poll to commit with a null network, inline tiny images and the embedded broker: items a second, and memory.
    Stream,
    /// The demo: recall, MACs and seconds grouped against individual, and where the CPU time goes.
    Demo,
    /// The worker that plans for itself (group.size: auto) against fixed plans, on rarer and less rare positives: images a second.
    Plans,
    /// The paper's network with the paper's retests: seconds grouped against individual, beside multiply-adds. Minutes; wants --data, and
    /// bundles that `make bench-paper` writes.
    Paper,
}

pub(super) fn run(args: &BenchArgs) -> Result<(), CliError> {
    // The stream first: what it tells of memory must not have the others in it.
    let all = [What::Stream, What::Engine, What::Demo, What::Plans];
    let chosen = if args.what.is_empty() { &all[..] } else { &args.what };
    for what in chosen {
        match what {
            What::Engine => engine::run()?,
            What::Stream => stream::run(args.items)?,
            What::Demo => demo::run(&args.bundle)?,
            What::Plans => plans::run(&args.bundle, usize::from(args.rounds))?,
            What::Paper => paper::run(&args.paper)?,
        }
    }
    Ok(())
}

/// A figure beside what is to be reached.
fn figure(name: &str, value: impl std::fmt::Display, goal: &str) {
    println!("{name:<58} {value:>14}   {goal}");
}
