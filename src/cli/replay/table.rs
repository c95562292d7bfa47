//! Rows for people and for programs.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::interval::wilson;
use crate::replay::{Algorithm, Row, Summary};

/// A row of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    algorithm: &'static str,
    design: Option<&'a str>,
    m: usize,
    plan: &'a str,
    positives: u64,
    recall: f64,
    recall_interval: [f64; 2],
    fpr: f64,
    tests: u64,
    tmac: f64,
    relative: f64,
}

impl<'a> From<&'a Row> for Line<'a> {
    fn from(row: &'a Row) -> Self {
        let s = &row.summary;
        Self {
            algorithm: word(row.algorithm),
            design: row.design.as_deref(),
            m: row.size,
            plan: &row.plan,
            positives: s.positives,
            recall: s.recall(),
            recall_interval: wilson(s.found as f64, s.positives as f64),
            fpr: s.fpr(),
            tests: s.tests,
            tmac: s.tmac(),
            relative: s.relative(),
        }
    }
}

/// The table.
pub(super) fn rows(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["algorithm", "design", "M", "plan", "recall (95 %)", "FPR", "tests", "TMAC", "relative"]);
    for row in rows {
        let s = &row.summary;
        table.add_row([
            numbered(row.algorithm),
            row.design.clone().unwrap_or_default(),
            row.size.to_string(),
            row.plan.clone(),
            recall(s),
            percent(s.fpr()),
            thousands(s.tests),
            format!("{:.1}", s.tmac()),
            percent(s.relative()),
        ]);
    }
    align_right(&mut table, [2, 4, 5, 6, 7, 8]);
    table
}

/// Numbers are read from the right.
pub(super) fn align_right<const N: usize>(table: &mut Table, columns: [usize; N]) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The worker's word.
pub(super) fn word(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Individual => "individual",
        Algorithm::TwoRound => "two-round",
        Algorithm::MultiRound => "multi-round",
        Algorithm::OneRound => "one-round",
        Algorithm::Planned => "planned",
    }
}

/// The word with the paper's number.
fn numbered(algorithm: Algorithm) -> String {
    let number = match algorithm {
        Algorithm::Individual | Algorithm::Planned => "",
        Algorithm::TwoRound => "1 ",
        Algorithm::MultiRound => "2 ",
        Algorithm::OneRound => "3 ",
    };
    format!("{number}{}", word(algorithm))
}

fn recall(s: &Summary) -> String {
    let [low, high] = wilson(s.found as f64, s.positives as f64);
    format!("{}/{} ({:.1} to {:.1} %)", s.found, s.positives, 100.0 * low, 100.0 * high)
}

/// In per cent; a dash for a share of nothing.
pub(super) fn percent(share: f64) -> String {
    if share.is_nan() { "-".into() } else { format!("{:.2} %", 100.0 * share) }
}

/// With a comma every three digits, as the paper prints counts.
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas() {
        let counts = [0, 999, 1000, 48_800, 1_234_567].map(thousands);
        assert_eq!(counts, ["0", "999", "1,000", "48,800", "1,234,567"]);
    }

    #[test]
    fn a_share_of_nothing_is_a_dash() {
        assert_eq!((percent(f64::NAN), percent(0.0018)), ("-".to_owned(), "0.18 %".to_owned()));
    }
}
