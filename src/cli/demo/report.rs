//! The results of the runs, as a table and as JSON.

use comfy_table::CellAlignment;
use dorfman_core::interval::wilson;
use dorfman_lab::table::{percent, table};
use serde::Serialize;

use super::stream::{RunMeasurement, Stream};

/// The results of all runs.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Items in the stream.
    pub items: usize,
    /// Positive items in the stream.
    pub positives: usize,
    /// The runs. The first one tests every image alone.
    pub runs: Vec<Run>,
}

/// The results of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// individual, pooled or best.
    pub name: &'static str,
    /// The plan in words.
    pub plan: String,
    /// Images flagged, positive or negative.
    pub flagged: usize,
    /// Share of positives that were flagged.
    pub recall: f64,
    /// The 95 % interval of `recall` (Wilson).
    pub recall_interval: [f64; 2],
    /// Share of negatives that were flagged.
    pub fpr: f64,
    /// The exits that cleared images, in the order in which an image meets them.
    pub exits: Vec<ExitResult>,
    /// Tests in each round.
    pub tests_by_round: Vec<u64>,
    /// Multiply-adds.
    pub macs: u64,
    /// Multiply-adds, divided by those of the first run.
    pub relative_macs: f64,
    /// Seconds in the network.
    pub network_seconds: f64,
    /// Network seconds, divided by those of the first run.
    pub relative_network_seconds: f64,
    /// Images per second, from the first message to the last verdict.
    pub images_per_second: f64,
    /// CPU microseconds per image, by part of the worker.
    pub cpu: Vec<CpuPart>,
    /// The measurement.
    #[serde(skip)]
    pub measured: RunMeasurement,
}

/// What an exit did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExitResult {
    /// `screen`, or `exit 0` for the early exit of stage 0.
    pub exit: String,
    /// Images that it scored.
    pub scored: u64,
    /// Images that it cleared.
    pub cleared: u64,
}

/// The CPU time of a part of the worker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CpuPart {
    /// The part.
    pub part: &'static str,
    /// CPU microseconds per image.
    pub microseconds: f64,
}

impl Run {
    /// Compares the flags of a run with the truth.
    pub fn new(stream: &Stream, name: &'static str, measured: RunMeasurement) -> Self {
        let items = stream.items().len();
        let positives = stream.items().iter().filter(|i| i.positive).count();
        let positive = |id: &str| stream.item(id).is_some_and(|item| item.positive);
        let hits = measured.flagged.iter().filter(|flag| positive(&flag.id)).count();
        let (stats, screen) = (&measured.stats, &measured.screen);
        Self {
            name,
            plan: measured.plan.clone(),
            flagged: measured.flagged.len(),
            recall: share(hits, positives),
            recall_interval: wilson(hits as f64, positives as f64),
            fpr: share(measured.flagged.len() - hits, items - positives),
            exits: exits(&measured),
            tests_by_round: stats.tests_by_round.clone(),
            macs: stats.macs() + screen.stage.macs,
            relative_macs: 1.0,
            network_seconds: stats.network_seconds() + screen.stage.seconds,
            relative_network_seconds: 1.0,
            images_per_second: items as f64 / measured.seconds,
            cpu: cpu(&measured, items),
            measured,
        }
    }
}

/// The exits that scored images.
fn exits(measured: &RunMeasurement) -> Vec<ExitResult> {
    let screen = ("screen".to_owned(), measured.screen.exit);
    let stages = measured.stats.exits.iter().enumerate();
    let stages = stages.map(|(stage, exit)| (format!("exit {stage}"), *exit));
    let result = |(exit, stats): (String, dorfman_core::engine::ExitStats)| ExitResult {
        exit,
        scored: stats.scored,
        cleared: stats.cleared,
    };
    let all = std::iter::once(screen).chain(stages).map(result);
    all.filter(|exit| exit.scored > 0).collect()
}

