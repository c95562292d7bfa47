//! The cheapest plan for a prevalence, with its expected cost and recall.

mod picture;
mod row;
mod table;

use dorfman_core::calibration::OperatingPoints;
use dorfman_core::planner::{ChainLink, PlanConstraints};
use dorfman_core::policy::{PlanSpec, PolicyKind};
use dorfman_model::{Bundle, Profile};
use serde::Serialize;

use crate::LabError;
use row::{PlanBasis, PlanRow};

/// The configured plan, with the sensitivities for which its thresholds are set.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredPlan {
    /// The plan.
    pub spec: PlanSpec,
    /// Share of positive groups that tests of several images must find, between 0 and 1.
    pub pooled_sensitivity: f64,
    /// Share of positives that individual tests must find, between 0 and 1.
    pub individual_sensitivity: f64,
}

impl ConfiguredPlan {
    /// The link of a chain for tests of `size` images. `None` if the calibration has no operating
    /// point for the size and its sensitivity.
    pub(crate) fn link(&self, points: &OperatingPoints, size: usize) -> Option<ChainLink> {
        let individual = size == 1;
        let sensitivity =
            if individual { self.individual_sensitivity } else { self.pooled_sensitivity };
        Some(ChainLink { size, point: points.at(size, sensitivity)? })
    }
}

/// The cheapest plans by prevalence, beside the configured plan.
#[derive(Debug, Serialize)]
pub struct PlanReport {
    /// Name and version of the bundle.
    bundle: String,
    /// The unit of the cost that plans minimise.
    cost: CostUnit,
    /// Share of all positives that exits and pooling may miss in addition to individual testing.
    recall_loss: f64,
    /// The sensitivity of individual tests.
    individual_sensitivity: f64,
    /// The number of positive images by which the exits are calibrated. `None` for a bundle without
    /// exits.
    exit_positives: Option<u64>,
    /// By prevalence.
    rows: Vec<PlanRow>,
    #[serde(skip)]
    basis: PlanBasis,
    #[serde(skip)]
    configured: Option<Vec<ChainLink>>,
}

/// The unit of the cost that plans minimise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum CostUnit {
    /// Multiply-adds.
    Macs,
    /// Seconds of a profile.
    Seconds,
}

impl PlanReport {
    /// Plans for `prevalences`, each between 0 and 1. Costs are seconds with a `profile`, else
    /// multiply-adds. `configured` is compared with the cheapest plans if it is a chain for which
    /// the bundle is calibrated. `exits`: whether plans may use the screen and the early exits.
    ///
    /// # Errors
    /// [`LabError`] if the bundle is not calibrated for the individual sensitivity of
    /// `constraints`, if its joint scores cannot be read, or if the profile lacks a stage.
    pub fn new(
        bundle: &Bundle,
        constraints: PlanConstraints,
        prevalences: &[f64],
        profile: Option<&Profile>,
        configured: Option<&ConfiguredPlan>,
        exits: bool,
    ) -> Result<Self, LabError> {
        let costs = match profile {
            Some(profile) => bundle
                .second_costs(profile)
                .ok_or_else(|| LabError::ProfileLacksStage(bundle.dir.clone()))?,
            None => bundle.mac_costs(),
        };
        let planner = bundle.planner(costs, constraints, exits)?;
        let macs = bundle.planner(bundle.mac_costs(), constraints, exits)?;
        let points = planner.operating_points();
        let configured = configured.and_then(|configured| configured_chain(points, configured));
        let basis = PlanBasis { planner, macs };
        let rows = prevalences.iter().map(|&p| basis.row(p, configured.as_deref())).collect();
        Ok(Self {
            bundle: format!("{} {}", bundle.manifest.name, bundle.manifest.version),
            cost: if profile.is_some() { CostUnit::Seconds } else { CostUnit::Macs },
            recall_loss: constraints.recall_loss,
            individual_sensitivity: constraints.individual_sensitivity,
            exit_positives: basis.planner.exit_positives(),
            rows,
            basis,
            configured,
        })
    }

    /// The report as tables with notes.
    pub fn table(&self) -> String {
        table::text(self)
    }

    /// Cost against prevalence, and against the group size, as SVG.
    ///
    /// # Errors
    /// [`LabError::Picture`].
    pub fn picture(&self) -> Result<String, LabError> {
        let prevalences: Vec<f64> = self.rows.iter().map(|row| row.prevalence).collect();
        picture::draw(&self.bundle, &self.basis, &prevalences, self.configured.as_deref())
    }
}

/// The configured plan as a chain. `None` if it is not a chain of sizes that divide each other, or
/// if the bundle is not calibrated for it. Halving and planned tests have no chain.
pub fn configured_chain(
    points: &OperatingPoints,
    configured: &ConfiguredPlan,
) -> Option<Vec<ChainLink>> {
    use PolicyKind::{Individual, MultiRound, TwoRound};
    if !matches!(configured.spec.policy, Individual | TwoRound | MultiRound) {
        return None;
    }
    let sizes = configured.spec.build(None).ok()?.arities();
    let divides = |pair: &[usize]| pair[0] > pair[1] && pair[0].is_multiple_of(pair[1]);
    if sizes.last() != Some(&1) || !sizes.windows(2).all(divides) {
        return None;
    }
    sizes.iter().map(|&size| configured.link(points, size)).collect()
}
