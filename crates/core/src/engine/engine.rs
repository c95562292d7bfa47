//! The engine: its parts, how it is set up, how items enter it and form groups, and one step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use super::clock::Clock;
use super::executor::Executor;
use super::exits::{AuditSampler, ExitRule};
use super::group::Group;
use super::in_flight::InFlight;
use super::item::{Item, ItemId, ItemPrior, ItemVerdict};
use super::network::{Network, NetworkPart, RunError};
use super::scheduler::Scheduler;
use super::settings::BatchSettings;
use super::stats::Stats;
use crate::calibration::Thresholds;
use crate::grouping::{PoolRule, Pools};
use crate::policy::{AuditAlone, Decision, Members, Plan, Policy};

/// The plan of a risk band, with the thresholds of its tests.
pub struct BandPlan {
    /// Makes the policy of each group. Its group size must be 1 to [`crate::policy::MAX_GROUP`]
    /// items. Groups are never larger than the number of slots of level 0.
    pub plan: Box<dyn Plan>,
    /// The thresholds of the plan's tests, for the score columns of the network.
    pub thresholds: Thresholds,
}

impl BandPlan {
    /// A plan with its thresholds.
    pub fn new(plan: Box<dyn Plan>, thresholds: Thresholds) -> Self {
        Self { plan, thresholds }
    }
}

/// Why an engine cannot continue. The engine must then be dropped; its items in flight have no
/// verdict.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The network failed.
    #[error(transparent)]
    Network(#[from] RunError),
    /// A policy broke the contract of [`crate::policy::Policy`].
    #[error("a bug in policy {policy}: {what}")]
    Policy {
        /// The plans of all risk bands, in words, separated by commas.
        policy: String,
        /// How the contract was broken.
        what: &'static str,
    },
    /// Items are in flight, but no run is possible: slots were leaked, or a level above 0 has too
    /// few slots ([`super::Level::slots`]).
    #[error("a bug in the engine: {items} items are in flight and nothing can run")]
    Stalled {
        /// The number of items in flight.
        items: usize,
    },
}

/// Pools items into groups and resolves them on a network: schedule, execute, update.
///
/// `N` is the network, and `T` the payload of an item. One thread owns an engine. A
/// [`super::Driver`] runs it.
pub struct Engine<N, T> {
    pub(super) executor: Executor<N>,
    pub(super) scheduler: Scheduler,
    pub(super) flight: InFlight<T>,
    /// By risk band.
    bands: Vec<Band>,
    pools: Pools<ItemId>,
    /// The pool of an item, by its risk and key.
    pub(super) pool_rule: PoolRule,
    /// By level.
    pub(super) exits: Vec<ExitRule>,
    pub(super) exit_audits: AuditSampler,
    /// The sequence number of the next item.
    sequence: u64,
    /// Items that have not passed the item levels.
    pub(super) item_stages: usize,
    /// Items with a lower sequence number belong to the last flush.
    pub(super) flush_mark: u64,
    /// Items of the last flush that have not passed the item levels.
    pub(super) before_flush: usize,
    /// Whether the open groups are formed when `before_flush` is 0.
    flush: bool,
    /// The thresholds of the confirm network, if it is used.
    pub(super) confirm: Option<Thresholds>,
    pub(super) verdicts: Vec<ItemVerdict<T>>,
    pub(super) stats: Stats,
    /// Memory for decisions of policies.
    pub(super) decision: Decision,
}

struct Band {
    plan: Box<dyn Plan>,
    thresholds: Arc<Thresholds>,
}

impl From<BandPlan> for Band {
    fn from(BandPlan { plan, thresholds }: BandPlan) -> Self {
        Self { plan, thresholds: Arc::new(thresholds) }
    }
}

impl<N: Network, T> Engine<N, T> {
    /// An engine without items, with one risk band and one pool.
    ///
    /// # Panics
    /// If the network's shape has no level.
    pub fn new(
        network: N,
        clock: impl Clock + 'static,
        band: BandPlan,
        settings: BatchSettings,
    ) -> Self {
        let shape = network.shape();
        let slots = shape.levels[0].slots;
        let levels = shape.levels.len();
        Self {
            pools: Pools::new([band.plan.group_size().min(slots)], settings.max_wait),
            pool_rule: PoolRule::default(),
            exits: vec![ExitRule::default(); levels],
            exit_audits: AuditSampler::new(0.0, 0),
            sequence: 0,
            item_stages: 0,
            flush_mark: 0,
            before_flush: 0,
            flush: false,
            scheduler: Scheduler::new(shape, settings),
            executor: Executor::new(network, Box::new(clock)),
            flight: InFlight { items: Slab::new(), groups: Slab::new() },
            bands: vec![band.into()],
            confirm: None,
            verdicts: Vec::new(),
            stats: Stats::new(levels, 1),
            decision: Decision::default(),
        }
    }

