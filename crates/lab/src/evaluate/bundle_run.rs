//! The evaluation of one bundle: individual testing, and every plan of the request.

use dorfman_core::calibration::Thresholds;
use dorfman_core::engine::{Network, Verdict};
use dorfman_core::policy::{Individual, Plan, PolicyInputs, PolicyKind};
use dorfman_model::{Bundle, Profile};

use super::estimate::{Tally, Weights};
use super::opening::BundleSummary;
use super::request::{EvaluateRequest, PlanChoice};
use super::row::{Case, ReportRow, Sensitivities, Stratum, StratumShare};
use super::sampling::GroupSampler;
use super::screening::{ScreenRun, ScreenScores};
use super::split::Split;
use super::timing::{TestRules, TimedRunner};
use crate::{LabError, Progress};

/// A policy at a group size.
#[derive(Debug, Clone, Copy)]
struct Design {
    policy: PolicyKind,
    group_size: usize,
}

/// A bundle with its networks.
pub(super) struct BundleEvaluation<'a, N> {
    pub request: &'a EvaluateRequest,
    pub bundle: &'a Bundle,
    pub summary: BundleSummary,
    pub split: &'a Split,
    /// The number of images of the data set.
    pub images: usize,
    pub runner: TimedRunner<'a, N>,
    /// The screen, if a plan may use it.
    pub screen: Option<ScreenRun<'a>>,
    /// The measured seconds of the bundle on this machine, by which plans are chosen.
    pub profile: Option<Profile>,
    /// The inputs of the planned policy, if it is among the policies.
    pub inputs: Option<PolicyInputs>,
    pub progress: &'a dyn Progress,
}

