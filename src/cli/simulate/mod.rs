//! `dorfman simulate`: a day of a stream, and what plans cost and find in it.

mod args;
mod picture;
mod table;

use std::time::Instant;

use serde::Serialize;

use super::CliError;
use super::plan::configured;
use super::progress::progress;
use crate::config::Config;
use crate::config::retest::PolicyKind;
use crate::model::Bundle;
use crate::planner::{Choice, Coherence, Link, Pilot, Planner};
use crate::retest::Answers;
use crate::simulation::{Band, Hour, Planned, Steered, Stream, simulate};
use args::Request;
pub(super) use args::SimulateArgs;

/// The report.
#[derive(Debug, Serialize)]
struct Report {
    /// Name and version of the bundle.
    bundle: String,
    /// The configured plan, if it could be simulated.
    configured: Option<String>,
    /// What individual tests are set to find, as a share of the positives.
    individual_recall: f64,
    /// The bands of risk that the stream is pooled by, if risks come with it.
    bands: Vec<Part>,
    /// By hour.
    hours: Vec<Line>,
    /// Images simulated a second, both ways together.
    images_per_second: f64,
}

/// A band of risk.
#[derive(Debug, Serialize)]
struct Part {
    /// The least risk in it.
    least: f64,
    /// Share of the images.
    share: f64,
    /// Share of positives among them, but for bursts.
    prevalence: f64,
    /// The plan at the end.
    plan: String,
    /// Cost over individual testing's.
    cost: f64,
}

/// An hour.
#[derive(Debug, Serialize)]
struct Line {
    /// From 0.
    hour: usize,
    /// Share of positives that was asked for.
    prevalence: f64,
    /// The pilot's estimate at the end of the hour.
    estimate: f64,
    /// The pilot's plan at the end of the hour.
    plan: String,
    /// How often it changed.
    changes: u64,
    /// What came of it.
    auto: Share,
    /// The same with the configured plan.
    configured: Option<Share>,
    /// The same with a pilot for each band of risk.
    by_risk: Option<Share>,
    /// The best plan for this prevalence, in words.
    best_plan: String,
    /// What it is expected to cost over individual testing.
    best_cost: f64,
}

/// What an hour cost and found.
#[derive(Debug, Serialize)]
struct Share {
    /// Cost over individual testing's.
    cost: f64,
    /// Positives.
    positives: u64,
    /// Those that were flagged.
    found: u64,
    /// Negatives that were flagged.
    false_positives: u64,
    /// Tests.
    tests: u64,
}

