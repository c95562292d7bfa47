//! The report for people.

use std::fmt::Write;

use comfy_table::Table;

use super::EvaluateReport;
use super::estimate::Rate;
use super::opening::BundleSummary;
use super::row::ReportRow;
use crate::table::{align_right_from, percent, table};

/// Rounds that have a figure of their own. Later rounds are added up.
const ROUNDS: usize = 6;

/// The tables with their notes.
pub(super) fn text(report: &EvaluateReport, by_class: bool) -> String {
    let mut text = head(report);
    let _ = write!(
        text,
        "\n{}\n\nSensitivity: of pooled tests, of individual tests, of the confirm network, by the \
         calibration.\nMACs, network and wall: per cent of individual testing with the same \
         network, without decoding. Expected: the MACs that the planner expects of its plans.",
        rows(report)
    );
    if !by_class {
        return text;
    }
    for row in &report.rows {
        let _ = write!(text, "\n\n{}\n{}", title(&report.bundles, row), classes(row));
        if !row.by_source.is_empty() {
            let _ = write!(text, "\n\n{}", sources(row));
        }
    }
    text
}

/// The lines about the data and the bundles.
fn head(report: &EvaluateReport) -> String {
    let data = &report.data;
    let mut text =
        format!("{}: {} positives, {} negatives\n", data.path, data.positives, data.negatives);
    for missing in &data.undecodable {
        let _ = writeln!(text, "not decoded: {}: {}", missing.image, missing.reason);
    }
    for b in &report.bundles {
        let _ = writeln!(
            text,
            "{}: {}, {} stages; one image alone takes {:.3} ms in the network; decoding takes \
             {:.3} ms of CPU per image",
            b.bundle,
            b.design,
            b.stages,
            1e3 * b.network_seconds_per_image,
            b.decode_ms_per_image
        );
    }
    text
}

fn rows(report: &EvaluateReport) -> Table {
    let header = [
        "bundle",
        "prevalence",
        "plan",
        "sensitivity",
        "recall (95 %)",
        "FPR (95 %)",
        "individual recall",
        "individual FPR",
        "tests per image by round",
        "MACs",
        "expected",
        "network",
        "wall",
    ];
    let mut table = table(&header);
    for row in &report.rows {
        table.add_row([
            short(&report.bundles, &row.case.bundle).to_owned(),
            percent(row.case.prevalence, 2),
            row.case.plan.clone(),
            row.case.sensitivities.describe(),
            interval(&row.recall),
            interval(&row.fpr),
            value(&row.individual_recall),
            value(&row.individual_fpr),
            tests(row),
            percent(row.relative_macs, 1),
            row.expected_relative_macs.map_or_else(String::new, |macs| percent(macs, 1)),
            percent(row.relative_network_seconds, 1),
            percent(row.relative_wall_seconds, 1),
        ]);
    }
    align_right_from(&mut table, 4);
    table
}

/// Tests per image: the sum, and its parts by round.
fn tests(row: &ReportRow) -> String {
    let (first, later) = row.tests_by_round.split_at(row.tests_by_round.len().min(ROUNDS));
    let mut rounds: Vec<String> = first.iter().map(|tests| format!("{tests:.4}")).collect();
    if !later.is_empty() {
        rounds.push(format!("{:.4} later", later.iter().sum::<f64>()));
    }
    if row.case.sensitivities.confirm.is_some() {
        rounds.push(format!("{:.4} confirm", row.confirm_tests_per_image));
    }
    format!("{:.4} = {}", row.tests_per_image, rounds.join(" + "))
}

fn classes(row: &ReportRow) -> Table {
    let mut table = table(&["class", "", "images", "flagged (95 %)", "individual"]);
    for c in &row.by_class {
        let kind = if c.positive { "positive" } else { "negative" };
        let (flagged, individual) = (interval(&c.flagged), value(&c.individual));
        let images = c.images.to_string();
        table.add_row([c.class.clone(), kind.to_owned(), images, flagged, individual]);
    }
    table
}

fn sources(row: &ReportRow) -> Table {
    let header = ["source", "recall (95 %)", "individual recall", "FPR (95 %)", "individual FPR"];
    let mut table = table(&header);
    for s in &row.by_source {
        table.add_row([
            s.source.clone(),
            interval(&s.recall),
            value(&s.individual_recall),
            interval(&s.fpr),
            value(&s.individual_fpr),
        ]);
    }
    table
}

fn title(bundles: &[BundleSummary], row: &ReportRow) -> String {
    let case = &row.case;
    format!(
        "{}, {}, prevalence {}, sensitivity {}:",
        short(bundles, &case.bundle),
        case.plan,
        percent(case.prevalence, 2),
        case.sensitivities.describe()
    )
}

/// A bundle's name, or its folder if another bundle has the same name.
pub(super) fn short<'a>(bundles: &'a [BundleSummary], folder: &'a str) -> &'a str {
    let Some(bundle) = bundles.iter().find(|b| b.bundle == folder) else { return folder };
    let ambiguous = bundles.iter().any(|b| b.bundle != folder && b.name == bundle.name);
    if ambiguous { folder } else { &bundle.name }
}

fn value(rate: &Rate) -> String {
    rate.value.map_or_else(|| "-".into(), |value| percent(value, 2))
}

fn interval(rate: &Rate) -> String {
    format!("{} ({:.2} to {:.2})", value(rate), 100.0 * rate.low, 100.0 * rate.high)
}
