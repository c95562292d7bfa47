//! The engine's thread: takes tensors, gives endings.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::autopilot::{Autopilot, Course};
use super::{Model, WorkerError};
use crate::config::{Config, ConfigError};
use crate::engine::{Engine, Network, Place, Settings, Stats};
use crate::grouping::Sorting;
use crate::model::{Bundle, Profile};
use crate::ops::Signals;
use crate::ops::metrics::Metrics;
use crate::retest::{Audited, Individual, Knowledge, Plan};
use crate::sink::{Ending, Subject};

/// How long to wait for items while there is nothing to do; wishes to flush are looked at in between.
const IDLE: Duration = Duration::from_millis(10);

/// An image ready for the network.
#[derive(Debug)]
pub struct Ready {
    /// The tensor, as the bundle's input wants it.
    pub image: Vec<f32>,
    /// The item.
    pub subject: Subject,
}

/// One engine on its thread.
pub(super) struct Lane {
    engine: Engine<Box<dyn Network>, Subject>,
    waiting: VecDeque<Ready>,
    published: Stats,
    max_batch: usize,
    signals: Arc<Signals>,
    metrics: Arc<Metrics>,
    sorting: Sorting,
    /// One for each band that the worker plans for.
    autopilots: Vec<Autopilot>,
    audits: f64,
}

