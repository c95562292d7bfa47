//! The planner that a configuration asks for, and what the bundle must have for it.

use dorfman_core::cost::StageCosts;
use dorfman_core::planner::{ExitLink, Planner};
use dorfman_model::{Bundle, BundleError, Profile};
use tracing::info;

use crate::config::Config;
use crate::config::exits::ExitMode;
use crate::error::WorkerError;

/// The costs of the stages with their unit: seconds if there is a profile of every stage, or else
/// multiply-adds.
pub(super) fn costs(bundle: &Bundle, profile: Option<&Profile>) -> (StageCosts, &'static str) {
    match profile.and_then(|profile| bundle.second_costs(profile)) {
        Some(seconds) => (seconds, "seconds"),
        None => (bundle.mac_costs(), "multiply-adds"),
    }
}

/// Whether a worker with this configuration may use exits.
pub(super) fn uses_exits(config: &Config, bundle: &Bundle) -> bool {
    config.exits.mode != ExitMode::None && !bundle.exits().is_empty()
}

/// A planner of the bundle by the configuration. Costs are seconds if there is a profile of every
/// stage, or else multiply-adds.
///
/// # Errors
/// [`BundleError`] if the calibration does not suffice.
pub(super) fn planner(
    config: &Config,
    bundle: &Bundle,
    profile: Option<&Profile>,
) -> Result<Planner, BundleError> {
    let (costs, unit) = costs(bundle, profile);
    info!(costs = unit, "planning");
    let planner =
        bundle.planner(costs, config.constraints(), config.exits.mode != ExitMode::None)?;
    Ok(match config.exits.mode {
        ExitMode::Fixed => planner.with_fixed_exits(&config.exits.fixed()),
        ExitMode::Auto | ExitMode::None => planner,
    })
}

/// Checks that the bundle has the exits of `exits.mode: fixed`, and that they are calibrated for
/// their sensitivities.
///
/// # Errors
/// [`WorkerError::Setup`], which names the exit.
pub(super) fn check_fixed(config: &Config, bundle: &Bundle) -> Result<(), WorkerError> {
    let known = bundle.exits();
    for ExitLink { part, sensitivity } in config.exits.fixed() {
        let Some(most) = bundle.most_sensitive_exit(part) else {
            let names: Vec<String> = known.iter().map(|(part, _)| part.to_string()).collect();
            let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let what =
                format!("`exits.sensitivities`: the bundle has no exit `{part}`; it has {has}");
            return Err(WorkerError::Setup(what));
        };
        if sensitivity > most + 1e-9 {
            let what = format!(
                "`exits.sensitivities.{part}`: is {sensitivity}, but the exit is calibrated up to {most}"
            );
            return Err(WorkerError::Setup(what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dorfman_core::engine::NetworkPart;

    use super::*;
    use crate::model::Model;

    #[test]
    fn a_sensitivity_above_the_calibration_of_an_exit_is_refused() {
        let mut config = Config::default();
        config.exits.mode = ExitMode::Fixed;
        config.exits.sensitivities = [("0".to_owned(), 0.99)].into();
        let mut bundle = Model::fashion_bag().calibrated.unwrap();
        check_fixed(&config, &bundle).unwrap();
        let exit = bundle.manifest.stages[0].exit.as_mut().unwrap();
        exit.calibration[0].operating_points.retain(|point| point.sensitivity < 0.985);
        let most = bundle.most_sensitive_exit(NetworkPart::Stage(0)).unwrap();
        let error = check_fixed(&config, &bundle).unwrap_err().to_string();
        let expected = format!("is 0.99, but the exit is calibrated up to {most}");
        assert!(error.contains("`exits.sensitivities.0`") && error.contains(&expected), "{error}");
    }
}
