//! The engine's thread: takes decoded items and returns finished items.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use dorfman_core::engine::{BandPlan, Driver, Engine, Network, PoolAssignment, Stats, Turn};
use dorfman_core::grouping::PoolRule;
use dorfman_core::policy::{Audited, Individual, PolicyInputs};
use dorfman_model::Bundle;
use dorfman_model::cpu::SystemClock;

use super::band_planner::BandPlanner;
use crate::config::Config;
use crate::error::WorkerError;
use crate::item::{DecodedItem, FinishedItem, Item};
use crate::model::Model;
use crate::ops::Services;

/// The longest wait for items while no run is possible. Requests to flush are checked in between.
const IDLE: Duration = Duration::from_millis(10);

/// One engine with its planners, on one thread.
pub(crate) struct EngineStage {
    driver: Driver<Box<dyn Network>, Item>,
    pool_rule: PoolRule,
    /// One per risk band whose plan the worker chooses; empty with a configured plan.
    planners: Vec<BandPlanner>,
    audit_fraction: f64,
    max_batch: usize,
    /// The sums that the metrics contain.
    exported: Stats,
    services: Services,
}

impl EngineStage {
    /// A stage with a warmed-up engine.
    ///
    /// # Errors
    /// [`WorkerError`] if the plan cannot be built from the bundle, or the network fails.
    pub(crate) fn new(
        config: &Config,
        model: Model,
        services: Services,
    ) -> Result<Self, WorkerError> {
        let (bands, planners) = plans(config, &model)?;
        let risks = config.group.pooled_bands().into_iter().chain(config.group.individual_from);
        for (risk, band) in risks.zip(&bands) {
            let gauge = services.metrics.group_size.with_label_values(&[&risk.to_string()]);
            gauge.set(band.plan.group_size() as i64);
        }
        let names: Vec<String> = bands.iter().map(|band| band.plan.describe()).collect();
        let pool_rule = config.group.pool_rule(config.planning.prevalence);
        let image_len = model.input.len();
        let mut engine = engine(config, model, bands, &pool_rule)?;
        let start = Instant::now();
        let largest = config.planning.largest;
        let others = planners.first().map_or_else(Vec::new, |planner| planner.arities(largest));
        engine.warm_up(image_len, &others)?;
        planners.iter().for_each(|planner| planner.export(&services.metrics));
        let seconds = start.elapsed().as_secs_f32();
        tracing::info!(plan = names.join(", "), seconds, "engine warmed up");
        let Stats { stages, bands, .. } = engine.stats().clone();
        Ok(Self {
            exported: Stats { stages, bands, ..Stats::default() },
            driver: Driver::new(engine),
            pool_rule,
            planners,
            audit_fraction: config.audit.fraction,
            max_batch: config.engine.max_batch,
            services,
        })
    }

    /// Runs until the stages before have ended and every item has its verdict. Sends the engine's
    /// sums to `report` at the end.
    ///
    /// # Errors
    /// [`WorkerError`] if the engine fails. Its items have no verdict and are read again.
    pub(crate) fn run(
        mut self,
        decoded: &Receiver<Vec<DecodedItem>>,
        finished: &Sender<Vec<FinishedItem>>,
        report: &Sender<Stats>,
    ) -> Result<(), WorkerError> {
        while !self.services.signals.aborted() {
            self.receive(decoded);
            if self.services.signals.take_flush() {
                self.driver.flush();
            }
            self.replan()?;
            match self.driver.turn()? {
                Turn::Ran => {
                    let waiting = decoded.len() as i64;
                    self.services.metrics.queue.with_label_values(&["engine"]).set(waiting);
                    self.export();
                    self.send_verdicts(finished);
                }
                Turn::Idle { deadline } => self.wait(decoded, deadline),
                Turn::Done => break,
            }
        }
        self.export();
        // The report may have no reader.
        let _ = report.try_send(self.driver.engine().stats().clone());
        Ok(())
    }

    /// Replaces the plan of each band whose planner has a cheaper one.
    fn replan(&mut self) -> Result<(), WorkerError> {
        for (band, planner) in self.planners.iter_mut().enumerate() {
            let stats = self.driver.engine().stats().bands[band];
            if let Some(plan) = planner.update(stats, &self.services.metrics)? {
                self.driver.engine_mut().replan(band, audited(plan, self.audit_fraction))?;
            }
        }
        Ok(())
    }

    /// Receives items without waiting, as many as the engine has room for.
    fn receive(&mut self, decoded: &Receiver<Vec<DecodedItem>>) {
        while self.driver.room() > 0 {
            match decoded.try_recv() {
                Ok(batch) => self.offer(batch),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.driver.close(),
            }
        }
    }

