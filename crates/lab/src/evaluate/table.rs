//! The report for people.

use comfy_table::{CellAlignment, Table};

pub(super) use super::super::table::percent;
use super::super::table::table;
use super::Report;
use super::estimate::Rate;
use super::judge::BundleLine;
use super::row::Row;

/// The tables.
pub(super) fn print(report: &Report, by_class: bool) {
    let data = &report.data;
    println!("{}: {} positives, {} negatives", data.path, data.positives, data.negatives);
    for missing in &data.undecodable {
        println!("not decoded: {}: {}", missing.image, missing.reason);
    }
    for b in &report.bundles {
        let (network, decode) = (1e3 * b.network_seconds_per_image, b.decode_ms_per_image);
        let (name, design, stages) = (&b.bundle, b.design, b.stages);
        println!(
            "{name}: {design}, {stages} stages; an image alone takes {network:.3} ms in the network, decoding {decode:.3} ms of CPU"
        );
    }
    println!("\n{}", rows(report));
    println!("\nSensitivity: of pooled tests, of individual tests, of the confirm network, by the calibration.");
    println!("MACs, network and wall: per cent of individual testing with the same network, decoding apart.");
    if !by_class {
        return;
    }
    for row in &report.rows {
        println!("\n{}", title(&report.bundles, row));
        println!("{}", classes(row));
        if !row.by_source.is_empty() {
            println!("\n{}", sources(row));
        }
    }
}

fn rows(report: &Report) -> Table {
    let header = [
        "bundle",
        "prevalence",
        "plan",
        "sensitivity",
        "recall (95 %)",
        "FPR (95 %)",
        "individual recall",
        "individual FPR",
        "tests an image by round",
        "MACs",
        "network",
        "wall",
    ];
    let mut table = table(&header);
    for r in &report.rows {
        let (first, later) = r.tests_by_round.split_at(r.tests_by_round.len().min(ROUNDS));
        let mut rounds: Vec<String> = first.iter().map(|t| format!("{t:.4}")).collect();
        if !later.is_empty() {
            rounds.push(format!("{:.4} later", later.iter().sum::<f64>()));
        }
        if r.case.sensitivities.confirm.is_some() {
            rounds.push(format!("{:.4} confirm", r.confirm_tests_per_image));
        }
        table.add_row([
            short(&report.bundles, &r.case.bundle).to_owned(),
            percent(r.case.prevalence, 2),
            r.case.plan.clone(),
            r.case.sensitivities.describe(),
            interval(&r.recall),
            interval(&r.fpr),
            value(&r.individual_recall),
            value(&r.individual_fpr),
            format!("{:.4} = {}", r.tests_per_image, rounds.join(" + ")),
            percent(r.relative_macs, 1),
            percent(r.relative_network_seconds, 1),
            percent(r.relative_wall_seconds, 1),
        ]);
    }
    table.column_iter_mut().skip(4).for_each(|c| c.set_cell_alignment(CellAlignment::Right));
    table
}

/// Rounds that have a figure of their own.
const ROUNDS: usize = 6;

fn classes(row: &Row) -> Table {
    let mut table = table(&["class", "", "images", "flagged (95 %)", "individual"]);
    for c in &row.by_class {
        let side = if c.positive { "positive" } else { "negative" };
        let (flagged, alone) = (interval(&c.flagged), value(&c.individual));
        table.add_row([c.class.clone(), side.to_owned(), c.images.to_string(), flagged, alone]);
    }
    table
}

fn sources(row: &Row) -> Table {
    let mut table = table(&["source", "recall (95 %)", "individual recall", "FPR (95 %)", "individual FPR"]);
    for s in &row.by_source {
        let (recall, fpr) = (interval(&s.recall), interval(&s.fpr));
        table.add_row([s.source.clone(), recall, value(&s.individual_recall), fpr, value(&s.individual_fpr)]);
    }
    table
}

fn title(bundles: &[BundleLine], row: &Row) -> String {
    let case = &row.case;
    let (bundle, plan, p) = (short(bundles, &case.bundle), &case.plan, percent(case.prevalence, 2));
    format!("{bundle}, {plan}, prevalence {p}, sensitivity {}:", case.sensitivities.describe())
}

/// A bundle's own name, or its folder where another one is called the same.
pub(super) fn short<'a>(bundles: &'a [BundleLine], folder: &'a str) -> &'a str {
    let Some(line) = bundles.iter().find(|b| b.bundle == folder) else { return folder };
    let alike = bundles.iter().any(|b| b.bundle != folder && b.name == line.name);
    if alike { folder } else { &line.name }
}

fn value(rate: &Rate) -> String {
    rate.value.map_or_else(|| "-".into(), |v| percent(v, 2))
}

fn interval(rate: &Rate) -> String {
    format!("{} ({:.2} to {:.2})", value(rate), 100.0 * rate.low, 100.0 * rate.high)
}
