//! One bundle: opened, timed alone, and run through every case that was asked for.

use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use super::super::CliError;
use super::super::labelled::Labelled;
use super::super::progress::progress;
use super::args::{EvaluateArgs, Request};
use super::deal::Dealer;
use super::estimate::{Tally, Weights};
use super::pass::{Bench, Cost, Rules};
use super::row::{Case, Part, Row, Sensitivities, Stratum};
use super::split::Split;
use super::tensors::Tensors;
use crate::config::Config;
use crate::config::retest::{PolicyKind, RetestConfig};
use crate::engine::{EngineError, Network, Settings, Verdict};
use crate::model::Bundle;
use crate::retest::{Individual, Knowledge, Plan, Thresholds};
use crate::worker::{Model, WorkerError};

/// A bundle in the report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BundleLine {
    /// The folder, as the arguments name it.
    pub(super) bundle: String,
    /// Its name, by the manifest.
    pub(super) name: String,
    version: String,
    /// pixel, feature or tree.
    pub(super) design: &'static str,
    /// Stages of the network.
    pub(super) stages: usize,
    width: u32,
    height: u32,
    /// Multiply-adds of one image alone.
    macs_per_image: u64,
    /// Seconds in the network for one image alone.
    pub(super) network_seconds_per_image: f64,
    /// Seconds on the clock for one image alone, decoding left out.
    wall_seconds_per_image: f64,
    /// CPU milliseconds to read, decode and preprocess an image.
    pub(super) decode_ms_per_image: f64,
}

/// A bundle at work.
struct Judge<'a, N> {
    args: &'a EvaluateArgs,
    request: &'a Request,
    bundle: &'a Bundle,
    line: BundleLine,
    split: &'a Split,
    images: usize,
    bench: Bench<'a, N>,
    /// What the planned policy must know, if it is among the policies.
    known: Option<Knowledge>,
}

/// Opens a bundle and looks whether it was calibrated for the sensitivities that were asked for.
///
/// # Errors
/// [`CliError::Failed`] if it is no bundle, [`CliError::Usage`] if a sensitivity is not to be had.
pub(super) fn check(request: &Request, dir: &Path) -> Result<Bundle, CliError> {
    let bundle = Bundle::open(dir).map_err(|e| CliError::Failed(e.to_string()))?;
    for &pooled in &request.pooled {
        request.individual.iter().try_for_each(|&individual| thresholds(&bundle, pooled, individual).map(drop))?;
    }
    request
        .confirm(&bundle)
        .into_iter()
        .try_for_each(|sensitivity| confirm_thresholds(&bundle, sensitivity).map(drop))?;
    Ok(bundle)
}

/// Runs a bundle. `tensors` are those of the bundle before, used again where the input is the same.
///
/// # Errors
/// [`CliError`] with what is missing or wrong.
pub(super) fn judge(
    args: &EvaluateArgs,
    request: &Request,
    dir: &Path,
    set: &Labelled,
    tensors: &mut Option<Tensors>,
) -> Result<(BundleLine, Vec<Row>), CliError> {
    let bundle = check(request, dir)?;
    let mut config = request.config.clone();
    config.model.bundle = dir.to_owned();
    config.model.confirm = request.confirm(&bundle).iter().any(Option::is_some);
    (config.retest.pooled_sensitivity, config.retest.individual_sensitivity) =
        (request.pooled[0], request.individual[0]);
    let mut model = Model::open(&config)?;
    if tensors.as_ref().is_none_or(|t| t.input != model.input) {
        *tensors = None;
    }
    let tensors = match tensors {
        Some(tensors) => tensors,
        None => tensors.insert(Tensors::decode(set, &model.input, &config.decode)?),
    };
    let split = Split::new(set, |image| tensors.has(image));
    if split.positives.is_empty() || split.negatives.is_empty() {
        return Err(CliError::Failed("no positives or no negatives could be decoded".into()));
    }
    let line = line(dir, &bundle, &model, tensors.decode_ms);
    let tensor = |image| tensors.tensor(image);
    let mut reference: Vec<usize> = split.positives.iter().chain(&split.negatives).copied().collect();
    fastrand::Rng::with_seed(args.seed).shuffle(&mut reference);
    let mut twin = Model::open(&config)?;
    let bench = Bench {
        settings: settings(&config, &model),
        network: &mut model.network,
        twin: &mut twin.network,
        tensor: &tensor,
        open: open(&bundle),
        reference,
        seconds: args.repeat,
    };
    let images = set.images.len();
    let looks_ahead = request.policies.iter().any(|policy| policy.looks_ahead());
    let known =
        looks_ahead.then(|| bundle.knowledge(config.planning.prevalence)).transpose().map_err(CliError::Usage)?;
    let mut judge = Judge { args, request, bundle: &bundle, line, split: &split, images, bench, known };
    let rows = judge.rows()?;
    Ok((judge.line, rows))
}

