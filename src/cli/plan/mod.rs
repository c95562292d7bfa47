//! `dorfman plan`: the cheapest plan for a prevalence, and what to expect of it.

mod args;
mod picture;
mod row;
mod table;

use std::path::Path;

use serde::Serialize;

use super::CliError;
use crate::model::{Bundle, Profile};
use crate::planner::StageCosts;
pub(super) use args::PlanArgs;
use args::Request;
pub(super) use row::configured;
use row::{Basis, Row};

/// The report.
#[derive(Debug, Serialize)]
struct Report {
    /// Name and version of the bundle.
    bundle: String,
    /// What is minimised: `macs`, or `seconds` of the profile.
    cost: &'static str,
    /// What the plans may lose, as a share of all positives.
    recall_loss: f64,
    /// What individual tests are set to find.
    individual_sensitivity: f64,
    /// By prevalence.
    rows: Vec<Row>,
}

pub(super) fn run(args: &PlanArgs) -> Result<(), CliError> {
    let request = Request::new(args)?;
    let bundle = Bundle::open(&args.bundle).map_err(|e| CliError::Usage(e.to_string()))?;
    let wrong = |what| CliError::Usage(format!("bundle {}: calibration: {what}", args.bundle.display()));
    let (answers, macs) = (bundle.answers().map_err(wrong)?, bundle.mac_costs());
    let chain = configured(&answers, &request.config);
    let costs = match &args.profile {
        Some(file) => seconds(&bundle, file)?,
        None => macs.clone(),
    };
    let basis = Basis { answers, costs, macs, wanted: request.wanted };
    let rows: Result<Vec<Row>, CliError> = args.prevalence.iter().map(|&p| basis.row(p, chain.as_deref())).collect();
    let report = Report {
        bundle: format!("{} {}", bundle.manifest.name, bundle.manifest.version),
        cost: if args.profile.is_some() { "seconds" } else { "macs" },
        recall_loss: request.wanted.recall_loss,
        individual_sensitivity: request.wanted.individual_sensitivity,
        rows: rows?,
    };
    if let Some(file) = &args.picture {
        let svg = picture::draw(&report.bundle, &basis, &args.prevalence, chain.as_deref())?;
        std::fs::write(file, svg).map_err(|e| CliError::Failed(format!("{}: {e}", file.display())))?;
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => table::print(&report),
    }
    Ok(())
}

/// The costs by a profile.
fn seconds(bundle: &Bundle, file: &Path) -> Result<StageCosts, CliError> {
    let profile = Profile::of(bundle, file).map_err(|e| CliError::Usage(e.to_string()))?;
    let lacks = || CliError::Usage(format!("{}: lacks a stage of the bundle", file.display()));
    bundle.second_costs(&profile).ok_or_else(lacks)
}
