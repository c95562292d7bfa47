//! `dorfman scan`: scores files or URLs, without Kafka, with the stages of the worker.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::Receiver;
use dorfman_core::engine::{ItemVerdict, NetworkPart, Verdict};
use dorfman_model::image_files;
use serde::Serialize;

use super::CliError;
use super::local_run::LocalRun;
use super::progress::progress;
use crate::config::Config;
use crate::config::group::GroupSize;
use crate::failure::Failure;
use crate::item::{FinishedItem, Item};
use crate::ops::logging;
use crate::sink::message::LabelScore;
use crate::sink::records::verdict_name;
use crate::worker::{Model, Report};
use dorfman_lab::table::table;

/// Arguments of `scan`.
#[derive(Debug, Args)]
pub(super) struct ScanArgs {
    /// A folder (searched for .jpg, .jpeg, .png, .webp, .gif, .avif, .bmp, .tif, .tiff), or a file with
    /// one path or URL per line.
    path: PathBuf,
    /// A configuration file. Its sections fetch, decode, group, retest, engine and model are used.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The bundle, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The group size, instead of the configured one. 1: every image is tested alone.
    #[arg(long, value_name = "M")]
    group_size: Option<usize>,
    /// Print one JSON object per image and line instead of the table.
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
    /// The frame of an animation whose verdict decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u32>,
    /// Frames of the animation.
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<u32>,
    /// Whether the file ends early.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
    /// The exit that cleared the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl<'a> Line<'a> {
    /// The labels with their scores, and the frame of an animation, in words.
    fn scores(&self) -> String {
        let label = |l: &LabelScore| format!("{} {:.3}", l.label, l.score);
        let labels: Vec<String> = self.labels.iter().map(label).collect();
        let mut scores = labels.join(", ");
        if let (Some(frame), Some(frames)) = (self.frame, self.frames) {
            scores += &format!(" (frame {} of {frames})", frame + 1);
        }
        if self.incomplete {
            scores += " (the file ends early)";
        }
        scores
    }

    /// The line of an image without a score or a reason.
    fn failed(id: &'a str) -> Self {
        Self {
            id,
            verdict: "failed",
            labels: Vec::new(),
            score: None,
            confirm_score: None,
            arity: 0,
            tests: 0,
            frame: None,
            frames: None,
            incomplete: false,
            exit: None,
            reason: None,
            detail: None,
        }
    }
}

/// The verdicts in sum.
#[derive(Debug, Default)]
struct Tally {
    verdicts: BTreeMap<&'static str, u64>,
    flagged: Vec<(String, String)>,
    failures: Vec<(String, Failure)>,
    /// Images that exits cleared.
    by_exits: u64,
}

impl Tally {
    /// Adds an item's failure, and resolves its ticket.
    fn finish(&mut self, item: FinishedItem) {
        match item {
            FinishedItem::Verdict(verdict) => {
                let Item { reference, origin, .. } = verdict.payload;
                if let Verdict::Failed(error) = verdict.verdict {
                    self.failures.push((reference.id, Failure::from(error)));
                }
                origin.ticket.resolve();
            }
            FinishedItem::DeadLetter { origin, reference, failure, .. } => {
                let id = reference.map(|r| r.id).unwrap_or_default();
                self.failures.push((id, failure));
                origin.ticket.resolve();
            }
        }
    }
}

