//! The results of the two runs, as a table and as JSON.

use comfy_table::CellAlignment;
use dorfman_core::interval::wilson;
use dorfman_lab::table::{percent, table};
use serde::Serialize;

use super::stream::{RunMeasurement, Stream};

/// The results of both runs.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Items in the stream.
    pub items: usize,
    /// Positive items in the stream.
    pub positives: usize,
    /// The run with groups.
    pub grouped: Run,
    /// The run with individual testing.
    pub individual: Run,
    /// Multiply-adds of the grouped run, divided by those of the individual run.
    pub relative_macs: f64,
    /// Network seconds of the grouped run, divided by those of the individual run.
    pub relative_network_seconds: f64,
}

/// The results of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
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
    /// Tests in each round.
    pub tests_by_round: Vec<u64>,
    /// Multiply-adds.
    pub macs: u64,
    /// Seconds in the network.
    pub network_seconds: f64,
    /// Images per second, from the first message to the last verdict.
    pub images_per_second: f64,
    /// The measurement.
    #[serde(skip)]
    pub measured: RunMeasurement,
}

impl Run {
    /// Compares the flags of a run with the truth.
    pub fn new(stream: &Stream, (plan, measured): (String, RunMeasurement)) -> Self {
        let positives = stream.items().iter().filter(|i| i.positive).count();
        let negatives = stream.items().len() - positives;
        let positive = |id: &str| stream.item(id).is_some_and(|item| item.positive);
        let hits = measured.flagged.iter().filter(|flag| positive(&flag.id)).count();
        Self {
            plan,
            flagged: measured.flagged.len(),
            recall: share(hits, positives),
            recall_interval: wilson(hits as f64, positives as f64),
            fpr: share(measured.flagged.len() - hits, negatives),
            tests_by_round: measured.stats.tests_by_round.clone(),
            macs: measured.stats.macs(),
            network_seconds: measured.stats.network_seconds(),
            images_per_second: stream.items().len() as f64 / measured.seconds,
            measured,
        }
    }
}

impl Report {
    /// The results of both runs.
    pub fn new(stream: &Stream, grouped: Run, individual: Run) -> Self {
        Self {
            items: stream.items().len(),
            positives: stream.items().iter().filter(|i| i.positive).count(),
            relative_macs: grouped.macs as f64 / individual.macs as f64,
            relative_network_seconds: grouped.network_seconds / individual.network_seconds,
            grouped,
            individual,
        }
    }

    /// The results as a table.
    pub fn table(&self) -> String {
        let mut table = table(&["", "grouped", "individual"]);
        let items = format!("{} ({} positive)", self.items, self.positives);
        table.add_row(["items".to_owned(), items.clone(), items]);
        for (name, value) in ROWS {
            table.add_row([
                (*name).to_owned(),
                value(self, &self.grouped),
                value(self, &self.individual),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    /// `relative` for the grouped run, 1 for the individual run.
    fn relative(&self, run: &Run, relative: f64) -> String {
        let is_grouped = std::ptr::eq(run, &raw const self.grouped);
        percent(if is_grouped { relative } else { 1.0 }, 2)
    }
}

type Row = (&'static str, fn(&Report, &Run) -> String);

const ROWS: &[Row] = &[
    ("plan", |_, run| run.plan.clone()),
    ("flagged", |_, run| run.flagged.to_string()),
    ("recall", |_, run| percent(run.recall, 2)),
    ("  95 % interval", |_, run| {
        let [low, high] = run.recall_interval;
        format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high)
    }),
    ("false positive rate", |_, run| percent(run.fpr, 2)),
    ("tests by round", |_, run| {
        run.tests_by_round.iter().map(u64::to_string).collect::<Vec<_>>().join(" + ")
    }),
    ("tests per image", |report, run| {
        format!("{:.3}", run.tests_by_round.iter().sum::<u64>() as f64 / report.items as f64)
    }),
    ("MACs", |_, run| format!("{:.2} T", run.macs as f64 / 1e12)),
    ("  relative", |report, run| report.relative(run, report.relative_macs)),
    ("network seconds", |_, run| format!("{:.2}", run.network_seconds)),
    ("  relative", |report, run| report.relative(run, report.relative_network_seconds)),
    ("images/s", |_, run| format!("{:.0}", run.images_per_second)),
];

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}
