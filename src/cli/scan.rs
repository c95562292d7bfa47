//! `dorfman scan`: files or URLs instead of Kafka, the same engine and policies.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use comfy_table::{Table, presets};
use crossbeam_channel::Receiver;
use serde::Serialize;

use super::CliError;
use super::local::Local;
use super::progress::progress;
use crate::config::Config;
use crate::config::group::GroupSize;
use crate::engine::{Stats, Verdict};
use crate::message::Failure;
use crate::ops::logging;
use crate::sink::Ending;
use crate::sink::message::{LabelScore, word};
use crate::source::files;
use crate::worker::Model;

/// Arguments of `scan`.
#[derive(Debug, Args)]
pub(super) struct ScanArgs {
    /// A folder (searched for .jpg, .jpeg, .png, .webp, .gif), or a file with a path or URL a line.
    path: PathBuf,
    /// A configuration file; its sections fetch, decode, group, retest, engine and model count here.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The bundle, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The group size, instead of the configured one; 1 tests every image alone.
    #[arg(long, value_name = "M")]
    group_size: Option<usize>,
    /// A JSON object a line on standard output, for every image, instead of the table.
    #[arg(long)]
    json: bool,
}

/// A line of `--json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<LabelScore>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_score: Option<f32>,
    arity: u8,
    tests: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// What the verdicts came to.
#[derive(Debug, Default)]
struct Tally {
    verdicts: BTreeMap<&'static str, u64>,
    flagged: Vec<(String, String)>,
    failures: Vec<(String, Failure)>,
}

pub(super) fn run(args: &ScanArgs) -> Result<(), CliError> {
    let config = config(args)?;
    logging::init(&config.logging).map_err(|e| CliError::Usage(e.to_string()))?;
    let locations = files::find(&args.path).map_err(CliError::Usage)?;
    let locations: Vec<String> = locations.into_iter().map(absolute).collect();
    let model = Model::open(&config)?;
    let (labels, total) = (model.labels.clone(), locations.len());
    let local = Local::start(&config, model, locations)?;
    let start = Instant::now();
    let tally = collect(&local.endings, &labels, total, args.json)?;
    let report = local.finish()?;
    if !args.json {
        print(&tally, &report.stats, total, start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The configuration with the arguments laid over; without a file, the folder itself is the root.
fn config(args: &ScanArgs) -> Result<Config, CliError> {
    let mut config = super::configuration(args.config.as_deref(), "logging: {level: warn}")?;
    if let Some(bundle) = &args.bundle {
        config.model.bundle.clone_from(bundle);
    }
    if let Some(size) = args.group_size {
        config.group.size = GroupSize::Of(size);
    }
    if config.fetch.roots.is_empty() {
        // Who names a list on the command line may read what it lists.
        let root = if args.path.is_dir() { args.path.canonicalize()? } else { PathBuf::from("/") };
        config.fetch.roots = vec![root];
    }
    config.validate()?;
    Ok(config)
}

/// URLs as they are, paths from the root.
fn absolute(location: String) -> String {
    if location.contains("://") {
        return location;
    }
    let path = std::path::absolute(&location).unwrap_or_else(|_| PathBuf::from(&location));
    // Links in the way to the folder itself are resolved, so that it lies below its own root.
    path.canonicalize().unwrap_or(path).to_string_lossy().into_owned()
}

fn collect(endings: &Receiver<Vec<Ending>>, labels: &[String], total: usize, json: bool) -> Result<Tally, CliError> {
    let bar = progress("scanning", total as u64);
    let mut tally = Tally::default();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for ending in endings.iter().flatten() {
        bar.inc(1);
        let line = describe(&ending, labels);
        *tally.verdicts.entry(line.verdict).or_default() += 1;
        if json {
            serde_json::to_writer(&mut out, &line)?;
            writeln!(out)?;
        } else if !line.labels.is_empty() {
            let names: Vec<String> = line.labels.iter().map(|l| format!("{} {:.3}", l.label, l.score)).collect();
            tally.flagged.push((line.id.to_owned(), names.join(", ")));
        }
        match ending {
            Ending::Judged(judged) => {
                if let Verdict::Failed(failure) = judged.verdict {
                    tally.failures.push((judged.payload.reference.id, failure));
                }
                judged.payload.origin.ticket.resolve();
            }
            Ending::Dead { origin, reference, failure, .. } => {
                let id = reference.map(|r| r.id).unwrap_or_default();
                tally.failures.push((id, failure));
                origin.ticket.resolve();
            }
        }
    }
    out.flush()?;
    bar.finish_and_clear();
    Ok(tally)
}

fn describe<'a>(ending: &'a Ending, labels: &[String]) -> Line<'a> {
    let nothing = |id| Line {
        id,
        verdict: "failed",
        labels: vec![],
        score: None,
        confirm_score: None,
        arity: 0,
        tests: 0,
        reason: None,
        detail: None,
    };
    match ending {
        Ending::Dead { reference, failure, .. } => {
            let id = reference.as_ref().map_or("", |r| &r.id);
            Line { reason: Some(failure.reason.code()), detail: Some(&failure.detail), ..nothing(id) }
        }
        Ending::Judged(judged) => {
            let mut line = nothing(&judged.payload.reference.id);
            line.verdict = word(&judged.verdict);
            line.score = (!judged.score.is_nan()).then_some(judged.score);
            (line.confirm_score, line.arity, line.tests) = (judged.confirm_score, judged.arity, judged.tests);
            match &judged.verdict {
                Verdict::Flagged(passed) => {
                    line.labels =
                        passed.iter().map(|&(c, score)| LabelScore { label: labels[c].clone(), score }).collect();
                }
                Verdict::Failed(failure) => {
                    (line.reason, line.detail) = (Some(failure.reason.code()), Some(failure.detail.as_str()));
                }
                Verdict::Cleared => {}
            }
            line
        }
    }
}

fn print(tally: &Tally, stats: &Stats, total: usize, seconds: f64) {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["flagged image", "label and score"]);
    for (id, labels) in &tally.flagged {
        table.add_row([id, labels]);
    }
    if !tally.flagged.is_empty() {
        println!("{table}\n");
    }
    for (id, failure) in &tally.failures {
        println!("failed: {id}: {failure}");
    }
    let count = |verdict| tally.verdicts.get(verdict).copied().unwrap_or(0);
    println!(
        "{total} images in {seconds:.1} s ({:.0}/s): {} flagged, {} cleared, {} failed; {} tests {:?}, {:.2} s in the network",
        total as f64 / seconds,
        count("flagged"),
        count("cleared"),
        count("failed"),
        stats.tests(),
        stats.tests_by_round,
        stats.network_seconds(),
    );
}