    /// Adds risk bands: the plan of [`Engine::new`] is that of band 0, and `others` are those of
    /// bands 1, 2 and so on. `rule` assigns each item to a band and to a pool of the band. Call it
    /// before any item is offered: it makes new pools and stats.
    ///
    /// # Panics
    /// Later, when an item is pooled, if `rule` has more bands than there are plans.
    pub fn with_pools(mut self, others: Vec<BandPlan>, rule: PoolRule) -> Self {
        self.bands.extend(others.into_iter().map(Band::from));
        self.pool_rule = rule;
        self.stats = Stats::new(self.exits.len(), self.bands.len());
        let max_wait = self.scheduler.settings().max_wait;
        self.with_group_wait(max_wait)
    }

    /// Sets how long a group waits for members, in place of [`BatchSettings::max_wait`], which then
    /// only limits how long jobs are passed over. Call it after [`Engine::with_pools`] and before
    /// any item is offered: it makes new pools.
    pub fn with_group_wait(mut self, max_wait: Duration) -> Self {
        let slots = self.slots();
        let sizes = self.bands.iter().map(|band| band.plan.group_size().min(slots));
        let sizes = sizes.flat_map(|size| std::iter::repeat_n(size, self.pool_rule.key_pools()));
        self.pools = Pools::new(sizes, max_wait);
        self
    }

    /// Audits a share of the items that an early exit would clear: `audits` chooses them. They skip
    /// all later exits and are tested alone.
    pub fn with_exit_audits(mut self, audits: AuditSampler) -> Self {
        self.exit_audits = audits;
        self
    }

    /// Uses the network's early exits by `rules`, one per level in order; missing rules are unused
    /// exits. An exit decides by the rules at the time at which it scores an item. Rules of levels
    /// without an exit, and of levels above the item levels, have no effect.
    pub fn set_exits(&mut self, mut rules: Vec<ExitRule>) {
        rules.resize(self.exits.len(), ExitRule::default());
        self.exits = rules;
    }

    /// Uses the confirm network: an item is flagged only for labels whose confirm scores reach
    /// `thresholds` (at arity 1) too. Images are then kept until their item has its verdict. The
    /// network must have a confirm network ([`super::NetworkShape::confirm_macs`]); otherwise the
    /// first item that a policy flags causes [`EngineError::Network`].
    pub fn with_confirm(mut self, thresholds: Thresholds) -> Self {
        self.confirm = Some(thresholds);
        self
    }

    /// Adds expected seconds to the stats ([`super::StageStats::expected_seconds`]). `seconds(part,
    /// arity, batch)` is called once per run. `arity` is the number of slots that a row merges,
    /// after padding (1 for stage 0 and the confirm network). `batch` is the number of rows, with
    /// padding. `None` counts as 0 seconds.
    pub fn with_expected(
        mut self,
        seconds: impl Fn(NetworkPart, usize, usize) -> Option<f64> + Send + 'static,
    ) -> Self {
        self.executor.expect(Box::new(seconds));
        self
    }

    /// Replaces the plan of risk band `band`, counted from 0. Groups in flight keep the plan by
    /// which they were formed. Open groups that are full by the new group size are formed at once,
    /// by the old plan.
    ///
    /// # Errors
    /// [`EngineError::Policy`] if the old plan's policy breaks its contract.
    ///
    /// # Panics
    /// If there is no band `band`.
    pub fn replan(&mut self, band: usize, plan: BandPlan) -> Result<(), EngineError> {
        let size = plan.plan.group_size().min(self.slots());
        let key_pools = self.pool_rule.key_pools();
        for pool in band * key_pools..(band + 1) * key_pools {
            if let Some(items) = self.pools.resize(pool, size) {
                self.form_group(pool, items)?;
            }
        }
        self.bands[band] = plan.into();
        Ok(())
    }

    /// The number of items in flight: admitted to the engine and without a verdict, 0 to
    /// [`Engine::slots`].
    pub fn in_flight(&self) -> usize {
        self.flight.items.len()
    }

    /// The number of items that can be in flight at once: the slots of level 0.
    pub fn slots(&self) -> usize {
        self.network().shape().levels[0].slots
    }

    /// Sums over the engine's life, without runs of [`Engine::warm_up`].
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The network that the engine runs.
    pub fn network(&self) -> &N {
        self.executor.network()
    }

    pub(super) fn now(&self) -> Instant {
        self.executor.clock().now()
    }

