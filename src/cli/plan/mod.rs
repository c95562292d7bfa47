//! `dorfman plan`: the cheapest plan for a prevalence, and what to expect of it.

mod args;
mod picture;
mod row;
mod table;

use std::path::Path;

use serde::Serialize;

use super::CliError;
use crate::model::{Bundle, Profile};
use crate::planner::{Planner, StageCosts};
pub(super) use args::PlanArgs;
use args::Request;
pub(super) use row::configured;
use row::{Basis, Row};

/// The report.
#[derive(Debug, Serialize)]
struct Report {
    /// Name and version of the bundle.
    bundle: String,
    /// What is minimised.
    cost: Unit,
    /// What the plans may lose, as a share of all positives.
    recall_loss: f64,
    /// What individual tests are set to find.
    individual_sensitivity: f64,
    /// By prevalence.
    rows: Vec<Row>,
}

/// What plans are the least of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    /// Multiply-adds.
    Macs,
    /// Seconds of the profile.
    Seconds,
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
    let planner = Planner::new(answers, costs, request.wanted).map_err(wrong)?;
    let basis = Basis { planner, macs };
    let rows = args.prevalence.iter().map(|&p| basis.row(p, chain.as_deref())).collect();
    let report = Report {
        bundle: format!("{} {}", bundle.manifest.name, bundle.manifest.version),
        cost: if args.profile.is_some() { Unit::Seconds } else { Unit::Macs },
        recall_loss: request.wanted.recall_loss,
        individual_sensitivity: request.wanted.individual_sensitivity,
        rows,
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
