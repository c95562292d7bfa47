//! `dorfman replay --policy planned`: policies fitted on one half of the groups and judged on the other.

use comfy_table::{Table, presets};
use serde::Serialize;

use super::super::CliError;
use super::args::ReplayArgs;
use super::table::{align_right, percent, thousands, word};
use crate::interval::wilson;
use crate::replay::{Archive, Fitted, HALVED, Halved, SEEDS, TestKind, halve};

/// A row of `--json`.
#[derive(Debug, Serialize)]
struct Line {
    folder: String,
    policy: &'static str,
    /// Of the planned policy.
    worth: Option<f64>,
    /// Of the chain.
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

impl Line {
    fn new(folder: &str, halved: Halved) -> Self {
        let (tests, gmac) = halved.per_halving();
        let (worth, margin) = match halved.fitted {
            Fitted::Worth(worth) => (Some(worth), None),
            Fitted::Margin(margin) => (None, Some(margin)),
        };
        let (row, n) = (halved.row, halved.positives as f64);
        Self {
            folder: folder.to_owned(),
            policy: word(row.algorithm),
            worth,
            margin,
            design: row.design,
            m: row.size,
            plan: row.plan,
            halvings: halved.halvings,
            positives: halved.positives,
            recall: row.summary.recall(),
            // Halvings judge the same positives again and again: there are no more of them than there are.
            recall_interval: wilson(row.summary.recall() * n, n),
            fpr: row.summary.fpr(),
            tests,
            tmac: gmac / 1e3,
            relative: row.summary.relative(),
            floor: halved.floor,
        }
    }

    fn named(&self) -> String {
        match (self.worth, self.margin) {
            (Some(worth), _) => format!("{}, worth {worth}", self.policy),
            (_, Some(margin)) => format!("{}, margin {margin}", self.policy),
            _ => self.policy.to_owned(),
        }
    }
}

pub(super) fn run(args: &ReplayArgs) -> Result<(), CliError> {
    let lines = lines(args)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
        return Ok(());
    }
    println!("{}", table(&lines));
    println!(
        "\nMeans over {} halvings: fitted on half of the groups, judged on the other half. Recall of the positives there and, in brackets, its \
         95 % interval (Wilson) for as many as the folder has.",
        args.halvings
    );
    println!("Margin: log odds. Worth: individual tests. Floor: the same groups with tests that are right.");
    println!("{}", args.accounting().describe());
    Ok(())
}

fn lines(args: &ReplayArgs) -> Result<Vec<Line>, CliError> {
    let archive = Archive::open(&args.data)?;
    let fitted = args.fitted()?;
    let mut lines = Vec::new();
    let mut add = |folder: &str, chain: &[TestKind], design: Option<&str>| -> Result<(), CliError> {
        let recording = archive.recording(folder)?;
        for &fitted in &fitted {
            let draws = (args.halvings, args.seed);
            let halved = halve(&recording, chain, design, fitted, args.accounting().into(), draws)?;
            lines.push(Line::new(folder, halved));
        }
        Ok(())
    };
    if let Some(folder) = &args.folder {
        add(folder.trim_end_matches('/'), &args.chain, args.design.as_deref())?;
        return Ok(lines);
    }
    for (prevalence_percent, design, sizes) in HALVED {
        let chain: Vec<TestKind> = sizes.iter().map(|&size| TestKind { design: None, size }).collect();
        add(archive.folder_of(prevalence_percent, SEEDS[0])?, &chain, Some(design))?;
    }
    Ok(lines)
}

fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["folder", "plan", "policy", "recall (95 %)", "FPR", "tests", "TMAC", "relative", "floor"]);
    for line in lines {
        let [low, high] = line.recall_interval.map(|share| 100.0 * share);
        table.add_row([
            line.folder.clone(),
            line.plan.clone(),
            line.named(),
            format!("{:.2} % of {} ({low:.1} to {high:.1} %)", 100.0 * line.recall, line.positives),
            format!("{:.3} %", 100.0 * line.fpr),
            thousands(line.tests.round() as u64),
            format!("{:.1}", line.tmac),
            percent(line.relative),
            percent(line.floor),
        ]);
    }
    align_right(&mut table, [3, 4, 5, 6, 7, 8]);
    table
}
