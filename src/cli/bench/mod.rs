//! `dorfman bench`: measures the cost of everything except the network, and the saving of grouping.

mod decode;
mod demo;
mod engine;
mod plans;
mod scale;
mod stream;
mod tiny;

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
    /// Runs of each plan of the plans bench, and of each image of the decode bench.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// The bundle of the demo, plans and decode benches.
    #[arg(long, value_name = "DIR", default_value = "models/fashion-bag")]
    bundle: PathBuf,
    /// The folder with the images of the decode bench, or a list of them.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// The bootstrap servers of an Apache Kafka cluster that creates topics, for the rebalance
    /// bench.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Workers of the rebalance bench.
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u16).range(2..))]
    members: u16,
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
    /// One, two and four workers in a consumer group, whose network sleeps 1 ms per image: items
    /// per second. With the embedded broker.
    Scale,
    /// A consumer group of `--members` workers, with both group protocols: seconds until it is
    /// balanced after a start, a join and a leave. A part of everything only with `--brokers`.
    Rebalance,
    /// Decoding and preprocessing, in full and at a fraction of the size: CPU time of each image in
    /// `--images`. A part of everything only with `--images`.
    Decode,
}

pub(super) fn run(args: &BenchArgs) -> Result<(), CliError> {
    // The stream comes first, because it measures the memory of the process.
    let mut all = vec![What::Stream, What::Engine, What::Demo, What::Plans, What::Scale];
    all.extend(args.images.as_ref().map(|_| What::Decode));
    all.extend(args.brokers.as_ref().map(|_| What::Rebalance));
    let chosen = if args.what.is_empty() { &all } else { &args.what };
    for what in chosen {
        match what {
            What::Engine => engine::run()?,
            What::Stream => stream::run(args.items)?,
            What::Demo => demo::run(&args.bundle)?,
            What::Plans => plans::run(&args.bundle, usize::from(args.rounds))?,
            What::Scale => scale::speed_up()?,
            What::Rebalance => {
                let what = "`--brokers` is missing; name a Kafka cluster for the rebalance bench";
                let brokers = needed(args.brokers.as_deref(), what)?;
                scale::rebalance(brokers, usize::from(args.members))?;
            }
            What::Decode => {
                let what =
                    "`--images` is missing; name the folder with the images of the decode bench";
                let images = needed(args.images.as_deref(), what)?;
                decode::run(&args.bundle, images, usize::from(args.rounds))?;
            }
        }
    }
    Ok(())
}

fn needed<T>(option: Option<T>, missing: &str) -> Result<T, CliError> {
    option.ok_or_else(|| CliError::Usage(missing.into()))
}

/// Prints a figure beside its target.
fn figure(name: &str, value: impl std::fmt::Display, target: &str) {
    println!("{name:<58} {value:>14}   {target}");
}
