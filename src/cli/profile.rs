//! `dorfman profile`: measures every stage of a bundle at every batch size on this device.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use comfy_table::CellAlignment;
use dorfman_core::engine::Network;
use dorfman_core::screen::ScreenNetwork;
use dorfman_model::manifest::Manifest;
use dorfman_model::profile::{BundleFiles, Cells, Machine, Networks, PartProfile, Point};
use dorfman_model::{Bundle, LoadedNetwork, Profile};

use super::CliError;
use super::progress::progress;
use crate::config::Config;
use crate::ops::logging;
use dorfman_lab::table::table;

/// Arguments of `profile`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct ProfileArgs {
    /// The bundle, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The file of the profile, instead of the file in the bundle that the worker reads.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Seconds to measure, divided equally among all stages, batch sizes and arities. Each is run
    /// at least five times. The warm-up is not included.
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    seconds: f64,
    /// Batch sizes to measure, in rows [default: the configured engine.buckets, or powers of two up
    /// to engine.max_batch].
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    batch: Vec<usize>,
    /// Print the profile as JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// A configuration file. Its sections engine and model are used.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const HELP: &str = "\
The profile is written to DIR/profiles. Its name contains the provider, the device and the \
version of ONNX Runtime. A worker with the same provider, device and version reads the profile \
and exports the expected seconds beside the measured seconds. Measure on an idle machine. \
Measure again when the bundle, the machine or ONNX Runtime changes: a profile of other files is \
refused.

A row is one image in stage 0 and in the confirm network, and one test in the last stage. The \
arity of a row is the number of rows of the previous stage that it merges. The last stage is \
measured for tests of 1, 4 and 16 images, and of the largest calibrated number of images. Times \
are medians. MACs (multiply-adds) are from the manifest, without the merge.

Examples:
  dorfman profile --bundle models/fashion-bag
  dorfman profile --config dorfman.yaml --json    with the settings of a worker
  DORFMAN_MODEL__THREADS=1 dorfman profile --batch 1,8 --seconds 5";

pub(super) fn run(args: &ProfileArgs) -> Result<(), CliError> {
    let config = config(args)?;
    logging::init(&config.logging).map_err(|e| CliError::Usage(e.to_string()))?;
    let failed = |e: &dyn std::fmt::Display| CliError::Failed(e.to_string());
    let bundle = Bundle::open(&config.model.bundle).map_err(|e| failed(&e))?;
    let options = config.load_options();
    let mut loaded = LoadedNetwork::open(&bundle, &options).map_err(|e| failed(&e))?;
    let machine = loaded.machine(&options);
    let file = args.out.clone().unwrap_or_else(|| Profile::path(&bundle.dir, &machine));
    // An error of the file is reported before the measurement.
    Profile::prepare(&file).map_err(|e| failed(&e))?;
    let profile = measure(args, &config, &bundle, &mut loaded, machine)?;
    profile.write(&file).map_err(|e| failed(&e))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&profile)?);
    } else {
        print(&profile);
    }
    eprintln!("written: {}", file.display());
    Ok(())
}

/// The configuration, changed by the arguments.
fn config(args: &ProfileArgs) -> Result<Config, CliError> {
    let mut config = match &args.config {
        Some(file) => Config::load(file, super::environment())?,
        None => Config::parse("logging: {level: 'warn,ort=error'}", super::environment())?,
    };
    if let Some(bundle) = &args.bundle {
        config.model.bundle.clone_from(bundle);
    }
    config.validate()?;
    if !(0.0..=3600.0).contains(&args.seconds) {
        return Err(CliError::Usage(format!("--seconds is {}, must be 0 to 3600", args.seconds)));
    }
    super::writable("--out", args.out.as_deref())?;
    let most = config.engine.slots;
    match args.batch.iter().find(|&b| !(1..=most).contains(b)) {
        Some(batch) => Err(CliError::Usage(format!(
            "--batch is {batch}, must be 1 to {most} (`engine.slots`)"
        ))),
        None => Ok(config),
    }
}

