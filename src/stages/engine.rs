//! The engine's thread: takes decoded items and returns finished items.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use dorfman_core::engine::{
    AuditSampler, BandPlan, Driver, Engine, EngineError, ExitRule, ItemPrior, Network, NetworkPart,
    Stats, Turn,
};
use dorfman_core::policy::Audited;
use dorfman_core::screen::{ScreenStats, Screened};
use dorfman_model::cpu::SystemClock;

use super::planners::Planners;
use super::plans::Plans;
use super::screen::ScreenControl;
use crate::config::Config;
use crate::error::WorkerError;
use crate::frames::{self, Picture};
use crate::item::{DecodedPicture, FinishedItem};
use crate::model::Model;
use crate::ops::Services;

/// The longest wait for items while no run is possible. Requests to flush are checked in between.
const IDLE: Duration = Duration::from_millis(10);

/// One engine with its planners, on one thread.
pub(crate) struct EngineStage {
    driver: Driver<Box<dyn Network>, Picture>,
    /// The planners, if the worker chooses the plans.
    planners: Option<Planners>,
    /// The plans in words with which the worker started.
    plan: String,
    /// The screen, if the bundle has one.
    screen: Option<Arc<ScreenControl>>,
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
    /// [`WorkerError`] if the plan does not fit the network, or the network fails.
    pub(crate) fn new(
        config: &Config,
        model: Model,
        plans: Plans,
        screen: Option<Arc<ScreenControl>>,
        services: Services,
    ) -> Result<Self, WorkerError> {
        let Plans { bands, exits, planners, described, expected_exits } = plans;
        services.metrics.expected_exits(&expected_exits);
        let risks = config.group.pooled_bands().into_iter().chain(config.group.individual_from);
        for (risk, band) in risks.zip(&bands) {
            let gauge = services.metrics.group_size.with_label_values(&[&risk.to_string()]);
            gauge.set(band.plan.group_size() as i64);
        }
        let image_len = model.input.len();
        let mut engine = engine(config, model, bands, exits.levels)?;
        let start = Instant::now();
        let largest = config.planning.largest;
        let others = planners.as_ref().map_or_else(Vec::new, |planner| planner.arities(largest));
        engine.warm_up(image_len, &others)?;
        planners.iter().for_each(|planner| planner.export(&services.metrics));
        let seconds = start.elapsed().as_secs_f32();
        tracing::info!(plan = &described, seconds, "engine warmed up");
        let Stats { stages, exits, bands, .. } = engine.stats().clone();
        Ok(Self {
            exported: Stats { stages, exits, bands, ..Stats::default() },
            driver: Driver::new(engine),
            planners,
            plan: described,
            screen,
            audit_fraction: config.audit.fraction,
            max_batch: config.engine.max_batch,
            services,
        })
    }

    /// Runs until the stages before have ended and every item has its verdict. Sends the plans in
    /// words and the engine's sums to `report` at the end.
    ///
    /// # Errors
    /// [`WorkerError`] if the engine fails. Its items have no verdict and are read again.
    pub(crate) fn run(
        mut self,
        decoded: &Receiver<Vec<DecodedPicture>>,
        finished: &Sender<Vec<FinishedItem>>,
        report: &Sender<(String, Stats)>,
    ) -> Result<(), WorkerError> {
        let network = |e: &WorkerError| matches!(e, WorkerError::Engine(EngineError::Network(_)));
        self.judge(decoded, finished).inspect_err(|e| self.services.fail(network(e)))?;
        self.export();
        // The report may have no reader.
        let plan = self.planners.as_ref().map_or(self.plan, |planners| planners.describe());
        let _ = report.try_send((plan, self.driver.engine().stats().clone()));
        Ok(())
    }

    fn judge(
        &mut self,
        decoded: &Receiver<Vec<DecodedPicture>>,
        finished: &Sender<Vec<FinishedItem>>,
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
        Ok(())
    }

    /// Replaces the exits and the plan of each band for which the planners have cheaper ones.
    fn replan(&mut self) -> Result<(), WorkerError> {
        let Some(planners) = &mut self.planners else { return Ok(()) };
        let screened = self.screen.as_ref().map_or(0, |screen| screen.cleared());
        let stats = self.driver.engine().stats();
        let changes = planners.update(stats, screened, &self.services.metrics)?;
        if let Some(rules) = changes.exits {
            self.driver.engine_mut().set_exits(rules.levels);
            if let Some(screen) = &self.screen {
                screen.set_rule(rules.screen);
            }
        }
        for (band, plan) in changes.bands {
            self.driver.engine_mut().replan(band, audited(plan, self.audit_fraction))?;
        }
        Ok(())
    }

    /// Receives items without waiting, as many as the engine has room for.
    fn receive(&mut self, decoded: &Receiver<Vec<DecodedPicture>>) {
        while self.driver.room() > 0 {
            match decoded.try_recv() {
                Ok(batch) => self.offer(batch),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.driver.close(),
            }
        }
    }

    /// Waits for items until an open group must be closed.
    fn wait(&mut self, decoded: &Receiver<Vec<DecodedPicture>>, deadline: Option<Instant>) {
        self.export();
        let latest = Instant::now() + IDLE;
        let until = deadline.map_or(latest, |deadline| deadline.min(latest));
        match decoded.recv_deadline(until) {
            Ok(batch) => self.offer(batch),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.driver.close(),
        }
    }

    fn offer(&mut self, batch: Vec<DecodedPicture>) {
        for DecodedPicture { image, picture, screened } in batch {
            let (screened, audit) = match screened {
                Screened::Passed(risk) => (risk, None),
                Screened::Cleared(_) | Screened::Audit => (None, Some(NetworkPart::Screen)),
            };
            let (risk, key) = (picture.risk(), picture.key());
            let prior = ItemPrior { risk, screened, key, audit };
            self.driver.offer_with(prior, image, picture);
        }
    }

    fn send_verdicts(&mut self, finished: &Sender<Vec<FinishedItem>>) {
        let verdicts: Vec<_> = self.driver.verdicts().filter_map(frames::finish).collect();
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
        let (screened, screen) = match &self.screen {
            Some(screen) => (screen.cleared(), screen.stats()),
            None => (0, ScreenStats::default()),
        };
        metrics.audits(engine.stats(), screen.exit.cleared);
        metrics.engine(&self.exported, engine.stats(), self.max_batch);
        metrics.saved(engine.stats(), screened, &screen, shape);
        self.exported.clone_from(engine.stats());
    }
}

fn engine(
    config: &Config,
    model: Model,
    bands: Vec<BandPlan>,
    exits: Vec<ExitRule>,
) -> Result<Engine<Box<dyn Network>, Picture>, WorkerError> {
    let settings = config.engine.batching().settings(model.provider, config.group.max_wait);
    let fraction = config.audit.fraction;
    let mut bands = bands.into_iter().map(|band| audited(band, fraction));
    let no_band = || WorkerError::Setup("a bug: there is no risk band".into());
    let first = bands.next().ok_or_else(no_band)?;
    let rule = config.group.pool_rule(config.default_risk());
    let mut engine = Engine::new(model.network, SystemClock, first, settings)
        .with_pools(bands.collect(), rule)
        .with_exit_audits(AuditSampler::new(fraction, fastrand::u64(..)));
    engine.set_exits(exits);
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
