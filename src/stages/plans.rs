//! The plans and exits with which a worker starts.

use dorfman_core::engine::BandPlan;
use dorfman_core::planner::{ChainPlan, ExitLink, ExitShare, PlanKind, Planner, describe_exits};
use dorfman_core::policy::{Individual, PolicyInputs};
use dorfman_model::{Bundle, BundleError, ExitRules, Profile};
use tracing::info;

use super::planners::Planners;
use crate::config::Config;
use crate::config::exits::ExitMode;
use crate::error::{WorkerError, setup};
use crate::model::Model;

/// What an engine runs.
pub(crate) struct Plans {
    /// One per risk band.
    pub bands: Vec<BandPlan>,
    /// The rules of the exits.
    pub exits: ExitRules,
    /// The planners, if the worker chooses the plans.
    pub planners: Option<Planners>,
    /// All plans in words.
    pub described: String,
    /// What the exits in use are expected to do, by the calibration.
    pub expected_exits: Vec<ExitShare>,
}

/// A plan in words, with its expectation if the bundle is calibrated for it.
pub(crate) struct ExpectedPlan {
    /// In words.
    pub plan: String,
    /// The expected cost relative to individual testing, and the expected recall, at
    /// `planning.prevalence`.
    pub expected: Option<(f64, f64)>,
    /// The unit of the cost: seconds or multiply-adds.
    pub unit: &'static str,
}

/// The plan that a worker with this configuration starts with.
///
/// # Errors
/// [`WorkerError::Setup`] if the plan does not fit the bundle.
pub(crate) fn expected(
    config: &Config,
    bundle: &Bundle,
    profile: Option<&Profile>,
) -> Result<ExpectedPlan, WorkerError> {
    check_fixed(config, bundle)?;
    let prevalence = config.planning.prevalence;
    let planner = planner(config, bundle, profile).map_err(setup)?;
    let seconds = profile.and_then(|profile| bundle.second_costs(profile)).is_some();
    let unit = if seconds { "seconds" } else { "multiply-adds" };
    let plan = match config.plan_spec() {
        None => Some(planner.best(prevalence)),
        Some(spec) => {
            let links = exits(config, &planner);
            let pooled = config.retest.pooled_sensitivity;
            let sizes = spec.build(None).map(|plan| plan.arities()).unwrap_or_default();
            planner.plan_of(&links, &sizes, pooled, prevalence)
        }
    };
    let individual = planner.costs().individual();
    let expected = |plan: ChainPlan| ExpectedPlan {
        plan: plan.describe(),
        expected: Some((plan.expected.cost / individual, plan.expected.recall)),
        unit,
    };
    match plan {
        Some(plan) => Ok(expected(plan)),
        None => {
            let plan = config.describe_plan().map_err(setup)?;
            Ok(ExpectedPlan { plan, expected: None, unit })
        }
    }
}

/// The configured plans, or those that the planner chooses.
///
/// # Errors
/// [`WorkerError::Setup`] if a plan cannot be built from the bundle.
pub(crate) fn plans(config: &Config, model: &Model) -> Result<Plans, WorkerError> {
    let mut plans = match config.fixed_size() {
        Some(_) => configured(config, model)?,
        None => {
            let planners = Planners::new(config, model)?;
            Plans {
                bands: planners.band_plans()?,
                exits: planners.exit_rules()?,
                described: planners.describe(),
                expected_exits: planners.expected_exits(),
                planners: Some(planners),
            }
        }
    };
    if config.group.individual_from.is_some() {
        plans.bands.push(BandPlan::new(Box::new(Individual), model.thresholds.clone()));
    }
    Ok(plans)
}