fn measure(
    args: &ProfileArgs,
    config: &Config,
    bundle: &Bundle,
    loaded: &mut LoadedNetwork,
    machine: Machine,
) -> Result<Profile, CliError> {
    let manifest = &bundle.manifest;
    let batching = config.engine.batching();
    let batches = if args.batch.is_empty() {
        batching.measured(machine.provider)
    } else {
        args.batch.clone()
    };
    let screen_macs = manifest.screen.as_ref().map(|screen| screen.macs);
    let cells = Cells::new(loaded.network.shape(), screen_macs, &batches, &images(manifest));
    let bar = progress("measuring", cells.ticks() as u64);
    let budget = Duration::from_secs_f64(args.seconds);
    let screen = loaded.screen.as_mut().zip(manifest.screen.as_ref());
    let networks = Networks {
        network: &mut loaded.network,
        image_len: manifest.input.len(),
        screen: screen.map(|(screen, of)| (screen as &mut dyn ScreenNetwork, of.input.len())),
    };
    let measured = cells.measure(networks, budget, || bar.inc(1));
    bar.finish_and_clear();
    let measured = measured.map_err(|e| CliError::Failed(e.to_string()))?;
    Ok(Profile {
        format: 1,
        bundle: BundleFiles::of(manifest),
        date: jiff::Timestamp::now().to_string(),
        buckets: batching.buckets(machine.provider),
        preferred_batch: batching.preferred_batch(machine.provider),
        machine,
        stages: measured.stages,
        confirm: measured.confirm,
        screen: measured.screen,
    })
}

/// The arities at which the last stage is measured, up to the largest calibrated arity.
fn images(manifest: &Manifest) -> Vec<usize> {
    let largest = manifest.calibration.iter().map(|c| c.arity).max().unwrap_or(1);
    [1, 4, 16].into_iter().filter(|&arity| arity < largest).chain([largest]).collect()
}

fn print(profile: &Profile) {
    let bundle = &profile.bundle;
    let machine = &profile.machine;
    let threads = match machine.threads {
        0 => String::new(),
        threads => format!(", {threads} threads"),
    };
    println!(
        "{} {} on {} ({}, {} cores{threads}), ONNX Runtime {}\n",
        bundle.name,
        bundle.version,
        machine.device,
        machine.provider,
        machine.cores,
        machine.onnxruntime
    );
    let columns = [
        "stage",
        "arity",
        "rows",
        "ms per run",
        "10 to 90 %",
        "µs per row",
        "MACs per row",
        "GMAC/s",
    ];
    let mut table = table(&columns);
    for (part, measured) in profile.parts() {
        for point in &measured.measured {
            table.add_row(row(&part.to_string(), measured, point));
        }
    }
    table
        .column_iter_mut()
        .skip(1)
        .for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    println!("{table}");
}

fn row(stage: &str, part: &PartProfile, point: &Point) -> [String; 8] {
    let seconds = point.seconds;
    let macs = part.macs as f64 * point.rows as f64;
    [
        stage.to_owned(),
        point.arity.to_string(),
        point.rows.to_string(),
        format!("{:.3}", 1e3 * seconds.median),
        format!("{:.3} to {:.3}", 1e3 * seconds.p10, 1e3 * seconds.p90),
        format!("{:.1}", 1e6 * seconds.median / point.rows as f64),
        scaled(part.macs),
        // Stage 0 of a pixel network only stores the images.
        if part.macs == 0 { "-".into() } else { format!("{:.1}", macs / seconds.median / 1e9) },
    ]
}

/// A count with three digits and a decimal prefix.
fn scaled(macs: u64) -> String {
    let (value, prefix) = match macs {
        0 => return "-".into(),
        1..1_000 => return macs.to_string(),
        1_000..1_000_000 => (macs as f64 / 1e3, "k"),
        1_000_000..1_000_000_000 => (macs as f64 / 1e6, "M"),
        _ => (macs as f64 / 1e9, "G"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_three_digits() {
        let counts =
            [0, 999, 95_648, 4_672_640, 46_964_992, 385_000_000, 1_200_000_000].map(scaled);
        assert_eq!(counts, ["-", "999", "95.6 k", "4.67 M", "47.0 M", "385 M", "1.20 G"]);
    }
}
