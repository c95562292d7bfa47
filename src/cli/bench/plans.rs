//! `group.size: auto` beside fixed plans, on the same images in the same run.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use comfy_table::CellAlignment;
use dorfman_core::engine::Verdict;
use dorfman_lab::table::{percent, table};
use dorfman_model::Bundle;
use dorfman_model::cpu::process_time;

use super::super::CliError;
use super::super::demo::{self, DemoArgs, data};
use super::super::local_run::LocalRun;
use super::super::progress::progress;
use crate::config::Config;
use crate::config::group::GroupSize;
use crate::item::FinishedItem;
use crate::worker::Model;

/// Group sizes with the chains of their retests.
const FIXED: &[(usize, &[usize])] =
    &[(8, &[4, 2]), (8, &[2]), (16, &[4]), (16, &[8, 4, 2]), (32, &[4]), (32, &[16, 8, 4, 2])];

/// Shares of positive images.
const PREVALENCES: &[f64] = &[0.001, 0.01];

/// Repetitions of the test set's negatives, each with other positives.
const PASSES: u64 = 4;

/// A plan with its measurements.
struct PlanRuns {
    name: String,
    config: Config,
    /// Images per second, by round.
    rates: Vec<f64>,
    /// CPU microseconds of the process per image, by round.
    cpu: Vec<f64>,
    found: usize,
    flagged: usize,
    /// Whether the worker found a profile of this device. `auto` then plans by the seconds of the
    /// profile.
    profiled: bool,
}

pub(super) fn run(bundle: &Path, rounds: usize) -> Result<(), CliError> {
    let args = DemoArgs { bundle: bundle.to_owned(), ..DemoArgs::defaults()? };
    for &prevalence in PREVALENCES {
        let (locations, positives) = images(&DemoArgs { prevalence, ..args.clone() })?;
        let mut entries = entries(&args)?;
        let bar = progress("plans", (entries.len() * rounds) as u64);
        for round in 0..rounds {
            // Each round begins with another plan, because the first run of a round may be slower.
            for i in 0..entries.len() {
                let entry = (i + round) % entries.len();
                pass(&mut entries[entry], &locations, &positives)?;
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        print(prevalence, locations.len(), &positives, &entries);
    }
    Ok(())
}

/// The files of the stream, and the positive files.
fn images(args: &DemoArgs) -> Result<(Vec<String>, HashSet<String>), CliError> {
    std::fs::create_dir_all(&args.out)?;
    let bundle = Bundle::open(&args.bundle).map_err(|e| CliError::Failed(e.to_string()))?;
    let mut locations = Vec::new();
    let mut positives = HashSet::new();
    for pass in 0..PASSES {
        for item in data::prepare(&DemoArgs { seed: args.seed + pass, ..args.clone() }, &bundle)? {
            let location = item.path.to_string_lossy().into_owned();
            if item.positive {
                positives.insert(location.clone());
            }
            locations.push(location);
        }
    }
    Ok((locations, positives))
}

fn entries(args: &DemoArgs) -> Result<Vec<PlanRuns>, CliError> {
    let mut configs = Vec::new();
    let base = demo::base(args)?;
    let mut auto = base.clone();
    auto.group.size = GroupSize::Auto;
    configs.push(auto);
    for &(size, chain) in FIXED {
        let mut fixed = base.clone();
        fixed.group.size = GroupSize::Fixed(size);
        fixed.retest.chain = chain.to_vec();
        configs.push(fixed);
    }
    let entry = |config: Config| {
        config.validate()?;
        Ok(PlanRuns {
            name: config.describe_plan()?,
            config,
            rates: Vec::new(),
            cpu: Vec::new(),
            found: 0,
            flagged: 0,
            profiled: false,
        })
    };
    configs.into_iter().map(entry).collect()
}

/// Runs the stream once.
fn pass(
    entry: &mut PlanRuns,
    locations: &[String],
    positives: &HashSet<String>,
) -> Result<(), CliError> {
    let model = Model::open(&entry.config)?;
    entry.profiled = model.profile.is_some();
    let local = LocalRun::start(&entry.config, model, locations.to_vec())?;
    let start = Instant::now();
    let cpu = process_time();
    entry.found = 0;
    entry.flagged = 0;
    for item in local.finished.iter().flatten() {
        match item {
            FinishedItem::Verdict(verdict) => {
                if matches!(verdict.verdict, Verdict::Flagged(_)) {
                    entry.flagged += 1;
                    entry.found += usize::from(positives.contains(&verdict.payload.reference.id));
                }
                verdict.payload.origin.ticket.resolve();
            }
            FinishedItem::DeadLetter { origin, .. } => origin.ticket.resolve(),
        }
    }
    let images = locations.len() as f64;
    entry.rates.push(images / start.elapsed().as_secs_f64());
    entry.cpu.push(1e6 * (process_time() - cpu).as_secs_f64() / images);
    local.finish()?;
    Ok(())
}

fn print(prevalence: f64, images: usize, positives: &HashSet<String>, entries: &[PlanRuns]) {
    let rates: Vec<f64> = entries.iter().map(|entry| median(&entry.rates)).collect();
    let cpu: Vec<f64> = entries.iter().map(|entry| median(&entry.cpu)).collect();
    let fastest = rates[1..].iter().copied().fold(0.0, f64::max);
    let least = cpu[1..].iter().copied().fold(f64::INFINITY, f64::min);
    let rounds = entries[0].rates.len();
    let by = if entries[0].profiled {
        "the seconds of `dorfman profile`"
    } else {
        "multiply-adds, because there is no profile of this device"
    };
    println!(
        "auto and fixed plans, {images} images, {} positive, median of {rounds}; auto plans by \
         {by}:",
        percent(prevalence, 1)
    );
    let columns = [
        "plan",
        "images/s",
        "of best fixed",
        "CPU us per image",
        "of best fixed",
        "flagged",
        "correctly",
    ];
    let mut rows = table(&columns);
    for (entry, (rate, cpu)) in entries.iter().zip(rates.into_iter().zip(cpu)) {
        rows.add_row([
            entry.name.clone(),
            format!("{rate:.0}"),
            percent(rate / fastest, 1),
            format!("{cpu:.0}"),
            percent(cpu / least, 1),
            entry.flagged.to_string(),
            entry.found.to_string(),
        ]);
    }
    for column in rows.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!(
        "{rows}\n{} different positives; target: auto at least 95 % of the images/s of the best fixed \
         plan\n",
        positives.len()
    );
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
