//! `dorfman replay`: the worker's policies over recorded scores, and what they find and cost.

mod args;
mod halvings;
mod table;

use super::CliError;
use crate::replay::{Archive, PREVALENCE_PERCENT, RecordedPlan, Row, SEEDS, table1};
pub(super) use args::ReplayArgs;
use table::Line;

pub(super) fn run(args: &ReplayArgs) -> Result<(), CliError> {
    if args.policy.is_some() {
        return halvings::run(args);
    }
    let rows = rows(args)?;
    if args.json {
        let lines: Vec<Line> = rows.iter().map(Line::from).collect();
        println!("{}", serde_json::to_string_pretty(&lines)?);
        return Ok(());
    }
    println!("{}", table::rows(&rows));
    println!(
        "\nRecall and, in brackets, its 95 % interval (Wilson). Relative: TMAC over those of testing every image alone."
    );
    println!("{}", args.accounting().describe());
    Ok(())
}

fn rows(args: &ReplayArgs) -> Result<Vec<Row>, CliError> {
    let archive = Archive::open(&args.data)?;
    let accounting = args.accounting().into();
    let Some(folder) = &args.folder else {
        let [first, second] = SEEDS.map(|seed| archive.recording(archive.folder_of(PREVALENCE_PERCENT, seed)?));
        return Ok(table1(&first?, &second?, accounting)?);
    };
    let recording = archive.recording(folder.trim_end_matches('/'))?;
    let plan = RecordedPlan::new(&recording, &args.chain, args.design.as_deref(), &args.thresholds()?)?;
    Ok(vec![Row::replay(&plan, accounting)?])
}
