//! Draws the groups of a simulated stream and resolves them by a plan (pure).

use std::collections::VecDeque;

use fastrand::Rng;

use super::hour::Hour;
use super::member::{GroupModel, Levels};
use super::stream::PositivePositions;
use crate::cost::StageCosts;
use crate::planner::{ChainLink, ChainPlan, Coherence, ItemFlow};
use crate::policy::{Decision, Individual, MultiRound, Outcome, Plan, Policy, Test};

/// Items that are drawn at a time where exits clear most of them.
const CHUNK: usize = 64;

/// Draws groups of items and resolves them by one plan and its policy.
pub(super) struct Resolver {
    size: usize,
    /// What becomes of an item at the exits, if the plan uses any.
    flow: Option<ItemFlow>,
    /// Items that have passed the exits and wait for a group: whether each is positive.
    passed: VecDeque<bool>,
    sizes: Vec<usize>,
    members: GroupModel,
    policy: Box<dyn Policy>,
    /// The cost of the stages before the last one, for a whole group.
    group: f64,
    /// By level: the cost of a retest.
    test: Vec<f64>,
    /// Whether the first test contains the whole group, so that a negative outcome ends it.
    whole: bool,
    places: Vec<usize>,
    levels: Vec<Levels>,
    decision: Decision,
    open: Vec<Test>,
}

impl Resolver {
    /// The resolver of a planner's plan.
    pub fn of_chain(plan: &ChainPlan, coherence: Coherence, costs: &StageCosts) -> Self {
        // A plan of the planner is always a valid chain; individual testing is the fallback.
        let resolver = match MultiRound::new(&plan.sizes()) {
            Ok(policy) => Self::new(&policy, &plan.chain, coherence, costs),
            Err(_) => Self::new(&Individual, &plan.chain, coherence, costs),
        };
        match plan.flow {
            Some(flow) => {
                let behind = costs.after_items();
                let group = behind.first(resolver.size) - behind.retest(resolver.size);
                Self { flow: Some(flow), group, ..resolver }
            }
            None => resolver,
        }
    }

    /// The resolver of a plan of any policy, without exits.
    pub fn new(
        plan: &dyn Plan,
        links: &[ChainLink],
        coherence: Coherence,
        costs: &StageCosts,
    ) -> Self {
        let (size, sizes): (usize, Vec<usize>) =
            (plan.group_size(), links.iter().map(|link| link.size).collect());
        let mut decision = Decision::default();
        plan.policy().start(size, &mut decision);
        let whole = decision.tests.len() == 1
            && decision.tests[0].members.len() == size
            && sizes[0] == size;
        Self {
            size,
            flow: None,
            passed: VecDeque::new(),
            members: GroupModel::new(links, coherence),
            policy: plan.policy(),
            group: costs.first(size) - costs.retest(size),
            test: sizes.iter().map(|&size| costs.retest(size)).collect(),
            whole,
            sizes,
            places: Vec::new(),
            levels: Vec::new(),
            decision: Decision::default(),
            open: Vec::new(),
        }
    }

    /// Draws a group, resolves it, and adds it to `sums`. Returns the numbers of items and of
    /// flagged items.
    pub fn group(
        &mut self,
        positives: &mut PositivePositions,
        chance: &mut Rng,
        rng: &mut Rng,
        sums: &mut Hour,
    ) -> (u64, u64) {
        let size = self.size;
        let items = match self.flow {
            Some(flow) => self.pass(flow, positives, chance, rng, sums),
            None => {
                positives.next(size, chance, &mut self.places);
                sums.positives += self.places.len() as u64;
                size as u64
            }
        };
        sums.items += items;
        sums.cost += self.group;
        if !self.whole {
            self.members.draw_all(size, &self.places, rng, &mut self.levels);
            return (items, self.resolve(size, sums));
        }
        if !self.members.draw(size, &self.places, rng, &mut self.levels) {
            sums.tests += 1;
            sums.cost += self.test[0];
            return (items, 0);
        }
        (items, self.resolve(size, sums))
    }

    /// Draws items until a group of them has passed the exits, and sets its positives. Returns the
    /// number of items drawn.
    fn pass(
        &mut self,
        flow: ItemFlow,
        positives: &mut PositivePositions,
        chance: &mut Rng,
        rng: &mut Rng,
        sums: &mut Hour,
    ) -> u64 {
        let mut items = 0;
        while self.passed.len() < self.size {
            positives.next(CHUNK, chance, &mut self.places);
            items += CHUNK as u64;
            sums.positives += self.places.len() as u64;
            let found = self.places.len() as f64;
            sums.cost += found * flow.positive_cost;
            sums.cost += (CHUNK as f64 - found) * flow.negative_cost;
            let mut next = self.places.iter().copied().peekable();
            for place in 0..CHUNK {
                let positive = next.next_if_eq(&place).is_some();
                let share = if positive { flow.positive } else { flow.negative };
                if rng.f64() < share {
                    self.passed.push_back(positive);
                }
            }
        }
        let group = self.passed.drain(..self.size).enumerate();
        self.places.clear();
        self.places.extend(group.filter(|(_, positive)| *positive).map(|(place, _)| place));
        items
    }

    /// Runs the tests of a group whose members are drawn. Returns the number of flagged items.
    fn resolve(&mut self, size: usize, sums: &mut Hour) -> u64 {
        let mut flagged = 0;
        self.decision.reset();
        self.policy.start(size, &mut self.decision);
        loop {
            for place in self.decision.flagged.iter() {
                flagged += 1;
                let positive = self.places.contains(&place);
                sums.found += u64::from(positive);
                sums.false_positives += u64::from(!positive);
            }
            self.open.append(&mut self.decision.tests);
            let Some(test) = self.open.pop() else { return flagged };
            let level = self.sizes.iter().rposition(|&s| s >= test.members.len()).unwrap_or(0);
            sums.tests += 1;
            sums.cost += self.test[level];
            let positive = test.members.iter().any(|place| self.levels[place] >> level & 1 == 1);
            self.decision.reset();
            let score = if positive { 1.0 } else { 0.0 };
            self.policy.observe(test, Outcome { positive, score }, &mut self.decision);
        }
    }
}
