//! The engine itself: what is in it, how it is set up, and how items come in and form groups.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use super::Judged;
use super::group::Group;
use super::lanes::Lane;
use super::network::{Network, Part, RunError};
use super::rows::Rows;
use super::stats::{BandStats, Expected, StageStats, Stats};
use crate::grouping::Pools;
use crate::retest::{Ask, MAX_GROUP, Members, Plan, Step, Thresholds};

/// How an engine batches.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most rows of one run of a stage.
    pub max_batch: usize,
    /// The batch from which a larger one gains no more rows a second on this device.
    pub preferred_batch: usize,
    /// Batch sizes that were warmed up, rising; empty where any size is as good (CPU).
    pub buckets: Vec<usize>,
    /// How long a group waits for members.
    pub max_wait: Duration,
}

/// Why an engine can't go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The network failed.
    #[error(transparent)]
    Network(#[from] RunError),
    /// A policy broke its contract.
    #[error("a bug in policy {policy}: {what}")]
    Policy {
        /// Which plan.
        policy: String,
        /// What it did.
        what: &'static str,
    },
    /// Items are there, but nothing can run: rows were leaked.
    #[error("a bug in the engine: {items} items are in flight and nothing can run")]
    Stalled {
        /// How many.
        items: usize,
    },
}

/// Pools items into groups and resolves them on a network. One thread owns it.
pub struct Engine<N, T> {
    pub(super) network: N,
    /// By band of risk.
    pub(super) courses: Vec<Course>,
    pub(super) settings: Settings,
    /// So many `lanes` for each band.
    pools: Pools<usize>,
    lanes: usize,
    pub(super) items: Slab<Item<T>>,
    pub(super) groups: Slab<Group>,
    /// Which rows of each level are free.
    pub(super) rows: Vec<Rows>,
    /// Items without features.
    pub(super) arrivals: VecDeque<usize>,
    /// By level and arity: groups and the members whose rows are to be merged.
    pub(super) merges: Vec<Vec<Lane<(usize, Members)>>>,
    /// By arity: groups and the tests they wait for.
    pub(super) tests: Vec<Lane<(usize, Ask)>>,
    /// What the confirm network's scores are judged by, if it has a say.
    pub(super) confirm: Option<Thresholds>,
    /// Items that would be flagged and wait for the confirm network.
    pub(super) confirms: Lane<usize>,
    pub(super) judged: Vec<Judged<T>>,
    pub(super) stats: Stats,
    pub(super) expected: Option<Expected>,
    pub(super) step: Step,
    pub(super) members: Vec<i64>,
    pub(super) scores: Vec<f32>,
}

/// How the groups of a band are tested.
pub(super) struct Course {
    pub(super) plan: Box<dyn Plan>,
    thresholds: Arc<Thresholds>,
}

impl Course {
    fn new(plan: Box<dyn Plan>, thresholds: Thresholds) -> Self {
        Self { plan, thresholds: Arc::new(thresholds) }
    }
}

/// Which group an item may be in.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Place {
    /// The pool whose items it shares groups with; 0 where there is one alone.
    pub pool: usize,
    /// How likely it is positive, as far as is known.
    pub risk: Option<f32>,
}

/// An item in flight.
pub(super) struct Item<T> {
    pub(super) payload: T,
    pub(super) risk: Option<f32>,
    /// Empty once its features are computed, unless the confirm network may want it.
    pub(super) image: Vec<f32>,
    /// Its row of level 0.
    pub(super) row: Option<usize>,
    /// Its group, once it has one.
    pub(super) group: Option<usize>,
    /// Tests of it that are outstanding.
    pub(super) pending: u16,
    pub(super) tests: u16,
    pub(super) rounds: u8,
    pub(super) score: f32,
    pub(super) arity: u8,
    pub(super) passed: Vec<(usize, f32)>,
    /// Whether it had an audit.
    pub(super) audited: bool,
}

impl<N: Network, T> Engine<N, T> {
    /// An engine with nothing in it. The plan's group size must be at most [`MAX_GROUP`] and at most the rows of level 0.
    pub fn new(network: N, plan: Box<dyn Plan>, thresholds: Thresholds, settings: Settings) -> Self {
        let form = network.form();
        let arities = MAX_GROUP + 1;
        let stages = form.levels.len() + 1;
        Self {
            pools: Pools::new([plan.group_size().min(form.levels[0].rows)], settings.max_wait),
            lanes: 1,
            rows: form.levels.iter().map(|l| Rows::new(l.rows)).collect(),
            merges: form.levels.iter().map(|_| (0..arities).map(|_| Lane::default()).collect()).collect(),
            tests: (0..arities).map(|_| Lane::default()).collect(),
            confirm: None,
            confirms: Lane::default(),
            stats: Stats {
                stages: vec![StageStats::default(); stages],
                bands: vec![BandStats::default()],
                ..Stats::default()
            },
            expected: None,
            network,
            courses: vec![Course::new(plan, thresholds)],
            settings,
            items: Slab::new(),
            groups: Slab::new(),
            arrivals: VecDeque::new(),
            judged: Vec::new(),
            step: Step::default(),
            members: Vec::new(),
            scores: Vec::new(),
        }
    }

    /// Pools items apart: those of the plan of [`Engine::new`] are of band 0, and each of `others` is of a band more. Each band has so many
    /// `lanes`, so that pool `p` is of band `p / lanes`. Group sizes must be as in [`Engine::new`].
    pub fn with_pools(mut self, others: Vec<(Box<dyn Plan>, Thresholds)>, lanes: usize) -> Self {
        self.courses.extend(others.into_iter().map(|(plan, thresholds)| Course::new(plan, thresholds)));
        self.lanes = lanes.max(1);
        let rows = self.network.form().levels[0].rows;
        let sizes = self.courses.iter().map(|course| course.plan.group_size().min(rows));
        let sizes = sizes.flat_map(|size| std::iter::repeat_n(size, self.lanes));
        self.pools = Pools::new(sizes, self.settings.max_wait);
        self.stats.bands = vec![BandStats::default(); self.courses.len()];
        self
    }

