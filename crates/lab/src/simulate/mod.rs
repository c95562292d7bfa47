//! A simulated day of a stream: what plans cost and find in it.
//!
//! The stream runs through an adaptive planner (*auto*, as `group.size: auto` of the worker), and
//! through the configured plan. With risk bands it also runs through one adaptive planner per band.
//! Test results are drawn at random from the calibration of a bundle.

mod picture;
mod table;

use std::time::Instant;

use dorfman_core::calibration::OperatingPoints;
use dorfman_core::cost::StageCosts;
use dorfman_core::planner::{
    AdaptivePlanner, ChainLink, ChainPlan, Coherence, PlanConstraints, Planner, ReplanRule,
};
use dorfman_core::policy::PolicyKind;
use dorfman_core::simulation::{Band, Hour, PlanSource, SimulatedPlan, Stream, simulate as run};
use dorfman_model::Bundle;
use serde::Serialize;

use crate::plan::{ConfiguredPlan, configured_chain};
use crate::{LabError, Progress};

/// What to simulate.
#[derive(Debug, Clone)]
pub struct SimulateRequest {
    /// The bundle whose calibration gives the test results.
    pub bundle: Bundle,
    /// The stream.
    pub stream: Stream,
    /// The risk bands of the stream. Empty: the items have no risks.
    pub bands: Vec<Band>,
    /// Constraints on the plans of the adaptive planner.
    pub constraints: PlanConstraints,
    /// Whether the adaptive planner may use the screen and the early exits.
    pub exits: bool,
    /// When the adaptive planner changes its plan.
    pub replan_rule: ReplanRule,
    /// The plan beside the adaptive planner, if there is one.
    pub configured: Option<ConfiguredPlan>,
    /// The seed of every random choice.
    pub seed: u64,
}

/// What plans cost and find, hour by hour.
#[derive(Debug, Serialize)]
pub struct SimulateReport {
    /// Name and version of the bundle.
    bundle: String,
    /// The configured plan, if it could be simulated.
    configured: Option<String>,
    /// The sensitivity of individual tests.
    individual_recall: f64,
    /// The risk bands of the stream.
    bands: Vec<BandShare>,
    /// By hour.
    hours: Vec<HourRow>,
    /// Images simulated per second, in all runs together.
    images_per_second: f64,
}

/// A risk band.
#[derive(Debug, Serialize)]
struct BandShare {
    /// The lowest risk of the band.
    least: f64,
    /// Share of the images.
    share: f64,
    /// Share of positives in the band, outside of bursts.
    prevalence: f64,
    /// The plan at the end.
    plan: String,
    /// Cost relative to individual testing.
    cost: f64,
}

/// An hour.
#[derive(Debug, Serialize)]
struct HourRow {
    /// The number of the hour, from 0.
    hour: usize,
    /// Share of positives in the stream.
    prevalence: f64,
    /// The adaptive planner's estimate of the prevalence at the end of the hour.
    estimate: f64,
    /// The adaptive planner's plan at the end of the hour.
    plan: String,
    /// How often the plan changed.
    changes: u64,
    /// The result of the adaptive planner.
    auto: HourResult,
    /// The result of the configured plan.
    configured: Option<HourResult>,
    /// The result of one adaptive planner per risk band.
    by_risk: Option<HourResult>,
    /// The best plan for this prevalence, in words.
    best_plan: String,
    /// The expected cost of the best plan relative to individual testing.
    best_cost: f64,
}

/// What an hour cost and found.
#[derive(Debug, Serialize)]
struct HourResult {
    /// Cost relative to individual testing.
    cost: f64,
    /// Positives.
    positives: u64,
    /// Positives that were flagged.
    found: u64,
    /// Negatives that were flagged.
    false_positives: u64,
    /// Tests.
    tests: u64,
}

/// The hours of all runs.
struct Runs {
    auto: Vec<Hour>,
    configured: Option<(String, Vec<Hour>)>,
    by_risk: Vec<Vec<Hour>>,
}

/// Simulates a stream.
///
/// # Errors
/// [`LabError`] if the bundle is not calibrated for the constraints or for the configured plan, or
/// if the parameters of that plan are out of range.
pub fn simulate(
    request: &SimulateRequest,
    progress: &dyn Progress,
) -> Result<SimulateReport, LabError> {
    let bundle = &request.bundle;
    let costs = bundle.mac_costs();
    let planner = bundle.planner(costs.clone(), request.constraints, request.exits)?;
    let configured = match &request.configured {
        Some(configured) => source(configured, &planner, request.stream.prevalence, progress)?,
        None => None,
    };
    let start = Instant::now();
    // The worker chooses exits for the whole stream, not by band.
    let of_bands = bundle.planner(costs.clone(), request.constraints, false)?;
    let runs = Runs::new(request, [&planner, &of_bands], configured, &costs, progress);
    let seconds = start.elapsed().as_secs_f64();
    let individual = costs.individual();
    Ok(SimulateReport {
        bundle: format!("{} {}", bundle.manifest.name, bundle.manifest.version),
        bands: runs.bands(&request.bands, individual),
        individual_recall: request.constraints.individual_sensitivity,
        hours: runs.hours(&planner),
        images_per_second: runs.images() as f64 / seconds,
        configured: runs.configured.map(|(plan, _)| plan),
    })
}

