//! The engine: its parts, how it is set up, how items enter it and form groups, and one step.

use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use super::clock::Clock;
use super::executor::Executor;
use super::group::Group;
use super::in_flight::InFlight;
use super::item::{Item, ItemId, ItemVerdict, PoolAssignment};
use super::network::{Network, NetworkPart, RunError};
use super::scheduler::Scheduler;
use super::settings::BatchSettings;
use super::stats::Stats;
use crate::calibration::Thresholds;
use crate::grouping::Pools;
use crate::policy::{Decision, Members, Plan};

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
    /// `key_pools` pools per band.
    pools: Pools<ItemId>,
    key_pools: usize,
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
        let stages = shape.levels.len() + 1;
        Self {
            pools: Pools::new([band.plan.group_size().min(slots)], settings.max_wait),
            key_pools: 1,
            scheduler: Scheduler::new(shape, settings),
            executor: Executor::new(network, Box::new(clock)),
            flight: InFlight { items: Slab::new(), groups: Slab::new() },
            bands: vec![band.into()],
            confirm: None,
            verdicts: Vec::new(),
            stats: Stats::new(stages, 1),
            decision: Decision::default(),
        }
    }

    /// Adds risk bands: the plan of [`Engine::new`] is that of band 0, and `others` are those of
    /// bands 1, 2 and so on. Each band has `key_pools` pools (0 counts as 1): pool `p` belongs to
    /// band `p / key_pools`. Call it before any item is offered: it makes new pools and stats.
    pub fn with_pools(mut self, others: Vec<BandPlan>, key_pools: usize) -> Self {
        self.bands.extend(others.into_iter().map(Band::from));
        self.key_pools = key_pools.max(1);
        let slots = self.slots();
        let sizes = self.bands.iter().map(|band| band.plan.group_size().min(slots));
        let sizes = sizes.flat_map(|size| std::iter::repeat_n(size, self.key_pools));
        self.pools = Pools::new(sizes, self.scheduler.settings().max_wait);
        self.stats = Stats::new(self.stats.stages.len(), self.bands.len());
        self
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
        for pool in band * self.key_pools..(band + 1) * self.key_pools {
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
    pub(super) fn offer(
        &mut self,
        assignment: PoolAssignment,
        image: Vec<f32>,
        payload: T,
        now: Instant,
    ) -> Result<(), EngineError> {
        let id = self.flight.items.insert(Item::new(image, payload, assignment.risk));
        self.stats.items += 1;
        self.scheduler.add_item(id);
        self.pool(assignment.pool, id, now)
    }

    /// Puts an item into a pool, and forms the pool's group if it is full. This may happen before
    /// or after the item's first stage has run: a group tracks how many of its members lack
    /// features.
    fn pool(&mut self, pool: usize, item: ItemId, now: Instant) -> Result<(), EngineError> {
        match self.pools.push(pool, item, now) {
            Some(items) => self.form_group(pool, items),
            None => Ok(()),
        }
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
        let (size, band) = (items.len(), pool / self.key_pools);
        let Band { plan, thresholds } = &self.bands[band];
        let of_items = |id: &ItemId| &self.flight.items[*id];
        let risks: Vec<Option<f32>> = items.iter().map(|id| of_items(id).risk).collect();
        let known = risks.iter().any(Option::is_some);
        let mut policy = if known { plan.policy_for(&risks) } else { plan.policy() };
        let mut decision = std::mem::take(&mut self.decision);
        decision.reset();
        policy.start(size, &mut decision);
        let group = Group {
            without_features: items.iter().filter(|id| of_items(id).slot.is_none()).count(),
            items,
            band,
            open: Members::first(size),
            policy,
            thresholds: Arc::clone(thresholds),
            outstanding: 0,
            blocked: Vec::new(),
            positive: Vec::new(),
            merged: Vec::new(),
        };
        let id = self.flight.groups.insert(group);
        for &item in &self.flight.groups[id].items {
            self.flight.items[item].group = Some(id);
        }
        self.stats.groups += 1;
        self.apply(id, decision)
    }

    /// The error of a policy that broke its contract.
    pub(super) fn policy_error(&self, what: &'static str) -> EngineError {
        let plans: Vec<String> = self.bands.iter().map(|band| band.plan.describe()).collect();
        EngineError::Policy { policy: plans.join(", "), what }
    }
}
