//! The plans and exits with which a worker starts.

use dorfman_core::calibration::Thresholds;
use dorfman_core::engine::BandPlan;
use dorfman_core::planner::{ChainPlan, ExitLink, ExitShare, PlanKind, Planner, describe_exits};
use dorfman_core::policy::{Individual, PolicyInputs};
use dorfman_model::{Bundle, ExitRules, Profile};

use super::planner::{check_fixed, costs, planner, uses_exits};
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
    let unit = costs(bundle, profile).1;
    let unknown = || -> Result<ExpectedPlan, WorkerError> {
        let plan = config.describe_plan().map_err(setup)?;
        Ok(ExpectedPlan { plan, expected: None, unit })
    };
    let planner = match planner(config, bundle, profile) {
        Ok(planner) => planner,
        // A configured plan without exits needs no planner.
        Err(_) if config.fixed_size().is_some() && !uses_exits(config, bundle) => return unknown(),
        Err(error) => return Err(setup(error)),
    };
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
    plan.map_or_else(unknown, |plan| Ok(expected(plan)))
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

fn configured(config: &Config, model: &Model) -> Result<Plans, WorkerError> {
    let inputs = policy_inputs(config, model.calibrated.as_ref())?;
    let ConfiguredExits { links, rules, thresholds, expected } = configured_exits(config, model)?;
    let band = |_| {
        let plan = config.plan(inputs.as_ref()).map_err(setup)?;
        Ok(plan.map(|plan| BandPlan::new(plan, thresholds.clone())))
    };
    let bands: Result<Vec<Option<BandPlan>>, WorkerError> =
        config.group.pooled_bands().into_iter().map(band).collect();
    let bands: Vec<BandPlan> = bands?.into_iter().flatten().collect();
    let names = bands.iter().map(|band| band.plan.describe());
    let separator = if bands.len() > 1 { ", " } else { " > " };
    let described = describe_exits(&links).into_iter().chain(names);
    let described = described.collect::<Vec<_>>().join(separator);
    Ok(Plans { bands, exits: rules, planners: None, described, expected_exits: expected })
}

/// The exits before a configured plan.
struct ConfiguredExits {
    links: Vec<ExitLink>,
    rules: ExitRules,
    /// The thresholds of the tests of images that pass.
    thresholds: Thresholds,
    /// What the exits are expected to do.
    expected: Vec<ExitShare>,
}

fn configured_exits(config: &Config, model: &Model) -> Result<ConfiguredExits, WorkerError> {
    let mut found = ConfiguredExits {
        links: Vec::new(),
        rules: ExitRules::default(),
        thresholds: model.thresholds.clone(),
        expected: Vec::new(),
    };
    let Some(bundle) = &model.calibrated else { return Ok(found) };
    check_fixed(config, bundle)?;
    if !uses_exits(config, bundle) {
        return Ok(found);
    }
    let planner = planner(config, bundle, model.profile.as_ref()).map_err(setup)?;
    found.links = exits(config, &planner);
    found.rules = bundle.exit_rules(&found.links).map_err(setup)?;
    if let Some(plan) = planner.plan_of(&found.links, &[1], 1.0, config.planning.prevalence) {
        if plan.measured_at.is_some() {
            let (retest, at) = (&config.retest, plan.measured_at);
            let pooled = |_| retest.pooled_sensitivity;
            let thresholds = bundle.thresholds_behind(at, pooled, retest.individual_sensitivity);
            found.thresholds = thresholds.map_err(setup)?;
        }
        found.expected = plan.expected.exits;
    }
    Ok(found)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::group::GroupSize;

    /// Groups of 16 of what passes the exits have the thresholds that were measured behind exits,
    /// which are those of the expected cost.
    #[test]
    fn a_configured_size_has_the_thresholds_behind_the_exits() {
        let mut config = Config::default();
        config.group.size = GroupSize::Fixed(16);
        let model = Model::fashion_bag();
        let bundle = model.calibrated.clone().unwrap();
        let behind = plans(&config, &model).unwrap();
        assert!(behind.described.starts_with("exit"), "{}", behind.described);
        let planner = planner(&config, &bundle, None).unwrap();
        let links = exits(&config, &planner);
        let pooled = config.retest.pooled_sensitivity;
        let plan = planner.plan_of(&links, &[16, 1], pooled, 0.001).unwrap();
        let thresholds = bundle.plan_thresholds(&plan, config.retest.individual_sensitivity);
        let thresholds = thresholds.unwrap();
        let found = &behind.bands[0].thresholds;
        assert_eq!(
            (found.threshold(16, 0), found.threshold(1, 0)),
            (thresholds.threshold(16, 0), thresholds.threshold(1, 0))
        );
        assert!(found.threshold(16, 0) > model.thresholds.threshold(16, 0), "{found:?}");

        config.exits.mode = ExitMode::None;
        let all = plans(&config, &model).unwrap();
        assert_eq!(all.bands[0].thresholds, model.thresholds);
        assert_eq!(all.exits.levels.len(), 0, "no rule changes the risk of an image");
    }
}
