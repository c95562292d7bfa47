//! Rows of a replay for people and for programs.

use comfy_table::Table;
use dorfman_core::cost::Accounting;
use dorfman_core::interval::wilson;
use serde::Serialize;

use super::{Algorithm, FittedPolicy, Halved, ReplayRow, Summary};
use crate::table::{align_right, percent, table};

/// A row of a plan as JSON. Recall, FPR and relative cost are shares, 0 to 1.
#[derive(Debug, Serialize)]
pub struct ReplayLine<'a> {
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

impl<'a> From<&'a ReplayRow> for ReplayLine<'a> {
    fn from(row: &'a ReplayRow) -> Self {
        let s = &row.summary;
        Self {
            algorithm: name(row.algorithm),
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

/// A row of a fitted policy as JSON. Recall, FPR, relative cost and floor are shares, 0 to 1.
#[derive(Debug, Serialize)]
pub struct HalvedLine {
    folder: String,
    policy: &'static str,
    /// The worth of a positive, for the planned policy.
    worth: Option<f64>,
    /// The margin of the thresholds, for a chain.
    margin: Option<f64>,
    design: Option<String>,
    m: usize,
    plan: String,
    halvings: u64,
    positives: u64,
    recall: f64,
    recall_interval: [f64; 2],
    fpr: f64,
    tests: f64,
    tmac: f64,
    relative: f64,
    floor: f64,
}

impl HalvedLine {
    /// The row of a policy that was fitted on a folder.
    pub fn new(folder: &str, halved: Halved) -> Self {
        let (tests, gmac) = halved.per_halving();
        let (worth, margin) = match halved.fitted {
            FittedPolicy::Worth(worth) => (Some(worth), None),
            FittedPolicy::Margin(margin) => (None, Some(margin)),
        };
        let (row, n) = (halved.row, halved.positives as f64);
        Self {
            folder: folder.to_owned(),
            policy: name(row.algorithm),
            worth,
            margin,
            design: row.design,
            m: row.size,
            plan: row.plan,
            halvings: halved.halvings,
            positives: halved.positives,
            recall: row.summary.recall(),
            // The halvings test the same positives again and again, so n is the number of different
            // positives.
            recall_interval: wilson(row.summary.recall() * n, n),
            fpr: row.summary.fpr(),
            tests,
            tmac: gmac / 1e3,
            relative: row.summary.relative(),
            floor: halved.floor,
        }
    }

    fn policy(&self) -> String {
        match (self.worth, self.margin) {
            (Some(worth), _) => format!("{}, worth {worth}", self.policy),
            (_, Some(margin)) => format!("{}, margin {margin}", self.policy),
            _ => self.policy.to_owned(),
        }
    }
}

/// The table of plans, with notes.
pub fn replay_table(rows: &[ReplayRow], accounting: Accounting) -> String {
    format!(
        "{}\n\nRecall and, in brackets, its 95 % interval (Wilson). Relative: TMAC relative to \
         testing every image alone.\n{}",
        plans(rows),
        accounting_note(accounting)
    )
}

/// The table of fitted policies over `halvings` halvings, with notes.
pub fn halved_table(lines: &[HalvedLine], halvings: u64, accounting: Accounting) -> String {
    format!(
        "{}\n\nMeans over {halvings} halvings: fitted on half of the groups, tested on the other \
         half. Recall of the positives in the tested half and, in brackets, its 95 % interval \
         (Wilson) for the number of positives in the folder.\nMargin: log odds. Worth: individual \
         tests. Floor: the same groups with tests that are never wrong.\n{}",
        policies(lines),
        accounting_note(accounting)
    )
}

/// The note about the accounting below a table.
pub fn accounting_note(accounting: Accounting) -> &'static str {
    match accounting {
        Accounting::Paper => {
            "Accounting of the paper: every retest reuses features, also those that another \
             checkpoint computed."
        }
        Accounting::Honest => "Honest accounting: stages that were not cached are charged.",
    }
}

fn plans(rows: &[ReplayRow]) -> Table {
    let header =
        ["algorithm", "design", "M", "plan", "recall (95 %)", "FPR", "tests", "TMAC", "relative"];
    let mut table = table(&header);
    for row in rows {
        let s = &row.summary;
        table.add_row([
            numbered(row.algorithm),
            row.design.clone().unwrap_or_default(),
            row.size.to_string(),
            row.plan.clone(),
            recall(s),
            share(s.fpr()),
            thousands(s.tests),
            format!("{:.1}", s.tmac()),
            share(s.relative()),
        ]);
    }
    align_right(&mut table, [2, 4, 5, 6, 7, 8]);
    table
}

fn policies(lines: &[HalvedLine]) -> Table {
    let header =
        ["folder", "plan", "policy", "recall (95 %)", "FPR", "tests", "TMAC", "relative", "floor"];
    let mut table = table(&header);
    for line in lines {
        let [low, high] = line.recall_interval.map(|share| 100.0 * share);
        let recall = 100.0 * line.recall;
        table.add_row([
            line.folder.clone(),
            line.plan.clone(),
            line.policy(),
            format!("{recall:.2} % of {} ({low:.1} to {high:.1} %)", line.positives),
            format!("{:.3} %", 100.0 * line.fpr),
            thousands(line.tests.round() as u64),
            format!("{:.1}", line.tmac),
            share(line.relative),
            share(line.floor),
        ]);
    }
    align_right(&mut table, [3, 4, 5, 6, 7, 8]);
    table
}

/// The name of an algorithm, as the worker's configuration spells it.
fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Individual => "individual",
        Algorithm::TwoRound => "two-round",
        Algorithm::MultiRound => "multi-round",
        Algorithm::OneRound => "one-round",
        Algorithm::Planned => "planned",
    }
}

/// The name with the paper's number.
fn numbered(algorithm: Algorithm) -> String {
    let number = match algorithm {
        Algorithm::Individual | Algorithm::Planned => "",
        Algorithm::TwoRound => "1 ",
        Algorithm::MultiRound => "2 ",
        Algorithm::OneRound => "3 ",
    };
    format!("{number}{}", name(algorithm))
}

fn recall(s: &Summary) -> String {
    let [low, high] = wilson(s.found as f64, s.positives as f64);
    format!("{}/{} ({:.1} to {:.1} %)", s.found, s.positives, 100.0 * low, 100.0 * high)
}

/// A share in per cent. A dash for NaN: the share of an empty set.
fn share(share: f64) -> String {
    if share.is_nan() { "-".into() } else { percent(share, 2) }
}

/// A count with a comma after every three digits, as the paper prints counts.
fn thousands(n: u64) -> String {
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
    fn the_share_of_an_empty_set_is_a_dash() {
        assert_eq!((share(f64::NAN), share(0.0018)), ("-".to_owned(), "0.18 %".to_owned()));
    }
}
