//! `dorfman profile`: what every stage of a bundle costs at every batch, on this device and provider.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};

use super::CliError;
use super::progress::progress;
use crate::config::Config;
use crate::engine::Network;
use crate::model::manifest::Manifest;
use crate::model::profile::{BundleFiles, Cells, Machine, PartProfile, Point};
use crate::model::{Bundle, Profile};
use crate::ops::logging;
use crate::worker::Loaded;

/// Arguments of `profile`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct ProfileArgs {
    /// The bundle, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Where to write the profile, instead of beside the bundle, where the worker looks for it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Seconds to measure, shared by all stages, batches and arities alike. Each is run at least five times, however long that takes, and
    /// warming up comes on top.
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    seconds: f64,
    /// Batch sizes to measure, in rows [default: the configured engine.buckets, or powers of two up to engine.max_batch].
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    batch: Vec<usize>,
    /// The profile as JSON on standard output, instead of the table.
    #[arg(long)]
    json: bool,
    /// A configuration file; its sections engine and model count here.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const HELP: &str = "\
The profile goes into DIR/profiles, under a name made of the provider, the device and ONNX Runtime's version. A worker that starts with the \
same ones finds it there, and exports the seconds that it expects beside those it measures. Measure on a machine that has nothing else to do, \
and again when the bundle, the machine or the library changes: a profile of other files is refused.

A row is an image in stage 0 and in the confirm network, and a test in the last stage; its arity is how many rows of the stage before it \
merges. The last stage is measured for tests of 1, 4, 16 and as many images as the bundle is calibrated for. Times are medians; MACs are the \
manifest's, without the merge.

Examples:
  dorfman profile --bundle models/fashion-bag
  dorfman profile --config dorfman.yaml --json    with a worker's provider, threads and batches
  DORFMAN_MODEL__THREADS=1 dorfman profile --batch 1,8 --seconds 5";

pub(super) fn run(args: &ProfileArgs) -> Result<(), CliError> {
    let config = config(args)?;
    logging::init(&config.logging).map_err(|e| CliError::Usage(e.to_string()))?;
    let failed = |e: &dyn std::fmt::Display| CliError::Failed(e.to_string());
    let bundle = Bundle::open(&config.model.bundle).map_err(|e| failed(&e))?;
    let mut loaded = Loaded::open(&config, &bundle).map_err(|e| failed(&e))?;
    let machine = loaded.machine(&config);
    let file = args.out.clone().unwrap_or_else(|| Profile::path(&bundle.dir, &machine));
    // What can't be written is better known before the work than after.
    Profile::prepare(&file).map_err(|e| failed(&e))?;
    let profile = measure(args, &config, &bundle, &mut loaded, machine)?;
    profile.write(&file).map_err(|e| failed(&e))?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&profile)?),
        false => print(&profile),
    }
    eprintln!("written: {}", file.display());
    Ok(())
}

/// The configuration with the arguments laid over.
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
        Some(batch) => Err(CliError::Usage(format!("--batch is {batch}, must be 1 to {most} (`engine.slots`)"))),
        None => Ok(config),
    }
}

fn measure(
    args: &ProfileArgs,
    config: &Config,
    bundle: &Bundle,
    loaded: &mut Loaded,
    machine: Machine,
) -> Result<Profile, CliError> {
    let (engine, manifest) = (&config.engine, &bundle.manifest);
    let batches = if args.batch.is_empty() { engine.batches(machine.provider) } else { args.batch.clone() };
    let cells = Cells::new(loaded.network.form(), &batches, &images(manifest));
    let bar = progress("measuring", cells.ticks() as u64);
    let budget = Duration::from_secs_f64(args.seconds);
    let measured = cells.measure(&mut loaded.network, manifest.input.len(), budget, || bar.inc(1));
    bar.finish_and_clear();
    let measured = measured.map_err(|e| CliError::Failed(e.to_string()))?;
    Ok(Profile {
        format: 1,
        bundle: BundleFiles::of(manifest),
        date: jiff::Timestamp::now().to_string(),
        buckets: engine.buckets(machine.provider),
        preferred_batch: engine.preferred_batch(machine.provider),
        machine,
        stages: measured.stages,
        confirm: measured.confirm,
    })
}

/// How many images the tests have that the last stage is measured at: a few, up to the most that the bundle was calibrated for.
fn images(manifest: &Manifest) -> Vec<usize> {
    let largest = manifest.calibration.iter().map(|c| c.arity).max().unwrap_or(1);
    [1, 4, 16].into_iter().filter(|&arity| arity < largest).chain([largest]).collect()
}

fn print(profile: &Profile) {
    let (bundle, machine) = (&profile.bundle, &profile.machine);
    let threads = match machine.threads {
        0 => String::new(),
        threads => format!(", {threads} threads"),
    };
    println!(
        "{} {} on {} ({}, {} cores{threads}), ONNX Runtime {}\n",
        bundle.name, bundle.version, machine.device, machine.provider, machine.cores, machine.onnxruntime
    );
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["stage", "arity", "rows", "ms a run", "10 to 90 %", "µs a row", "MACs a row", "GMAC/s"]);
    for (part, measured) in profile.parts() {
        for point in &measured.measured {
            table.add_row(row(&part.to_string(), measured, point));
        }
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
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
        // A pixel network's stage 0 only keeps the images.
        if part.macs == 0 { "-".into() } else { format!("{:.1}", macs / seconds.median / 1e9) },
    ]
}

/// A count with three digits and its prefix.
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
        let counts = [0, 999, 95_648, 4_672_640, 46_964_992, 385_000_000, 1_200_000_000].map(scaled);
        assert_eq!(counts, ["-", "999", "95.6 k", "4.67 M", "47.0 M", "385 M", "1.20 G"]);
    }
}