impl<N: Network> BundleEvaluation<'_, N> {
    /// The rows of all plans of the request.
    ///
    /// # Errors
    /// [`LabError`] if a plan cannot be made or a network fails.
    pub(super) fn rows(&mut self) -> Result<Vec<ReportRow>, LabError> {
        let individual = self.individual()?;
        let mut rows = Vec::new();
        for (sensitivity, stratum) in &individual {
            rows.extend(self.individual_rows(*sensitivity, stratum));
        }
        if self.request.plans == PlanChoice::Best {
            rows.extend(self.planned_rows(&individual)?);
            rows.sort_by(|a, b| a.case.prevalence.total_cmp(&b.case.prevalence));
            return Ok(rows);
        }
        for design in self.designs()? {
            for &pooled in &self.request.pooled_sensitivities {
                for (sensitivity, stratum) in &individual {
                    for confirm in self.request.confirm(self.bundle) {
                        let sensitivities = Sensitivities {
                            pooled: Some(pooled),
                            individual: *sensitivity,
                            confirm,
                        };
                        rows.extend(self.design_rows(design, sensitivities, &stratum.tally)?);
                    }
                }
            }
        }
        rows.sort_by(|a, b| a.case.prevalence.total_cmp(&b.case.prevalence));
        Ok(rows)
    }

    /// The rows of individual testing, one per prevalence.
    fn individual_rows(&self, sensitivity: f64, stratum: &Stratum) -> Vec<ReportRow> {
        let seconds = self.summary.network_seconds_per_image;
        let row = |&prevalence: &f64| {
            let sensitivities = Sensitivities::alone(sensitivity);
            let case = self.case(prevalence, PolicyKind::Individual, &Individual, sensitivities);
            ReportRow::individual(case, self.split, &stratum.tally, stratum.failed, seconds)
        };
        self.request.prevalences.iter().map(row).collect()
    }

    /// All group sizes and policies, except those that repeat an earlier plan.
    fn designs(&self) -> Result<Vec<Design>, LabError> {
        let request = self.request;
        let arities = self.bundle.manifest.calibration.iter().map(|c| c.arity);
        let calibrated = arities.max().unwrap_or(1);
        let sizes = match &request.group_sizes[..] {
            [] => vec![request.default_group_size.unwrap_or(calibrated).min(calibrated)],
            sizes => sizes.to_vec(),
        };
        let (mut designs, mut plans) = (Vec::new(), vec![Individual.describe()]);
        for group_size in sizes {
            if group_size > calibrated {
                self.progress.note(&format!(
                    "{}: calibrated up to {calibrated} images per test; groups of {group_size} \
                     use the threshold for {calibrated}",
                    self.summary.bundle
                ));
            }
            for &policy in request.policies.iter().filter(|&&p| p != PolicyKind::Individual) {
                let design = Design { policy, group_size };
                let plan = self.plan(design)?.describe();
                if !plans.contains(&plan) {
                    plans.push(plan);
                    designs.push(design);
                }
            }
        }
        Ok(designs)
    }

    fn plan(&self, design: Design) -> Result<Box<dyn Plan>, LabError> {
        plan(self.request, self.inputs.as_ref(), design)
    }

    /// Tests every image alone once, and applies the thresholds of each individual sensitivity to
    /// the scores.
    fn individual(&mut self) -> Result<Vec<(f64, Stratum)>, LabError> {
        let images = self.runner.reference.clone();
        let text = format!("individual testing of {} images", images.len());
        self.progress.note(&format!("{}: {text}", self.summary.bundle));
        let (bundle, pooled) = (self.bundle, self.request.pooled_sensitivities[0]);
        let sensitivities = self.request.individual_sensitivities.iter();
        let found = sensitivities.map(|&individual| {
            Ok((individual, bundle.thresholds(pooled, individual)?, self.stratum()))
        });
        let mut found: Vec<(f64, Thresholds, Stratum)> = found.collect::<Result<_, LabError>>()?;
        let (labels, progress) = (self.runner.network.shape().labels, self.progress);
        progress.begin("individual", images.len() as u64);
        let elapsed = self.runner.individual(&images, &mut |image, verdict| {
            progress.advance(1);
            let scores = scores(&verdict, labels);
            for (_, thresholds, stratum) in &mut found {
                let positive = |s: &Vec<f32>| thresholds.outcome(1, s).positive;
                stratum.tally.add(image, scores.as_ref().is_some_and(positive));
                stratum.failed += u64::from(scores.is_none());
            }
        });
        progress.end();
        let elapsed = elapsed?;
        self.summary.network_seconds_per_image = elapsed.network_per_image();
        self.summary.wall_seconds_per_image = elapsed.wall_per_image();
        Ok(found.into_iter().map(|(sensitivity, _, stratum)| (sensitivity, stratum)).collect())
    }

    /// The rows of one plan, one per prevalence. The cold stratum is the same at every prevalence,
    /// so it runs once.
    fn design_rows(
        &mut self,
        design: Design,
        sensitivities: Sensitivities,
        individual: &Tally,
    ) -> Result<Vec<ReportRow>, LabError> {
        let request = self.request;
        let rules = self.rules(sensitivities)?;
        let plan = self.plan(design)?;
        self.progress.note(&format!(
            "{}: {}, sensitivity {}",
            self.summary.bundle,
            plan.describe(),
            sensitivities.describe()
        ));
        self.runner.warm_up(self.plan(design)?)?;
        let strata = self.images(design.group_size);
        let inputs = self.inputs.clone();
        let make = || self::plan(request, inputs.as_ref(), design);
        let strata = strata.iter().map(|images| self.run(&make, &rules, images));
        let strata = strata.collect::<Result<Vec<Stratum>, _>>()?;
        let macs = self.runner.network.shape().individual_macs();
        let row = |prevalence: f64, shares: &[StratumShare<'_>]| {
            let case = self.case(prevalence, design.policy, &*plan, sensitivities);
            ReportRow::new(case, shares, self.split, macs, individual)
        };
        let rows = request.prevalences.iter().enumerate().map(|(i, &p)| {
            if request.stream.is_some() {
                return row(p, &StratumShare::stream(&strata[i]));
            }
            let weights = Weights::new(design.group_size, p);
            row(p, &StratumShare::strata(weights, &strata[0], &strata[i + 1]))
        });
        Ok(rows.collect())
    }

    /// The images to run: a plain stream per prevalence, or the cold stratum and a hot stratum per
    /// prevalence.
    fn images(&self, group_size: usize) -> Vec<Vec<usize>> {
        let (request, split) = (self.request, self.split);
        let (positives, negatives) = (&split.positives, &split.negatives);
        let sampler = || GroupSampler::new(group_size, positives, negatives, request.seed);
        let prevalences = request.prevalences.iter();
        if let Some(images) = request.stream {
            return prevalences.map(|&p| sampler().stream(p, images)).collect();
        }
        let cold = sampler().cold(request.cap);
        let hot = prevalences.map(|&p| sampler().hot(p, request.cap));
        std::iter::once(cold).chain(hot).collect()
    }

    fn rules(&self, sensitivities: Sensitivities) -> Result<TestRules, LabError> {
        let Sensitivities { pooled, individual, confirm } = sensitivities;
        let thresholds = self.bundle.thresholds(pooled.unwrap_or(individual), individual)?;
        let confirm = confirm_thresholds(self.bundle, confirm)?;
        Ok(TestRules { thresholds, confirm, exits: Vec::new() })
    }

    /// Runs a stratum. Each run calls `plan` for a new plan.
    ///
    /// # Errors
    /// [`LabError`] if the plan cannot be made or a network fails.
    pub(super) fn run(
        &mut self,
        plan: &dyn Fn() -> Result<Box<dyn Plan>, LabError>,
        rules: &TestRules,
        images: &[usize],
    ) -> Result<Stratum, LabError> {
        let progress = self.progress;
        let mut stratum = self.stratum();
        let Stratum { tally, failed, .. } = &mut stratum;
        progress.begin("groups", images.len() as u64);
        let run = self.runner.stratum(plan, rules, images, &mut |image, verdict| {
            progress.advance(1);
            tally.add(image, matches!(verdict, Verdict::Flagged(_)));
            *failed += u64::from(matches!(verdict, Verdict::Failed(_)));
        });
        progress.end();
        stratum.run = run?;
        Ok(stratum)
    }

    /// The scores of the screen on all images. The first call runs it.
    ///
    /// # Errors
    /// [`LabError`] if a network fails.
    pub(super) fn screen_scores(&mut self) -> Result<&ScreenScores, LabError> {
        let missing = || LabError::Bug("a plan uses a screen that the bundle does not have".into());
        let screen = self.screen.as_mut().ok_or_else(missing)?;
        if screen.scored.is_none() {
            let images = self.runner.reference.clone();
            // As the worker does if many images wait for the screen.
            let batch = self.runner.settings.max_batch;
            let mut reference = self.runner.reference();
            let turn = || Ok(reference.turn()?);
            screen.scored = Some(screen.score(&images, self.images, batch, turn)?);
        }
        screen.scored.as_ref().ok_or_else(missing)
    }

    fn stratum(&self) -> Stratum {
        Stratum { tally: Tally::new(self.images), ..Stratum::default() }
    }

    fn case(
        &self,
        prevalence: f64,
        policy: PolicyKind,
        plan: &dyn Plan,
        sensitivities: Sensitivities,
    ) -> Case {
        Case {
            bundle: self.summary.bundle.clone(),
            design: self.summary.design,
            stages: self.summary.stages,
            prevalence,
            group_size: plan.group_size(),
            policy: policy.to_string(),
            plan: plan.describe(),
            plan_kind: if plan.group_size() > 1 { "pooled" } else { "individual" },
            roles: Vec::new(),
            prior: policy.needs_inputs().then_some(self.request.prior),
            worth: (policy == PolicyKind::Planned).then_some(self.request.worth),
            sensitivities,
        }
    }
}

fn plan(
    request: &EvaluateRequest,
    inputs: Option<&PolicyInputs>,
    design: Design,
) -> Result<Box<dyn Plan>, LabError> {
    let spec = request.spec(design.policy, design.group_size);
    spec.build(inputs).map_err(|source| LabError::plan(&spec, source))
}

/// The thresholds of the confirm network, if a row uses it.
///
/// # Errors
/// [`LabError::Bundle`] if the bundle is not calibrated for the sensitivity.
pub(super) fn confirm_thresholds(
    bundle: &Bundle,
    sensitivity: Option<f64>,
) -> Result<Option<Thresholds>, LabError> {
    let Some(sensitivity) = sensitivity else { return Ok(None) };
    Ok(bundle.confirm_thresholds(sensitivity)?)
}

/// The scores of a verdict under [`pass_all`]. The columns of other labels are 0. `None` if the
/// image could not be scored.
fn scores(verdict: &Verdict, labels: usize) -> Option<Vec<f32>> {
    let Verdict::Flagged(passed) = verdict else { return None };
    let mut scores = vec![0.0; labels];
    passed.iter().for_each(|&(column, score)| scores[column] = score);
    Some(scores)
}