impl<N: Network> Judge<'_, N> {
    fn rows(&mut self) -> Result<Vec<Row>, CliError> {
        let baselines = self.baselines()?;
        let mut rows = Vec::new();
        for (sensitivity, baseline) in &baselines {
            rows.extend(self.args.prevalence.iter().map(|&prevalence| {
                let case =
                    self.case(prevalence, PolicyKind::Individual, &Individual, Sensitivities::alone(*sensitivity));
                let seconds = self.line.network_seconds_per_image;
                Row::individual(case, self.split, &baseline.tally, baseline.failed, seconds)
            }));
        }
        for (size, policy) in self.designs()? {
            for &pooled in &self.request.pooled {
                for (individual, baseline) in &baselines {
                    for confirm in self.request.confirm(self.bundle) {
                        let sensitivities = Sensitivities { pooled: Some(pooled), individual: *individual, confirm };
                        rows.extend(self.case_rows(size, policy, sensitivities, &baseline.tally)?);
                    }
                }
            }
        }
        rows.sort_by(|a, b| a.case.prevalence.total_cmp(&b.case.prevalence));
        Ok(rows)
    }

    /// Group sizes and policies, those left out that come to a plan that is there already.
    fn designs(&self) -> Result<Vec<(usize, PolicyKind)>, CliError> {
        let calibrated = self.bundle.manifest.calibration.iter().map(|c| c.arity).max().unwrap_or(1);
        let sizes = match &self.args.group_size[..] {
            [] => vec![self.request.config.group.size.fixed_or(calibrated).min(calibrated)],
            sizes => sizes.to_vec(),
        };
        let (mut designs, mut plans) = (Vec::new(), vec![Individual.describe()]);
        let (pooled, individual) = (self.request.pooled.first().copied(), self.request.individual[0]);
        let first = Sensitivities { pooled, individual, confirm: None };
        for size in sizes {
            if size > calibrated {
                eprintln!(
                    "{}: calibrated up to {calibrated} images a test; groups of {size} use that threshold",
                    self.line.bundle
                );
            }
            for &policy in &self.request.policies {
                let plan = self.plan(size, policy, first)?.describe();
                if !plans.contains(&plan) {
                    plans.push(plan);
                    designs.push((size, policy));
                }
            }
        }
        Ok(designs)
    }

    fn retest(&self, policy: PolicyKind, sensitivities: Sensitivities) -> RetestConfig {
        let Sensitivities { pooled, individual, .. } = sensitivities;
        RetestConfig {
            policy,
            pooled_sensitivity: pooled.unwrap_or(individual),
            individual_sensitivity: individual,
            ..self.request.config.retest.clone()
        }
    }

    fn plan(&self, size: usize, policy: PolicyKind, sensitivities: Sensitivities) -> Result<Box<dyn Plan>, CliError> {
        Ok(self.retest(policy, sensitivities).plan(size, self.known.as_ref())?)
    }

    /// Every image alone once, and what each individual sensitivity makes of the scores.
    fn baselines(&mut self) -> Result<Vec<(f64, Stratum)>, CliError> {
        eprintln!("{}: individual testing of {} images", self.line.bundle, self.bench.reference.len());
        let tables =
            self.request.individual.iter().map(|&s| Ok((s, thresholds(self.bundle, self.request.pooled[0], s)?)));
        let tables: Vec<(f64, Thresholds)> = tables.collect::<Result<_, CliError>>()?;
        let mut found: Vec<Stratum> = tables.iter().map(|_| self.stratum()).collect();
        let labels = self.bench.network.form().labels;
        let images = self.bench.reference.clone();
        let bar = progress("individual", images.len() as u64);
        let cost = self.bench.individual(&images, &mut |image, verdict| {
            bar.inc(1);
            let scores = scores(&verdict, labels);
            for ((_, table), stratum) in tables.iter().zip(&mut found) {
                let flagged = scores.as_ref().is_some_and(|s| table.outcome(1, s).positive);
                stratum.tally.note(image, flagged);
                stratum.failed += u64::from(scores.is_none());
            }
        });
        let cost: Cost = cost.map_err(failed)?;
        bar.finish_and_clear();
        self.line.network_seconds_per_image = cost.network_an_image();
        self.line.wall_seconds_per_image = cost.wall_an_image();
        Ok(tables.into_iter().map(|(sensitivity, _)| sensitivity).zip(found).collect())
    }

    /// A row a prevalence. Groups without a positive are the same at every prevalence, and run once.
    fn case_rows(
        &mut self,
        size: usize,
        policy: PolicyKind,
        sensitivities: Sensitivities,
        alone: &Tally,
    ) -> Result<Vec<Row>, CliError> {
        let rules = Rules {
            thresholds: thresholds(
                self.bundle,
                sensitivities.pooled.unwrap_or(sensitivities.individual),
                sensitivities.individual,
            )?,
            confirm: confirm_thresholds(self.bundle, sensitivities.confirm)?,
        };
        let plan = self.plan(size, policy, sensitivities)?;
        eprintln!("{}: {}, sensitivity {}", self.line.bundle, plan.describe(), sensitivities.describe());
        let (cap, seed) = (self.args.cap, self.args.seed);
        let dealer = || Dealer::new(size, &self.split.positives, &self.split.negatives, seed);
        let (macs, prevalences) = (self.bench.network.form().individual_macs(), &self.args.prevalence);
        let mut strata = vec![];
        let cold = self.args.stream.is_none().then(|| dealer().cold(cap));
        let others: Vec<Vec<usize>> = prevalences
            .iter()
            .map(|&p| self.args.stream.map_or_else(|| dealer().hot(p, cap), |images| dealer().stream(p, images)))
            .collect();
        self.bench.warm_up(self.plan(size, policy, sensitivities)?).map_err(failed)?;
        for images in cold.iter().chain(&others) {
            strata.push(self.run((size, policy, sensitivities), &rules, images)?);
        }
        let case = |p| self.case(p, policy, &*plan, sensitivities);
        let row = |p, parts: &[Part<'_>]| Row::new(case(p), parts, self.split, macs, alone);
        let rows = prevalences.iter().enumerate().map(|(i, &p)| match self.args.stream {
            Some(_) => row(p, &Part::stream(&strata[i])),
            None => row(p, &Part::strata(Weights::new(size, p), &strata[0], &strata[i + 1])),
        });
        Ok(rows.collect())
    }

    fn run(
        &mut self,
        (size, policy, sensitivities): (usize, PolicyKind, Sensitivities),
        rules: &Rules,
        images: &[usize],
    ) -> Result<Stratum, CliError> {
        // The plan was made once already, so it can be made again.
        let (retest, known) = (self.retest(policy, sensitivities), self.known.clone());
        let plan = move || retest.plan(size, known.as_ref()).unwrap_or_else(|_| Box::new(Individual));
        let mut stratum = self.stratum();
        let bar = progress("groups", images.len() as u64);
        let Stratum { tally, failed: lost, .. } = &mut stratum;
        let ran = self.bench.stratum(&plan, rules, images, &mut |image, verdict| {
            bar.inc(1);
            tally.note(image, matches!(verdict, Verdict::Flagged(_)));
            *lost += u64::from(matches!(verdict, Verdict::Failed(_)));
        });
        stratum.ran = ran.map_err(failed)?;
        bar.finish_and_clear();
        Ok(stratum)
    }

    fn stratum(&self) -> Stratum {
        Stratum { tally: Tally::new(self.images), ..Stratum::default() }
    }

    fn case(&self, prevalence: f64, policy: PolicyKind, plan: &dyn Plan, sensitivities: Sensitivities) -> Case {
        Case {
            bundle: self.line.bundle.clone(),
            design: self.line.design,
            stages: self.line.stages,
            prevalence,
            group_size: plan.group_size(),
            policy: policy.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default(),
            plan: plan.describe(),
            prior: policy.looks_ahead().then_some(self.request.config.planning.prevalence),
            worth: (policy == PolicyKind::Planned).then_some(self.request.config.retest.worth),
            sensitivities,
        }
    }
}