pub(super) fn run(args: &ScanArgs) -> Result<(), CliError> {
    let config = config(args)?;
    logging::init(&config.logging).map_err(|e| CliError::Usage(e.to_string()))?;
    let locations = image_files::find(&args.path).map_err(|e| CliError::Usage(e.to_string()))?;
    let locations: Vec<String> = locations.into_iter().map(absolute).collect();
    let model = Model::open(&config)?;
    let labels = model.labels.clone();
    let total = locations.len();
    let local = LocalRun::start(&config, model, locations)?;
    let start = Instant::now();
    let tally = collect(&local.finished, &labels, total, args.json)?;
    let report = local.finish()?;
    if !args.json {
        print(&tally, &report, total, start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The configuration, changed by the arguments. Without roots, the folder is the root.
fn config(args: &ScanArgs) -> Result<Config, CliError> {
    let mut config = super::configuration(args.config.as_deref(), "logging: {level: warn}")?;
    if let Some(bundle) = &args.bundle {
        config.model.bundle.clone_from(bundle);
    }
    if let Some(size) = args.group_size {
        config.group.size = GroupSize::Fixed(size);
    }
    if config.fetch.roots.is_empty() {
        // A list on the command line may name files in any folder.
        let root = if args.path.is_dir() { args.path.canonicalize()? } else { PathBuf::from("/") };
        config.fetch.roots = vec![root];
    }
    // A scan has an end: the images of a host that is down fail instead of waiting for it.
    config.fetch.outage_limit.get_or_insert(Duration::ZERO);
    config.validate()?;
    Ok(config)
}

/// Absolute paths for paths; URLs are unchanged.
fn absolute(location: String) -> String {
    if location.contains("://") {
        return location;
    }
    let path = std::path::absolute(&location).unwrap_or_else(|_| PathBuf::from(&location));
    // Links are resolved, because the fetcher compares resolved paths with the roots.
    path.canonicalize().unwrap_or(path).to_string_lossy().into_owned()
}

fn collect(
    finished: &Receiver<Vec<FinishedItem>>,
    labels: &[String],
    total: usize,
    json: bool,
) -> Result<Tally, CliError> {
    let bar = progress("scanning", total as u64);
    let mut tally = Tally::default();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for item in finished.iter().flatten() {
        bar.inc(1);
        let line = describe(&item, labels);
        *tally.verdicts.entry(line.verdict).or_default() += 1;
        tally.by_exits += u64::from(line.verdict == "cleared" && line.exit.is_some());
        if json {
            serde_json::to_writer(&mut out, &line)?;
            writeln!(out)?;
        } else if !line.labels.is_empty() {
            tally.flagged.push((line.id.to_owned(), line.scores()));
        }
        tally.finish(item);
    }
    out.flush()?;
    bar.finish_and_clear();
    Ok(tally)
}

fn describe<'a>(item: &'a FinishedItem, labels: &[String]) -> Line<'a> {
    match item {
        FinishedItem::DeadLetter { reference, failure, .. } => {
            let id = reference.as_ref().map_or("", |r| &r.id);
            let detail = Some(failure.detail.clone());
            Line { reason: Some(failure.reason.code()), detail, ..Line::failed(id) }
        }
        FinishedItem::Verdict(verdict) => describe_verdict(verdict, labels),
    }
}

fn describe_verdict<'a>(verdict: &'a ItemVerdict<Item>, labels: &[String]) -> Line<'a> {
    let file = verdict.payload.file;
    let frames = (file.frames > 1).then_some(file.frames);
    let mut line = Line {
        frame: frames.map(|_| file.frame),
        frames,
        incomplete: file.incomplete,
        verdict: verdict_name(&verdict.verdict),
        score: (!verdict.score.is_nan()).then_some(verdict.score),
        confirm_score: verdict.confirm_score,
        arity: verdict.arity,
        tests: verdict.tests,
        exit: verdict.exit.map(NetworkPart::name),
        ..Line::failed(&verdict.payload.reference.id)
    };
    match &verdict.verdict {
        Verdict::Flagged(passed) => {
            let label = |&(c, score): &(usize, f32)| LabelScore { label: labels[c].clone(), score };
            line.labels = passed.iter().map(label).collect();
        }
        Verdict::Failed(error) => {
            let failure = Failure::from(*error);
            line.reason = Some(failure.reason.code());
            line.detail = Some(failure.detail);
        }
        Verdict::Cleared => {}
    }
    line
}

fn print(tally: &Tally, report: &Report, total: usize, seconds: f64) {
    let Report { plan, stats, screen } = report;
    let mut table = table(&["flagged image", "label and score"]);
    for (id, labels) in &tally.flagged {
        table.add_row([id, labels]);
    }
    if !tally.flagged.is_empty() {
        println!("{table}\n");
    }
    for (id, failure) in &tally.failures {
        println!("failed: {id}: {failure}");
    }
    let by_round =
        if stats.tests_by_round.is_empty() { vec![0] } else { stats.tests_by_round.clone() };
    let by_round: Vec<String> = by_round.iter().map(u64::to_string).collect();
    let count = |verdict| tally.verdicts.get(verdict).copied().unwrap_or(0);
    let by_exits = match tally.by_exits {
        0 => String::new(),
        cleared => format!(" ({cleared} by exits)"),
    };
    println!(
        "plan: {plan}\n\
         {total} images in {seconds:.1} s ({:.0}/s): {} flagged, {} cleared{by_exits}, {} failed; \
         {} tests ({} by round, {} by the confirm network), {:.2} s in the network",
        total as f64 / seconds,
        count("flagged"),
        count("cleared"),
        count("failed"),
        stats.tests(),
        by_round.join(" + "),
        stats.confirm_tests,
        stats.network_seconds() + screen.stage.seconds,
    );
}
