//! What planning for oneself costs: `group.size: auto` against fixed plans, on the same images in the same run.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use comfy_table::CellAlignment;

use super::super::CliError;
use super::super::demo::{self, DemoArgs, data};
use super::super::local::Local;
use super::super::progress::progress;
use super::super::table::{percent, table};
use crate::config::Config;
use crate::config::group::GroupSize;
use crate::cpu::process_time;
use crate::engine::Verdict;
use crate::model::Bundle;
use crate::sink::Ending;
use crate::worker::Model;

/// Group sizes with their chains, as a configuration can have them.
const FIXED: &[(usize, &[usize])] =
    &[(8, &[4, 2]), (8, &[2]), (16, &[4]), (16, &[8, 4, 2]), (32, &[4]), (32, &[16, 8, 4, 2])];

/// Shares of positives.
const PREVALENCES: &[f64] = &[0.001, 0.01];

/// Times that the test set's negatives are run through, each time with other positives.
const PASSES: u64 = 4;

/// A way to plan and what it came to.
struct Entry {
    name: String,
    config: Config,
    /// Images a second, by round.
    rates: Vec<f64>,
    /// CPU microseconds an image of the whole process, by round.
    cpu: Vec<f64>,
    found: usize,
    flagged: usize,
    /// Whether the worker found the device's profile, by whose seconds auto plans.
    profiled: bool,
}

pub(super) fn run(bundle: &Path, rounds: usize) -> Result<(), CliError> {
    let args = DemoArgs { bundle: bundle.to_owned(), ..DemoArgs::defaults()? };
    for &prevalence in PREVALENCES {
        let (locations, positives) = images(&DemoArgs { prevalence, ..args.clone() })?;
        let mut entries = entries(&args)?;
        let bar = progress("plans", (entries.len() * rounds) as u64);
        for round in 0..rounds {
            // Each round begins with another plan, so that none is always the first.
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

/// The stream's files, and which of them are positive.
fn images(args: &DemoArgs) -> Result<(Vec<String>, HashSet<String>), CliError> {
    std::fs::create_dir_all(&args.out)?;
    let bundle = Bundle::open(&args.bundle).map_err(|e| CliError::Failed(e.to_string()))?;
    let (mut locations, mut positives) = (Vec::new(), HashSet::new());
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

fn entries(args: &DemoArgs) -> Result<Vec<Entry>, CliError> {
    let mut configs = Vec::new();
    let base = demo::base(args)?;
    let mut auto = base.clone();
    auto.group.size = GroupSize::Auto;
    configs.push(auto);
    for &(size, chain) in FIXED {
        let mut fixed = base.clone();
        (fixed.group.size, fixed.retest.chain) = (GroupSize::Of(size), chain.to_vec());
        configs.push(fixed);
    }
    let entry = |config: Config| {
        config.validate()?;
        Ok(Entry {
            name: config.plan_in_words()?,
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
fn pass(entry: &mut Entry, locations: &[String], positives: &HashSet<String>) -> Result<(), CliError> {
    let model = Model::open(&entry.config)?;
    entry.profiled = model.profile.is_some();
    let local = Local::start(&entry.config, model, locations.to_vec())?;
    let (start, cpu) = (Instant::now(), process_time());
    (entry.found, entry.flagged) = (0, 0);
    for ending in local.endings.iter().flatten() {
        match ending {
            Ending::Judged(judged) => {
                if matches!(judged.verdict, Verdict::Flagged(_)) {
                    entry.flagged += 1;
                    entry.found += usize::from(positives.contains(&judged.payload.reference.id));
                }
                judged.payload.origin.ticket.resolve();
            }
            Ending::Dead { origin, .. } => origin.ticket.resolve(),
        }
    }
    let images = locations.len() as f64;
    entry.rates.push(images / start.elapsed().as_secs_f64());
    entry.cpu.push(1e6 * (process_time() - cpu).as_secs_f64() / images);
    local.finish()?;
    Ok(())
}

fn print(prevalence: f64, images: usize, positives: &HashSet<String>, entries: &[Entry]) {
    let rates: Vec<f64> = entries.iter().map(|entry| median(&entry.rates)).collect();
    let cpu: Vec<f64> = entries.iter().map(|entry| median(&entry.cpu)).collect();
    let (fastest, least) =
        (rates[1..].iter().copied().fold(0.0, f64::max), cpu[1..].iter().copied().fold(f64::INFINITY, f64::min));
    let rounds = entries[0].rates.len();
    let by = match entries[0].profiled {
        true => "the seconds of `dorfman profile`",
        false => "multiply-adds, since there is no profile of this device",
    };
    println!(
        "auto against fixed plans, {images} images, {} positive, median of {rounds}; auto plans by {by}:",
        percent(prevalence, 1)
    );
    let columns =
        ["plan", "images/s", "of the best fixed", "CPU us an image", "of the best fixed", "flagged", "rightly"];
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
        "{rows}\n{} different positives; goal: auto at least 95 % of the best fixed plan's images/s\n",
        positives.len()
    );
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