    /// Whether another item can be offered.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight() < self.slots()
    }

    /// Takes an item. Requires [`Engine::has_room`].
    pub(super) fn offer(&mut self, prior: ItemPrior, image: Vec<u8>, payload: T) {
        let item = Item::new(image, payload, prior, self.sequence);
        let id = self.flight.items.insert(item);
        self.sequence += 1;
        self.item_stages += 1;
        self.stats.items += 1;
        self.scheduler.add_item(id);
    }

    /// Puts an item that has passed the item levels into its pool, and forms the pool's group if it
    /// is full. The time for which the group waits begins now.
    pub(super) fn pool(&mut self, id: ItemId) -> Result<(), EngineError> {
        let item = &self.flight.items[id];
        let pool = self.pool_rule.pool(item.risk, item.prior.key);
        let now = self.now();
        match self.pools.push(pool, id, now) {
            Some(items) => self.form_group(pool, items),
            None => Ok(()),
        }
    }

    /// Tests an item alone that an exit would have cleared.
    pub(super) fn audit_alone(&mut self, id: ItemId) -> Result<(), EngineError> {
        let item = &self.flight.items[id];
        let band = self.pool_rule.pool(item.risk, item.prior.key) / self.pool_rule.key_pools();
        self.start_group(band, vec![id], Box::new(AuditAlone))
    }

    /// Forms the open groups whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Result<(), EngineError> {
        while let Some((pool, items)) = self.pools.expire(now) {
            self.form_group(pool, items)?;
        }
        Ok(())
    }

    /// Forms all open groups, however small.
    pub(super) fn flush(&mut self) -> Result<(), EngineError> {
        while let Some((pool, items)) = self.pools.flush() {
            self.form_group(pool, items)?;
        }
        Ok(())
    }

    /// Requests that the open groups are formed as soon as every item that is now in flight has
    /// passed the item levels.
    pub(super) fn request_flush(&mut self) {
        self.flush = true;
        self.flush_mark = self.sequence;
        self.before_flush = self.item_stages;
    }

    /// Forms the open groups if that was requested and the items of the request are ready.
    pub(super) fn flush_requested(&mut self) -> Result<(), EngineError> {
        if self.before_flush > 0 || !std::mem::take(&mut self.flush) {
            return Ok(());
        }
        self.flush()
    }

    /// Whether no item is before the pools.
    pub(super) fn item_stages_are_empty(&self) -> bool {
        self.item_stages == 0
    }

    /// The earliest deadline of the open groups.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pools.deadline()
    }

    /// Runs one part of the network once. Returns false if there was no job.
    pub(super) fn step(&mut self) -> Result<bool, EngineError> {
        let Some(run) = self.scheduler.next_run(self.now()) else {
            if self.flight.groups.is_empty() {
                return Ok(false);
            }
            return Err(EngineError::Stalled { items: self.in_flight() });
        };
        let record = self.executor.execute(&run, &self.flight)?;
        self.stats.add_run(&record);
        self.update(run)?;
        Ok(true)
    }

    /// Every arity of a test that the plans of all bands use.
    pub(super) fn arities(&self) -> Vec<usize> {
        self.bands.iter().flat_map(|band| band.plan.arities()).collect()
    }

    fn form_group(&mut self, pool: usize, items: Vec<ItemId>) -> Result<(), EngineError> {
        let band = pool / self.pool_rule.key_pools();
        let plan = &self.bands[band].plan;
        let risks: Vec<Option<f32>> = items.iter().map(|&id| self.flight.items[id].risk).collect();
        let known = risks.iter().any(Option::is_some);
        let policy = if known { plan.policy_for(&risks) } else { plan.policy() };
        self.stats.groups += 1;
        self.start_group(band, items, policy)
    }

    fn start_group(
        &mut self,
        band: usize,
        items: Vec<ItemId>,
        mut policy: Box<dyn Policy>,
    ) -> Result<(), EngineError> {
        let size = items.len();
        let mut decision = std::mem::take(&mut self.decision);
        decision.reset();
        policy.start(size, &mut decision);
        let group = Group {
            items,
            band,
            open: Members::first(size),
            policy,
            thresholds: Arc::clone(&self.bands[band].thresholds),
            outstanding: 0,
            blocked: Vec::new(),
            positive: Vec::new(),
            merged: Vec::new(),
        };
        let id = self.flight.groups.insert(group);
        self.apply(id, decision)
    }

    /// The error of a policy that broke its contract.
    pub(super) fn policy_error(&self, what: &'static str) -> EngineError {
        let plans: Vec<String> = self.bands.iter().map(|band| band.plan.describe()).collect();
        EngineError::Policy { policy: plans.join(", "), what }
    }
}
