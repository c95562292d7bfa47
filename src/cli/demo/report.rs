//! What the two runs came to: numbers, a table, JSON.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::stream::{Measured, Stream};
use crate::interval::wilson;

/// Both runs side by side.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Items in the stream.
    pub items: usize,
    /// Positives among them.
    pub positives: usize,
    /// The run in groups.
    pub grouped: Run,
    /// The run that tests every image alone.
    pub individual: Run,
    /// Multiply-adds, grouped over individual.
    pub relative_macs: f64,
    /// Seconds in the network, grouped over individual.
    pub relative_network_seconds: f64,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// The plan in words.
    pub plan: String,
    /// Images flagged, rightly or not.
    pub flagged: usize,
    /// Share of positives that were flagged.
    pub recall: f64,
    /// Its 95 % interval (Wilson).
    pub recall_interval: [f64; 2],
    /// Share of negatives that were flagged.
    pub fpr: f64,
    /// Tests in each round.
    pub tests_by_round: Vec<u64>,
    /// Multiply-adds.
    pub macs: u64,
    /// Seconds in the network.
    pub network_seconds: f64,
    /// Images a second, from the first message to the last verdict.
    pub images_per_second: f64,
    /// What was measured beside it.
    #[serde(skip)]
    pub measured: Measured,
}

impl Run {
    /// Judges a run by the truth.
    pub fn new(stream: &Stream, (plan, measured): (String, Measured)) -> Self {
        let positives = stream.items().iter().filter(|i| i.positive).count();
        let negatives = stream.items().len() - positives;
        let hits = measured.flagged.iter().filter(|f| stream.item(&f.id).is_some_and(|i| i.positive)).count();
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
    /// Sets the runs against each other.
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

    /// The table for people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let percent = |x: f64| format!("{:.2} %", 100.0 * x);
        let (g, i) = (&self.grouped, &self.individual);
        table.set_header(["", "grouped", "individual"]);
        let row = |name: &str, f: &dyn Fn(&Run) -> String| [name.to_owned(), f(g), f(i)];
        let items = format!("{} ({} positive)", self.items, self.positives);
        table.add_row(["items".to_owned(), items.clone(), items]);
        table.add_row(row("plan", &|r| r.plan.clone()));
        table.add_row(row("flagged", &|r| r.flagged.to_string()));
        table.add_row(row("recall", &|r| percent(r.recall)));
        table.add_row(row("  95 % interval", &|r| {
            format!("{:.1} to {:.1} %", 100.0 * r.recall_interval[0], 100.0 * r.recall_interval[1])
        }));
        table.add_row(row("false positive rate", &|r| percent(r.fpr)));
        table.add_row(row("tests by round", &|r| {
            r.tests_by_round.iter().map(u64::to_string).collect::<Vec<_>>().join(" + ")
        }));
        table.add_row(row("tests an image", &|r| {
            format!("{:.3}", r.tests_by_round.iter().sum::<u64>() as f64 / self.items as f64)
        }));
        table.add_row(row("MACs", &|r| format!("{:.2} T", r.macs as f64 / 1e12)));
        table.add_row(["  relative".to_owned(), percent(self.relative_macs), percent(1.0)]);
        table.add_row(row("network seconds", &|r| format!("{:.2}", r.network_seconds)));
        table.add_row(["  relative".to_owned(), percent(self.relative_network_seconds), percent(1.0)]);
        table.add_row(row("images/s", &|r| format!("{:.0}", r.images_per_second)));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}
