//! The report for people.

use std::fmt::Write;

use comfy_table::Table;

use super::{HourResult, HourRow, SimulateReport};
use crate::table::{align_right, percent, table};

/// The tables with their notes.
pub(super) fn text(report: &SimulateReport) -> String {
    let mut text = format!(
        "{}: a simulated stream, cost in per cent of individual testing\n\n{}\n\n{}",
        report.bundle,
        hours(report),
        means(report)
    );
    if !report.bands.is_empty() {
        let _ = write!(text, "\n{}\n\n", bands(report));
    }
    let _ =
        write!(text, "Simulated {:.1} million images per second.", report.images_per_second / 1e6);
    text
}

fn hours(report: &SimulateReport) -> Table {
    let configured = report.configured.as_deref();
    let mut header = vec![
        "hour",
        "prevalence",
        "estimate",
        "plan",
        "changes",
        "cost",
        "recall",
        "best plan",
        "cost",
    ];
    let title = configured.map(|plan| format!("{plan}: cost"));
    header.extend(title.as_deref());
    header.extend(configured.map(|_| "recall"));
    let mut table = table(&header);
    for row in &report.hours {
        let mut cells = vec![
            row.hour.to_string(),
            percent(row.prevalence, 2),
            percent(row.estimate, 2),
            row.plan.clone(),
            row.changes.to_string(),
            percent(row.auto.cost, 1),
            recall([&row.auto]),
            row.best_plan.clone(),
            percent(row.best_cost, 1),
        ];
        if let Some(result) = &row.configured {
            cells.extend([percent(result.cost, 1), recall([result])]);
        }
        table.add_row(cells);
    }
    align_right(&mut table, [0, 1, 2, 4, 5, 6, 8, 9, 10]);
    table
}

/// The means over all hours, one line per plan.
fn means(report: &SimulateReport) -> String {
    let count = report.hours.len() as f64;
    let best = report.hours.iter().map(|row| row.best_cost).sum::<f64>() / count;
    let mut text = format!(
        "auto: {} of individual testing, recall {}\nbest plan of each hour: {}\n",
        mean_cost(report, |row| Some(&row.auto)),
        whole_recall(report, |row| Some(&row.auto)),
        percent(best, 1)
    );
    if let Some(plan) = &report.configured {
        let cost = mean_cost(report, |row| row.configured.as_ref());
        let recall = whole_recall(report, |row| row.configured.as_ref());
        let _ = writeln!(text, "{plan}: {cost}, recall {recall}");
    }
    if !report.bands.is_empty() {
        let cost = mean_cost(report, |row| row.by_risk.as_ref());
        let recall = whole_recall(report, |row| row.by_risk.as_ref());
        let _ = writeln!(text, "auto, pooled by risk: {cost}, recall {recall}");
    }
    text
}

/// The mean cost per hour relative to individual testing.
fn mean_cost(report: &SimulateReport, of: fn(&HourRow) -> Option<&HourResult>) -> String {
    let costs = report.hours.iter().map(|row| of(row).map_or(0.0, |result| result.cost));
    percent(costs.sum::<f64>() / report.hours.len() as f64, 1)
}

/// The recall over all hours.
fn whole_recall(report: &SimulateReport, of: fn(&HourRow) -> Option<&HourResult>) -> String {
    recall(report.hours.iter().filter_map(of))
}

fn bands(report: &SimulateReport) -> Table {
    let mut table = table(&["risk from", "images", "positive", "plan", "cost"]);
    for band in &report.bands {
        table.add_row([
            band.least.to_string(),
            percent(band.share, 2),
            percent(band.prevalence, 3),
            band.plan.clone(),
            percent(band.cost, 1),
        ]);
    }
    align_right(&mut table, [0, 1, 2, 4]);
    table
}

/// The recall of some hours together. A dash without positives.
fn recall<'a>(results: impl IntoIterator<Item = &'a HourResult>) -> String {
    let (mut found, mut positives) = (0, 0);
    for result in results {
        found += result.found;
        positives += result.positives;
    }
    if positives == 0 { "-".into() } else { percent(found as f64 / positives as f64, 2) }
}
