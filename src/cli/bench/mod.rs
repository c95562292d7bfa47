//! `dorfman bench`: measures the cost of everything except the network, and the saving of grouping.

mod demo;
mod engine;
mod plans;
mod stream;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::CliError;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// What to measure [default: everything].
    #[arg(value_enum)]
    what: Vec<What>,
    /// Items of the stream bench.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    items: usize,
    /// Runs of each plan of the plans bench.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// The bundle of the demo and plans benches.
    #[arg(long, value_name = "DIR", default_value = "models/fashion-bag")]
    bundle: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum What {
    /// The engine with its policy, without I/O and network: items per second.
    Engine,
    /// The worker from poll to commit, with a null network, tiny inline images and the embedded
    /// broker: items per second, and memory.
    Stream,
    /// The demo: recall, MACs and seconds of grouped and individual testing, and CPU time by part.
    Demo,
    /// `group.size: auto` beside fixed plans, at two prevalences: images per second.
    Plans,
}

pub(super) fn run(args: &BenchArgs) -> Result<(), CliError> {
    // The stream comes first, because it measures the memory of the process.
    let all = [What::Stream, What::Engine, What::Demo, What::Plans];
    let chosen = if args.what.is_empty() { &all[..] } else { &args.what };
    for what in chosen {
        match what {
            What::Engine => engine::run()?,
            What::Stream => stream::run(args.items)?,
            What::Demo => demo::run(&args.bundle)?,
            What::Plans => plans::run(&args.bundle, usize::from(args.rounds))?,
        }
    }
    Ok(())
}

/// Prints a figure beside its target.
fn figure(name: &str, value: impl std::fmt::Display, target: &str) {
    println!("{name:<58} {value:>14}   {target}");
}