pub(super) fn run(args: &SimulateArgs) -> Result<(), CliError> {
    let Request { config, stream, bands } = Request::new(args)?;
    let bundle = Bundle::open(&args.bundle).map_err(|e| CliError::Usage(e.to_string()))?;
    let wrong = |what| CliError::Usage(format!("bundle {}: calibration: {what}", args.bundle.display()));
    let (costs, coherence) = (bundle.mac_costs(), Coherence::default());
    let planner = Planner::new(bundle.answers().map_err(wrong)?, costs.clone(), config.wanted()).map_err(wrong)?;
    let pilot = Pilot::new(planner.clone(), config.steering());
    let fixed = match configured(planner.answers(), &config) {
        Some(chain) => {
            let expected = planner.expected(&chain, stream.prevalence);
            let choice = Choice { chain, expected };
            Some((choice.describe(), Steered::Fixed(choice)))
        }
        None => other(&config, &bundle, planner.answers())?.map(|p| (p.plan.describe(), Steered::Planned(p))),
    };

    let runs = 1 + usize::from(fixed.is_some()) + bands.len();
    let bar = progress("hours", (stream.hours * runs) as u64);
    let start = Instant::now();
    let run = |stream: &Stream, steered| simulate(stream, steered, coherence, &costs, args.seed, |_| bar.inc(1));
    let auto = run(&stream, Steered::Auto(Box::new(pilot.clone())));
    let (plan, fixed) = fixed.map(|(name, steered)| (name, run(&stream, steered))).unzip();
    let by_risk: Vec<Vec<Hour>> =
        bands.iter().map(|band| run(&stream.band(band), Steered::Auto(Box::new(pilot.clone())))).collect();
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();

    let alone = costs.individual();
    let mut hours = Vec::with_capacity(auto.len());
    for (i, hour) in auto.iter().enumerate() {
        let best = planner.best(hour.prevalence);
        hours.push(Line {
            hour: i,
            prevalence: hour.prevalence,
            estimate: hour.estimate.unwrap_or_default(),
            plan: hour.plan.clone(),
            changes: hour.changes,
            auto: Share::of(hour, alone),
            configured: fixed.as_ref().map(|fixed| Share::of(&fixed[i], alone)),
            by_risk: by_risk
                .iter()
                .map(|hours| hours[i].clone())
                .reduce(|a, b| a.with(&b))
                .map(|h| Share::of(&h, alone)),
            best_plan: best.describe(),
            best_cost: best.expected.cost / alone,
        });
    }
    let images: u64 = auto.iter().chain(fixed.iter().flatten()).chain(by_risk.iter().flatten()).map(|h| h.images).sum();
    let part = |(band, hours): (&Band, &Vec<Hour>)| {
        let all = hours.iter().cloned().reduce(|a, b| a.with(&b));
        let plan = hours.last().map_or_else(String::new, |hour| hour.plan.clone());
        let Band { least, share, prevalence } = *band;
        Part { least, share, prevalence, plan, cost: all.map_or(0.0, |hour| hour.cost_an_image() / alone) }
    };
    let report = Report {
        bundle: format!("{} {}", bundle.manifest.name, bundle.manifest.version),
        configured: plan,
        bands: bands.iter().zip(&by_risk).map(part).collect(),
        individual_recall: config.wanted().individual_sensitivity,
        hours,
        images_per_second: images as f64 / seconds,
    };
    if let Some(file) = &args.picture {
        let svg = picture::draw(&report)?;
        std::fs::write(file, svg).map_err(|e| CliError::Failed(format!("{}: {e}", file.display())))?;
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => table::print(&report),
    }
    Ok(())
}

/// The configured plan if it is no chain; none where the worker makes it, or where it goes by what isn't simulated.
fn other(config: &Config, bundle: &Bundle, answers: &Answers) -> Result<Option<Planned>, CliError> {
    if config.fixed_size().is_none() {
        return Ok(None);
    }
    if config.retest.policy == PolicyKind::Planned {
        eprintln!(
            "retest.policy is planned, which looks at scores; tests are positive or negative here, so it is left out"
        );
        return Ok(None);
    }
    let known = bundle.knowledge(config.planning.prevalence).map_err(CliError::Usage)?;
    let Some(plan) = config.plan(Some(&known))? else { return Ok(None) };
    let largest = plan.arities()[0];
    let calibrated: Vec<usize> = answers.sizes().iter().map(|size| size.arity).collect();
    let most = calibrated.iter().copied().find(|&size| size >= largest);
    let link = |size: usize| {
        let wanted = if size == 1 { config.retest.individual_sensitivity } else { config.retest.pooled_sensitivity };
        Some(Link { size, point: answers.at(size, wanted)? })
    };
    let sizes = calibrated.iter().rev().copied().filter(|&size| most.is_some_and(|most| size <= most));
    let links: Option<Vec<Link>> = sizes.map(link).collect();
    match links.filter(|links| !links.is_empty()) {
        Some(links) => Ok(Some(Planned { plan, links })),
        None => Err(CliError::Usage(format!(
            "the plan {} has tests of a size or a sensitivity that the bundle is not calibrated for",
            plan.describe()
        ))),
    }
}

impl Share {
    fn of(hour: &Hour, alone: f64) -> Self {
        Self {
            cost: hour.cost_an_image() / alone,
            positives: hour.positives,
            found: hour.found,
            false_positives: hour.false_alarms,
            tests: hour.tests,
        }
    }
}