fn failed(error: EngineError) -> CliError {
    WorkerError::from(error).into()
}

fn thresholds(bundle: &Bundle, pooled: f64, individual: f64) -> Result<Thresholds, CliError> {
    bundle.thresholds(pooled, individual).map_err(|e| CliError::Usage(e.to_string()))
}

fn confirm_thresholds(bundle: &Bundle, sensitivity: Option<f64>) -> Result<Option<Thresholds>, CliError> {
    let Some(sensitivity) = sensitivity else { return Ok(None) };
    bundle.confirm_thresholds(sensitivity).map_err(|e| CliError::Usage(e.to_string()))
}

/// Thresholds that everything passes.
fn open(bundle: &Bundle) -> Thresholds {
    let labels = bundle.manifest.labels.iter().enumerate();
    Thresholds::new(labels.filter(|(_, l)| l.positive).map(|(column, _)| column).collect(), |_, _| f32::NEG_INFINITY)
}

/// The scores of a verdict under open thresholds; the columns of labels that nobody looks for are 0.
fn scores(verdict: &Verdict, labels: usize) -> Option<Vec<f32>> {
    let Verdict::Flagged(passed) = verdict else { return None };
    let mut scores = vec![0.0; labels];
    passed.iter().for_each(|&(column, score)| scores[column] = score);
    Some(scores)
}

fn settings(config: &Config, model: &Model) -> Settings {
    Settings {
        max_batch: config.engine.max_batch,
        preferred_batch: config.engine.preferred_batch(model.provider),
        buckets: config.engine.buckets(model.provider),
        max_wait: config.group.max_wait,
    }
}

fn line(dir: &Path, bundle: &Bundle, model: &Model, decode_ms: f64) -> BundleLine {
    let stages = bundle.manifest.stages.len();
    BundleLine {
        bundle: dir.display().to_string(),
        name: bundle.manifest.name.clone(),
        version: bundle.manifest.version.clone(),
        design: match stages {
            1 => "pixel",
            2 => "feature",
            _ => "tree",
        },
        stages,
        width: model.input.width,
        height: model.input.height,
        macs_per_image: model.network.form().individual_macs(),
        network_seconds_per_image: 0.0,
        wall_seconds_per_image: 0.0,
        decode_ms_per_image: decode_ms,
    }
}