/// CPU time of the worker by part, without the broker and the threads of the demo.
fn cpu(measured: &RunMeasurement, items: usize) -> Vec<CpuPart> {
    let m = measured;
    let thread = |name: &str| m.threads.get(name).copied().unwrap_or(0.0);
    let with_prefix = |prefix: &str| {
        let threads = m.threads.iter().filter(|(name, _)| name.starts_with(prefix));
        threads.map(|(_, cpu)| cpu).sum::<f64>()
    };
    let ingest = |name: &str| m.ingest.get(name).copied().unwrap_or(0.0);
    let (fetch, small, full) = (ingest("fetch"), ingest("screen"), ingest("decode"));
    let (engine, screen) = (m.stats.cpu_seconds(), m.screen.stage.cpu_seconds);
    let parts = [
        ("network", engine + screen + thread("onnxruntime")),
        ("decode for the screen", small),
        ("decode in full", full),
        ("fetch (files)", fetch),
        ("decode threads, other (queues)", (thread("decode") - small - full).max(0.0)),
        (
            "engine (grouping, policies, batching)",
            (thread("engine") + thread("screen") - engine - screen).max(0.0),
        ),
        ("source (poll, parse, offsets)", thread("source")),
        ("sink (records, reports)", thread("sink")),
        ("librdkafka", with_prefix("rdk:main") + with_prefix("rdk:broker")),
        ("io (requests, health, metrics)", (thread("io") - fetch).max(0.0)),
    ];
    let per_image = |seconds: f64| 1e6 * seconds / items.max(1) as f64;
    parts.map(|(part, seconds)| CpuPart { part, microseconds: per_image(seconds) }).into()
}

impl Report {
    /// The results of the runs. The first one is individual testing.
    pub fn new(stream: &Stream, mut runs: Vec<Run>) -> Self {
        let first = runs.first().map(|run| (run.macs as f64, run.network_seconds));
        if let Some((macs, seconds)) = first {
            for run in &mut runs {
                run.relative_macs = run.macs as f64 / macs;
                run.relative_network_seconds = run.network_seconds / seconds;
            }
        }
        Self {
            items: stream.items().len(),
            positives: stream.items().iter().filter(|i| i.positive).count(),
            runs,
        }
    }

    /// The run with a name.
    pub fn run(&self, name: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.name == name)
    }

    /// The results as a table.
    pub fn table(&self) -> String {
        let names = self.runs.iter().map(|run| run.name);
        let header: Vec<&str> = std::iter::once("").chain(names).collect();
        let mut table = table(&header);
        let mut add = |name: &str, value: &dyn Fn(&Run) -> String| {
            let cells = self.runs.iter().map(value);
            table.add_row(std::iter::once(name.to_owned()).chain(cells));
        };
        for (name, value) in ROWS {
            add(name, &|run| value(self, run));
        }
        for exit in self.exits() {
            add(&format!("  {exit}"), &|run| {
                let found = run.exits.iter().find(|found| found.exit == exit);
                found.map_or_else(String::new, |e| format!("{} of {}", e.cleared, e.scored))
            });
        }
        for (name, value) in COSTS {
            add(name, &|run| value(self, run));
        }
        for part in 0..self.runs.first().map_or(0, |run| run.cpu.len()) {
            let name = format!("  {}", self.runs[0].cpu[part].part);
            add(&name, &|run| format!("{:.1}", run.cpu[part].microseconds));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    /// The names of all exits that scored images in any run, in order.
    fn exits(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for exit in self.runs.iter().flat_map(|run| &run.exits) {
            if !names.contains(&exit.exit) {
                names.push(exit.exit.clone());
            }
        }
        names
    }
}

type Row = (&'static str, fn(&Report, &Run) -> String);

const ROWS: &[Row] = &[
    ("items", |report, _| format!("{} ({} positive)", report.items, report.positives)),
    ("plan", |_, run| run.plan.clone()),
    ("flagged", |_, run| run.flagged.to_string()),
    ("recall", |_, run| percent(run.recall, 2)),
    ("  95 % interval", |_, run| {
        let [low, high] = run.recall_interval;
        format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high)
    }),
    ("false positive rate", |_, run| percent(run.fpr, 2)),
    ("cleared by exits", |_, run| {
        run.exits.iter().map(|exit| exit.cleared).sum::<u64>().to_string()
    }),
];

const COSTS: &[Row] = &[
    ("tests by round", |_, run| {
        run.tests_by_round.iter().map(u64::to_string).collect::<Vec<_>>().join(" + ")
    }),
    ("tests per image", |report, run| {
        format!("{:.3}", run.tests_by_round.iter().sum::<u64>() as f64 / report.items as f64)
    }),
    ("MACs", |_, run| format!("{:.4} T", run.macs as f64 / 1e12)),
    ("  relative", |_, run| percent(run.relative_macs, 2)),
    ("network seconds", |_, run| format!("{:.2}", run.network_seconds)),
    ("  relative", |_, run| percent(run.relative_network_seconds, 2)),
    ("images/s", |_, run| format!("{:.0}", run.images_per_second)),
    ("CPU µs per image", |_, _| String::new()),
];

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}