/// A planner of the bundle by the configuration. Costs are seconds if there is a profile of every
/// stage, or else multiply-adds.
///
/// # Errors
/// [`BundleError`] if the calibration does not suffice.
pub(crate) fn planner(
    config: &Config,
    bundle: &Bundle,
    profile: Option<&Profile>,
) -> Result<Planner, BundleError> {
    let seconds = profile.and_then(|profile| bundle.second_costs(profile));
    let unit = if seconds.is_some() { "seconds" } else { "multiply-adds" };
    info!(costs = unit, "planning");
    let costs = seconds.unwrap_or_else(|| bundle.mac_costs());
    let planner =
        bundle.planner(costs, config.constraints(), config.exits.mode != ExitMode::None)?;
    Ok(match config.exits.mode {
        ExitMode::Fixed => planner.with_fixed_exits(&config.exits.fixed()),
        ExitMode::Auto | ExitMode::None => planner,
    })
}

/// Checks that the bundle has the exits of `exits.mode: fixed`.
///
/// # Errors
/// [`WorkerError::Setup`], which names the exit.
pub(super) fn check_fixed(config: &Config, bundle: &Bundle) -> Result<(), WorkerError> {
    let known = bundle.exits();
    let fixed = config.exits.fixed();
    let unknown = fixed.iter().find(|link| !known.iter().any(|(part, _)| *part == link.part));
    let Some(link) = unknown else { return Ok(()) };
    let names: Vec<String> = known.iter().map(|(part, _)| part.to_string()).collect();
    let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let what =
        format!("`exits.sensitivities`: the bundle has no exit `{}`; it has {has}", link.part);
    Err(WorkerError::Setup(what))
}

fn configured(config: &Config, model: &Model) -> Result<Plans, WorkerError> {
    let inputs = policy_inputs(config, model.calibrated.as_ref())?;
    let band = |_| {
        let plan = config.plan(inputs.as_ref()).map_err(setup)?;
        Ok(plan.map(|plan| BandPlan::new(plan, model.thresholds.clone())))
    };
    let bands: Result<Vec<Option<BandPlan>>, WorkerError> =
        config.group.pooled_bands().into_iter().map(band).collect();
    let bands: Vec<BandPlan> = bands?.into_iter().flatten().collect();
    let mut described = Vec::new();
    let (mut exits, mut expected_exits) = (ExitRules::default(), Vec::new());
    if let Some(bundle) = &model.calibrated {
        check_fixed(config, bundle)?;
        let mut links = Vec::new();
        if config.exits.mode != ExitMode::None && !bundle.exits().is_empty() {
            let planner = planner(config, bundle, model.profile.as_ref()).map_err(setup)?;
            links = self::exits(config, &planner);
            let plan = planner.plan_of(&links, &[1], 1.0, config.planning.prevalence);
            expected_exits = plan.map(|plan| plan.expected.exits).unwrap_or_default();
        }
        exits = bundle.exit_rules(&links).map_err(setup)?;
        described = describe_exits(&links);
    }
    let names = bands.iter().map(|band| band.plan.describe());
    let separator = if bands.len() > 1 { ", " } else { " > " };
    let described = described.into_iter().chain(names).collect::<Vec<_>>().join(separator);
    Ok(Plans { bands, exits, planners: None, described, expected_exits })
}

/// The exits of a configured plan: those of `exits.mode: fixed`, or those with which individual
/// testing of the images that pass is cheapest. `planner` is that of the bundle.
fn exits(config: &Config, planner: &Planner) -> Vec<ExitLink> {
    if config.exits.mode != ExitMode::Auto {
        return config.exits.fixed();
    }
    let with = planner.best_of_kind(PlanKind::Exits, config.planning.prevalence);
    let cheaper = with.filter(|plan| plan.expected.cost < planner.costs().individual());
    cheaper.map(|plan| plan.exits).unwrap_or_default()
}

/// The inputs of the configured policy, if it needs any.
fn policy_inputs(
    config: &Config,
    bundle: Option<&Bundle>,
) -> Result<Option<PolicyInputs>, WorkerError> {
    let needed = config.plan_spec().is_some_and(|spec| spec.policy.needs_inputs());
    let Some(bundle) = bundle.filter(|_| needed) else { return Ok(None) };
    let wrong = |error| WorkerError::Setup(format!("`retest.policy` is planned: {error}"));
    bundle.policy_inputs(config.retest.prior).map(Some).map_err(wrong)
}