    /// Waits for items until an open group must be closed.
    fn wait(&mut self, decoded: &Receiver<Vec<DecodedItem>>, deadline: Option<Instant>) {
        self.export();
        let latest = Instant::now() + IDLE;
        let until = deadline.map_or(latest, |deadline| deadline.min(latest));
        match decoded.recv_deadline(until) {
            Ok(batch) => self.offer(batch),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.driver.close(),
        }
    }

    fn offer(&mut self, batch: Vec<DecodedItem>) {
        for DecodedItem { image, item } in batch {
            let risk = item.reference.risk;
            let pool = self.pool_rule.pool(risk, item.origin.key);
            self.driver.offer_to(PoolAssignment { pool, risk }, image, item);
        }
    }

    fn send_verdicts(&mut self, finished: &Sender<Vec<FinishedItem>>) {
        let verdicts: Vec<_> = self.driver.verdicts().map(FinishedItem::Verdict).collect();
        if !verdicts.is_empty() && finished.send(verdicts).is_err() {
            // The sink has failed and logged why.
            self.services.signals.abort();
        }
    }

    /// Adds the engine's work since the last export to the metrics.
    fn export(&mut self) {
        let engine = self.driver.engine();
        let metrics = &self.services.metrics;
        metrics.in_flight.set(engine.in_flight() as i64);
        let shape = engine.network().shape();
        metrics.engine(&self.exported, engine.stats(), shape, self.max_batch);
        self.exported.clone_from(engine.stats());
    }
}

/// The plan of every risk band, and the planners if the worker chooses the plans.
fn plans(config: &Config, model: &Model) -> Result<(Vec<BandPlan>, Vec<BandPlanner>), WorkerError> {
    let (mut bands, planners) = match config.plan_spec() {
        Some(_) => (configured_plans(config, model)?, Vec::new()),
        None => adaptive_plans(config, model)?,
    };
    if config.group.individual_from.is_some() {
        bands.push(BandPlan::new(Box::new(Individual), model.thresholds.clone()));
    }
    Ok((bands, planners))
}

fn configured_plans(config: &Config, model: &Model) -> Result<Vec<BandPlan>, WorkerError> {
    let inputs = policy_inputs(config, model.calibrated.as_ref())?;
    let band = |_| {
        let plan = config.plan(inputs.as_ref()).map_err(|e| WorkerError::Setup(e.to_string()))?;
        Ok(plan.map(|plan| BandPlan::new(plan, model.thresholds.clone())))
    };
    let bands: Result<Vec<Option<BandPlan>>, WorkerError> =
        config.group.pooled_bands().into_iter().map(band).collect();
    Ok(bands?.into_iter().flatten().collect())
}

fn adaptive_plans(
    config: &Config,
    model: &Model,
) -> Result<(Vec<BandPlan>, Vec<BandPlanner>), WorkerError> {
    let missing = "`group.size` is auto, but the network has no calibration to plan with";
    let bundle = model.calibrated.clone().ok_or(WorkerError::Setup(missing.into()))?;
    let planners = BandPlanner::for_bands(config, bundle, model.profile.as_ref())?;
    let bands: Result<Vec<BandPlan>, WorkerError> =
        planners.iter().map(BandPlanner::band_plan).collect();
    Ok((bands?, planners))
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

fn engine(
    config: &Config,
    model: Model,
    bands: Vec<BandPlan>,
    pool_rule: &PoolRule,
) -> Result<Engine<Box<dyn Network>, Item>, WorkerError> {
    let settings = config.engine.batching().settings(model.provider, config.group.max_wait);
    let mut bands = bands.into_iter().map(|band| audited(band, config.audit.fraction));
    let no_band = || WorkerError::Setup("a bug: there is no risk band".into());
    let first = bands.next().ok_or_else(no_band)?;
    let mut engine = Engine::new(model.network, SystemClock, first, settings)
        .with_pools(bands.collect(), pool_rule.key_pools());
    if let Some(thresholds) = model.confirm {
        engine = engine.with_confirm(thresholds);
    }
    if let Some(profile) = model.profile {
        engine = engine
            .with_expected(move |part, arity, batch| profile.part(part)?.seconds(arity, batch));
    }
    Ok(engine)
}

/// The plan with audits, if audits are configured and the plan pools items.
fn audited(band: BandPlan, fraction: f64) -> BandPlan {
    let BandPlan { plan, thresholds } = band;
    if fraction > 0.0 && plan.group_size() > 1 {
        let plan = Audited::new(plan, fraction, fastrand::u64(..));
        return BandPlan::new(Box::new(plan), thresholds);
    }
    BandPlan::new(plan, thresholds)
}