impl Lane {
    /// An engine, warmed up.
    pub fn new(
        config: &Config,
        model: Model,
        signals: Arc<Signals>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, WorkerError> {
        let known = known(config, model.calibrated.as_ref())?;
        let bands = config.group.pooled_bands();
        let fixed = |_: &f64| Ok((config.plan(known.as_ref()).map_err(setup)?, model.thresholds.clone()));
        let fixed: Result<Vec<_>, WorkerError> = bands.iter().map(fixed).collect();
        let fixed: Option<Vec<Course>> = fixed?.into_iter().map(|(plan, by)| Some((plan?, by))).collect();
        let (mut courses, autopilots) = match fixed {
            Some(courses) => (courses, Vec::new()),
            None => {
                let autopilots = pilots(config, model.calibrated, model.profile.as_ref())?;
                let courses: Result<Vec<Course>, WorkerError> = autopilots.iter().map(Autopilot::course).collect();
                (courses?, autopilots)
            }
        };
        if config.group.individual_from.is_some() {
            courses.push((Box::new(Individual), model.thresholds.clone()));
        }
        let settings = Settings {
            max_batch: config.engine.max_batch,
            preferred_batch: config.engine.preferred_batch(model.provider),
            buckets: config.engine.buckets(model.provider),
            max_wait: config.group.max_wait,
        };
        let least = bands.iter().chain(&config.group.individual_from);
        for (least, (plan, _)) in least.zip(&courses) {
            metrics.group_size.with_label_values(&[&least.to_string()]).set(plan.group_size() as i64);
        }
        let plans: Vec<String> = courses.iter().map(|(plan, _)| plan.describe()).collect();
        let mut courses = courses.into_iter().map(|(plan, by)| (audited(plan, config.audit.fraction), by));
        let Some((plan, thresholds)) = courses.next() else {
            return Err(WorkerError::Setup("a bug: there is no band of risk".into()));
        };
        let sorting = config.group.sorting(config.planning.prevalence);
        let mut engine =
            Engine::new(model.network, plan, thresholds, settings).with_pools(courses.collect(), sorting.lanes());
        if let Some(thresholds) = model.confirm {
            engine = engine.with_confirm(thresholds);
        }
        if let Some(profile) = model.profile {
            engine = engine.with_expected(move |part, arity, batch| profile.part(part)?.seconds(arity, batch));
        }
        let start = Instant::now();
        let others = autopilots.first().map_or_else(Vec::new, |a| a.arities(config.planning.largest));
        engine.warm_up(model.input.len(), &others)?;
        autopilots.iter().for_each(|a| a.show(&metrics));
        tracing::info!(plan = plans.join(", "), seconds = start.elapsed().as_secs_f32(), "engine warmed up");
        let Stats { stages, bands, .. } = engine.stats().clone();
        let published = Stats { stages, bands, ..Stats::default() };
        let max_batch = config.engine.max_batch;
        Ok(Self {
            engine,
            waiting: VecDeque::new(),
            published,
            max_batch,
            signals,
            metrics,
            sorting,
            autopilots,
            audits: config.audit.fraction,
        })
    }

    /// Runs until the stages before are gone and everything taken has its verdict.
    pub fn run(
        mut self,
        ready: &Receiver<Vec<Ready>>,
        out: &Sender<Vec<Ending>>,
        report: &Sender<Stats>,
    ) -> Result<(), WorkerError> {
        let mut closing = false;
        while !self.signals.aborted() {
            closing |= self.take(ready);
            let now = Instant::now();
            self.engine.expire(now)?;
            // With the last item taken there is nobody left to wait for.
            if self.signals.take_flush() || (closing && self.waiting.is_empty()) {
                self.engine.flush()?;
            }
            self.steer()?;
            if self.engine.step()? {
                self.metrics.queue.with_label_values(&["engine"]).set(ready.len() as i64);
                self.publish();
                self.give(out);
                continue;
            }
            if closing && self.waiting.is_empty() && self.engine.in_flight() == 0 {
                break;
            }
            if !closing {
                closing = self.wait(ready, now);
            }
        }
        self.publish();
        // Nobody may ask for the report.
        let _ = report.try_send(self.engine.stats().clone());
        Ok(())
    }

    /// Changes the plan of a band if that is the worker's to do and pays.
    fn steer(&mut self) -> Result<(), WorkerError> {
        for (band, autopilot) in self.autopilots.iter_mut().enumerate() {
            let stats = self.engine.stats().bands[band];
            if let Some((plan, thresholds)) = autopilot.steer(stats, &self.metrics)? {
                self.engine.replan(band, audited(plan, self.audits), thresholds)?;
            }
        }
        Ok(())
    }

    /// Takes what there is room for; true if nothing will come any more.
    fn take(&mut self, ready: &Receiver<Vec<Ready>>) -> bool {
        let now = Instant::now();
        loop {
            while self.engine.has_room() {
                let Some(Ready { image, subject }) = self.waiting.pop_front() else { break };
                let risk = subject.reference.risk;
                let place = Place { pool: self.sorting.pool(risk, subject.origin.key), risk };
                if let Err(error) = self.engine.offer_to(place, image, subject, now) {
                    tracing::error!(%error, "item not taken");
                    self.signals.abort();
                    return true;
                }
            }
            if !self.waiting.is_empty() || !self.engine.has_room() {
                return false;
            }
            match ready.try_recv() {
                Ok(batch) => self.waiting.extend(batch),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    }

    /// Waits for items until the open group must go; true if nothing will come any more.
    fn wait(&mut self, ready: &Receiver<Vec<Ready>>, now: Instant) -> bool {
        self.publish();
        let until = self.engine.deadline().map_or(now + IDLE, |d| d.min(now + IDLE));
        match ready.recv_deadline(until) {
            Ok(batch) => self.waiting.extend(batch),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return true,
        }
        false
    }

    /// Hands over verdicts.
    fn give(&mut self, out: &Sender<Vec<Ending>>) {
        let endings: Vec<Ending> = self.engine.judged().map(Ending::Judged).collect();
        if endings.is_empty() {
            return;
        }
        if out.send(endings).is_err() {
            // The sink is gone, and said why.
            self.signals.abort();
        }
    }

    fn publish(&mut self) {
        self.metrics.in_flight.set(self.engine.in_flight() as i64);
        self.metrics.engine(&self.published, self.engine.stats(), self.engine.network().form(), self.max_batch);
        self.published.clone_from(self.engine.stats());
    }
}

fn pilots(config: &Config, bundle: Option<Bundle>, profile: Option<&Profile>) -> Result<Vec<Autopilot>, WorkerError> {
    let Some(bundle) = bundle else {
        return Err(WorkerError::Setup(
            "`group.size` is auto, but the network brings no calibration to plan by".into(),
        ));
    };
    Autopilot::crew(config, bundle, profile)
}

/// What a policy that looks ahead must know, if one is configured.
fn known(config: &Config, bundle: Option<&Bundle>) -> Result<Option<Knowledge>, WorkerError> {
    let Some(bundle) = bundle.filter(|_| config.retest.policy.looks_ahead()) else { return Ok(None) };
    let wrong = |what| WorkerError::Setup(format!("`retest.policy` looks ahead: {what}"));
    bundle.knowledge(config.planning.prevalence).map(Some).map_err(wrong)
}

fn setup(error: ConfigError) -> WorkerError {
    WorkerError::Setup(error.to_string())
}

/// The plan with audits, if there are to be any.
fn audited(plan: Box<dyn Plan>, fraction: f64) -> Box<dyn Plan> {
    match fraction > 0.0 && plan.group_size() > 1 {
        true => Box::new(Audited::new(plan, fraction, fastrand::u64(..))),
        false => plan,
    }
}