impl SimulateReport {
    /// The report as tables with notes.
    pub fn table(&self) -> String {
        table::text(self)
    }

    /// Cost and prevalence by the hour as SVG.
    ///
    /// # Errors
    /// [`LabError::Picture`].
    pub fn picture(&self) -> Result<String, LabError> {
        picture::draw(self)
    }
}

impl Runs {
    fn new(
        request: &SimulateRequest,
        [whole, of_bands]: [&Planner; 2],
        configured: Option<(String, PlanSource)>,
        costs: &StageCosts,
        progress: &dyn Progress,
    ) -> Self {
        let count = 1 + usize::from(configured.is_some()) + request.bands.len();
        progress.begin("hours", (request.stream.hours * count) as u64);
        let each = |stream: &Stream, source| {
            let coherence = Coherence::default();
            run(stream, source, coherence, costs, request.seed, |_| progress.advance(1))
        };
        let adaptive = |planner: &Planner| {
            let adaptive = AdaptivePlanner::new(planner.clone(), request.replan_rule);
            PlanSource::Adaptive(Box::new(adaptive))
        };
        let stream = &request.stream;
        let runs = Self {
            auto: each(stream, adaptive(whole)),
            configured: configured.map(|(plan, source)| (plan, each(stream, source))),
            by_risk: request
                .bands
                .iter()
                .map(|b| each(&stream.band(b), adaptive(of_bands)))
                .collect(),
        };
        progress.end();
        runs
    }

    fn images(&self) -> u64 {
        let configured = self.configured.iter().flat_map(|(_, hours)| hours);
        let by_risk = self.by_risk.iter().flatten();
        self.auto.iter().chain(configured).chain(by_risk).map(|hour| hour.items).sum()
    }

    fn bands(&self, bands: &[Band], individual: f64) -> Vec<BandShare> {
        let share = |(band, hours): (&Band, &Vec<Hour>)| {
            let all = hours.iter().cloned().reduce(|a, b| a.with(&b));
            let plan = hours.last().map_or_else(String::new, |hour| hour.plan.clone());
            let Band { least, share, prevalence } = *band;
            let cost = all.map_or(0.0, |hour| hour.cost_per_item() / individual);
            BandShare { least, share, prevalence, plan, cost }
        };
        bands.iter().zip(&self.by_risk).map(share).collect()
    }

    fn hours(&self, planner: &Planner) -> Vec<HourRow> {
        let individual = planner.costs().individual();
        let row = |(i, hour): (usize, &Hour)| {
            let best = planner.best(hour.prevalence);
            let bands = self.by_risk.iter().map(|hours| hours[i].clone());
            let configured = self.configured.as_ref();
            HourRow {
                hour: i,
                prevalence: hour.prevalence,
                estimate: hour.estimate.unwrap_or_default(),
                plan: hour.plan.clone(),
                changes: hour.changes,
                auto: HourResult::new(hour, individual),
                configured: configured.map(|(_, hours)| HourResult::new(&hours[i], individual)),
                by_risk: bands
                    .reduce(|a, b| a.with(&b))
                    .map(|all| HourResult::new(&all, individual)),
                best_plan: best.describe(),
                best_cost: best.expected.cost / individual,
            }
        };
        self.auto.iter().enumerate().map(row).collect()
    }
}

/// The configured plan in words and as a source of plans. `None` if it cannot be simulated because
/// it reads scores.
fn source(
    configured: &ConfiguredPlan,
    planner: &Planner,
    prevalence: f64,
    progress: &dyn Progress,
) -> Result<Option<(String, PlanSource)>, LabError> {
    let points = planner.operating_points();
    if let Some(chain) = configured_chain(points, configured) {
        let expected = planner.expected_chain(&chain, prevalence);
        let plan = ChainPlan::without_exits(chain, expected);
        return Ok(Some((plan.describe(), PlanSource::Fixed(plan))));
    }
    let spec = &configured.spec;
    if spec.policy == PolicyKind::Planned {
        progress.note(
            "The policy planned is left out: it reads scores, and simulated tests are only \
             positive or negative.",
        );
        return Ok(None);
    }
    let plan = spec.build(None).map_err(|source| LabError::plan(spec, source))?;
    let words = plan.describe();
    let links = links(configured, points, plan.arities().first().copied().unwrap_or(1));
    let links = links.ok_or_else(|| LabError::NotCalibrated(words.clone()))?;
    Ok(Some((words, PlanSource::Policy(SimulatedPlan { plan, links }))))
}

/// The operating points of all calibrated sizes, falling, from the smallest size that is at least
/// `largest`.
fn links(
    configured: &ConfiguredPlan,
    points: &OperatingPoints,
    largest: usize,
) -> Option<Vec<ChainLink>> {
    let calibrated: Vec<usize> = points.arities().iter().map(|entry| entry.arity).collect();
    let first = calibrated.iter().copied().find(|&size| size >= largest)?;
    let sizes = calibrated.into_iter().rev().filter(|&size| size <= first);
    sizes.map(|size| configured.link(points, size)).collect()
}

impl HourResult {
    fn new(hour: &Hour, individual: f64) -> Self {
        Self {
            cost: hour.cost_per_item() / individual,
            positives: hour.positives,
            found: hour.found,
            false_positives: hour.false_positives,
            tests: hour.tests,
        }
    }
}
