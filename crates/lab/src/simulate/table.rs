//! The report for people.

use comfy_table::CellAlignment;

use super::super::table::{percent, table};
use super::{Line, Report, Share};

/// The table.
pub(super) fn print(report: &Report) {
    let configured = report.configured.as_deref();
    println!("{}: a simulated stream, cost in per cent of individual testing\n", report.bundle);
    let mut header = vec!["hour", "prevalence", "estimate", "plan", "changes", "cost", "recall", "best plan", "cost"];
    let title = configured.map(|plan| format!("{plan}: cost"));
    header.extend(title.as_deref());
    header.extend(configured.map(|_| "recall"));
    let mut rows = table(&header);
    for line in &report.hours {
        let mut row = vec![
            line.hour.to_string(),
            percent(line.prevalence, 2),
            percent(line.estimate, 2),
            line.plan.clone(),
            line.changes.to_string(),
            percent(line.auto.cost, 1),
            recall([&line.auto]),
            line.best_plan.clone(),
            percent(line.best_cost, 1),
        ];
        if let Some(share) = &line.configured {
            row.extend([percent(share.cost, 1), recall([share])]);
        }
        rows.add_row(row);
    }
    for (i, column) in rows.column_iter_mut().enumerate() {
        if i != 3 && i != 7 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{rows}\n");
    let mean = |of: fn(&Line) -> f64| report.hours.iter().map(of).sum::<f64>() / report.hours.len() as f64;
    let whole = recall(report.hours.iter().map(|line| &line.auto));
    println!("auto: {} of individual testing, recall {whole}", percent(mean(|line| line.auto.cost), 1));
    println!("best plan of each hour: {}", percent(mean(|line| line.best_cost), 1));
    if let Some(plan) = configured {
        let cost = mean(|line| line.configured.as_ref().map_or(0.0, |share| share.cost));
        let whole = recall(report.hours.iter().filter_map(|line| line.configured.as_ref()));
        println!("{plan}: {}, recall {whole}", percent(cost, 1));
    }
    if !report.bands.is_empty() {
        let cost = mean(|line| line.by_risk.as_ref().map_or(0.0, |share| share.cost));
        let whole = recall(report.hours.iter().filter_map(|line| line.by_risk.as_ref()));
        println!("auto, pooled by risk: {}, recall {whole}\n", percent(cost, 1));
        bands(report);
    }
    println!("{:.1} million images a second", report.images_per_second / 1e6);
}

fn bands(report: &Report) {
    let mut rows = table(&["risk from", "images", "positive", "plan", "cost"]);
    for band in &report.bands {
        let prevalence = percent(band.prevalence, 3);
        let share = percent(band.share, 2);
        rows.add_row([band.least.to_string(), share, prevalence, band.plan.clone(), percent(band.cost, 1)]);
    }
    for column in [0, 1, 2, 4] {
        if let Some(column) = rows.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{rows}\n");
}

fn recall<'a>(shares: impl IntoIterator<Item = &'a Share>) -> String {
    let (mut found, mut positives) = (0, 0);
    for share in shares {
        found += share.found;
        positives += share.positives;
    }
    if positives == 0 { "-".into() } else { percent(found as f64 / positives as f64, 2) }
}