    /// Lets the network's confirm have the last word: what would be flagged is flagged only if its scores pass `thresholds` (at arity 1) too.
    /// Images are then held until their item's verdict.
    pub fn with_confirm(mut self, thresholds: Thresholds) -> Self {
        self.confirm = Some(thresholds);
        self
    }

    /// Adds to the stats what each run should have taken: seconds by its part, arity and batch.
    pub fn with_expected(mut self, seconds: impl Fn(Part, usize, usize) -> Option<f64> + Send + 'static) -> Self {
        self.expected = Some(Box::new(seconds));
        self
    }

    /// Forms the groups of a band by another plan from now on; those in flight go on by theirs, and so do the open ones if they are full by
    /// the new plan. The plan's group size must be as in [`Engine::new`].
    ///
    /// # Errors
    /// As [`Engine::offer`].
    pub fn replan(&mut self, band: usize, plan: Box<dyn Plan>, thresholds: Thresholds) -> Result<(), EngineError> {
        let size = plan.group_size().min(self.network.form().levels[0].rows);
        for pool in band * self.lanes..(band + 1) * self.lanes {
            if let Some(items) = self.pools.resize(pool, size) {
                self.form_group(pool, items)?;
            }
        }
        self.courses[band] = Course::new(plan, thresholds);
        Ok(())
    }

    /// Whether another item can be taken: its row is the bound on items in flight.
    pub fn has_room(&self) -> bool {
        self.items.len() < self.network.form().levels[0].rows
    }

    /// Items in flight.
    pub fn in_flight(&self) -> usize {
        self.items.len()
    }

    /// Takes an item into the first pool. Call only while [`Engine::has_room`].
    ///
    /// # Errors
    /// [`EngineError::Policy`] if the plan's policy breaks its contract.
    pub fn offer(&mut self, image: Vec<f32>, payload: T, now: Instant) -> Result<(), EngineError> {
        self.offer_to(Place::default(), image, payload, now)
    }

    /// Takes an item into a pool, as [`Engine::offer`]; its risk is what a policy that looks at risks goes by.
    ///
    /// # Errors
    /// As [`Engine::offer`].
    pub fn offer_to(&mut self, place: Place, image: Vec<f32>, payload: T, now: Instant) -> Result<(), EngineError> {
        let item = Item {
            payload,
            risk: place.risk,
            image,
            row: None,
            group: None,
            pending: 0,
            tests: 0,
            rounds: 0,
            score: f32::NAN,
            arity: 0,
            passed: Vec::new(),
            audited: false,
        };
        let id = self.items.insert(item);
        self.stats.items += 1;
        self.arrivals.push_back(id);
        match self.pools.push(place.pool, id, now) {
            Some(items) => self.form_group(place.pool, items),
            None => Ok(()),
        }
    }

    /// Closes the open groups whose time is up.
    ///
    /// # Errors
    /// As [`Engine::offer`].
    pub fn expire(&mut self, now: Instant) -> Result<(), EngineError> {
        while let Some((pool, items)) = self.pools.expire(now) {
            self.form_group(pool, items)?;
        }
        Ok(())
    }

    /// Closes the open groups as they are.
    ///
    /// # Errors
    /// As [`Engine::offer`].
    pub fn flush(&mut self) -> Result<(), EngineError> {
        while let Some((pool, items)) = self.pools.flush() {
            self.form_group(pool, items)?;
        }
        Ok(())
    }

    /// When the first open group must be closed, if there is one.
    pub fn deadline(&self) -> Option<Instant> {
        self.pools.deadline()
    }

    /// Runs one stage once, if any job waits. False if there was nothing to do.
    ///
    /// # Errors
    /// [`EngineError`]: the engine must then be thrown away; items in it have no verdict.
    pub fn step(&mut self) -> Result<bool, EngineError> {
        let Some(run) = self.next_run() else {
            return match self.groups.is_empty() {
                true => Ok(false),
                false => Err(EngineError::Stalled { items: self.items.len() }),
            };
        };
        self.run(run)?;
        Ok(true)
    }

    /// Items that got their verdict since the last call.
    pub fn judged(&mut self) -> impl Iterator<Item = Judged<T>> + '_ {
        self.judged.drain(..)
    }

    /// What was done so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The network.
    pub fn network(&self) -> &N {
        &self.network
    }

    fn form_group(&mut self, pool: usize, items: Vec<usize>) -> Result<(), EngineError> {
        let (size, band) = (items.len(), pool / self.lanes);
        let unready = items.iter().filter(|&&id| self.items[id].row.is_none()).count();
        let mut step = std::mem::take(&mut self.step);
        step.reset();
        let course = &self.courses[band];
        let risky = items.iter().any(|&id| self.items[id].risk.is_some());
        let mut policy = match risky {
            true => course.plan.policy_for(&items.iter().map(|&id| self.items[id].risk).collect::<Vec<_>>()),
            false => course.plan.policy(),
        };
        policy.start(size, &mut step);
        let open = Members::first(size);
        let thresholds = Arc::clone(&course.thresholds);
        let (blocked, positive, nodes) = (Vec::new(), Vec::new(), Vec::new());
        let group = Group { items, band, open, policy, thresholds, unready, running: 0, blocked, positive, nodes };
        let id = self.groups.insert(group);
        for &item in &self.groups[id].items {
            self.items[item].group = Some(id);
        }
        self.stats.groups += 1;
        self.apply(id, step)
    }
}
