//! Runs a simulated stream through a plan (pure).

use std::collections::VecDeque;

use fastrand::Rng;

use super::member::{GroupModel, Levels};
use super::stream::{PositivePositions, Stream};
use crate::cost::StageCosts;
use crate::planner::{
    AdaptivePlanner, ChainLink, ChainPlan, Coherence, ItemFlow, VERDICTS_PER_UPDATE,
};
use crate::policy::{Decision, Individual, MultiRound, Outcome, Plan, Policy, Test};

/// Where the plan of a simulated stream comes from.
pub enum PlanSource {
    /// One chain of a planner for the whole stream.
    Fixed(ChainPlan),
    /// One plan of any policy that does not read scores, for the whole stream. In the simulation
    /// the score of a positive test is 1, and that of a negative test is 0.
    Policy(SimulatedPlan),
    /// An adaptive planner. It observes only verdicts, at least [`VERDICTS_PER_UPDATE`] at a time.
    Adaptive(Box<AdaptivePlanner>),
}

/// A plan with the operating points of its tests.
pub struct SimulatedPlan {
    /// The plan.
    pub plan: Box<dyn Plan>,
    /// Sizes of tests, falling to 1, with their operating points; at least one and at most 32. A
    /// test of a size between two links has the operating point of the larger one, and a test
    /// larger than the first link has that of the first.
    pub links: Vec<ChainLink>,
}

impl PlanSource {
    fn describe(&self) -> String {
        match self {
            Self::Fixed(plan) => plan.describe(),
            Self::Policy(planned) => planned.plan.describe(),
            Self::Adaptive(planner) => planner.plan().describe(),
        }
    }

    fn resolver(&self, coherence: Coherence, costs: &StageCosts) -> Resolver {
        match self {
            Self::Fixed(plan) => Resolver::of_chain(plan, coherence, costs),
            Self::Policy(SimulatedPlan { plan, links }) => {
                Resolver::new(&**plan, links, coherence, costs)
            }
            Self::Adaptive(planner) => Resolver::of_chain(planner.plan(), coherence, costs),
        }
    }

    fn observe(&mut self, items: u64, flagged: u64) -> bool {
        match self {
            Self::Fixed(_) | Self::Policy(_) => false,
            Self::Adaptive(planner) => planner.observe(items, flagged),
        }
    }
}

/// The sums of one simulated hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Hour {
    /// The share of positives in the stream's configuration, 0 to 1.
    pub prevalence: f64,
    /// The estimated prevalence at the end of the hour, 0 to 1. `None` without an adaptive planner.
    pub estimate: Option<f64>,
    /// The plan at the end of the hour, in words.
    pub plan: String,
    /// Number of plan changes.
    pub changes: u64,
    /// Number of items.
    pub items: u64,
    /// Number of positives among the items.
    pub positives: u64,
    /// Number of positives that were flagged.
    pub found: u64,
    /// Number of negatives that were flagged.
    pub false_positives: u64,
    /// Number of tests.
    pub tests: u64,
    /// Cost of all items, in the unit of the costs: the stages before the last, and the tests.
    pub cost: f64,
}

/// Runs a stream hour by hour, calls `each` with every finished hour, and returns all hours:
/// `[hours]`. The same `seed` gives the same positives for all plans whose group sizes divide
/// [`Stream::rate`].
///
/// All groups are full. An hour ends with the group that reaches [`Stream::rate`] items, so it may
/// have up to one group more. Where the plan uses exits, each item passes them with the probability
/// of its kind ([`ItemFlow`]), and groups are formed from the items that pass. Outcomes of tests follow the operating points of the plan under the
/// model of [`crate::planner::expected`], with this `coherence`. Each group is charged once for the
/// stages before the last, and every test as [`StageCosts::retest`] of its link's size.
///
/// ```
/// use dorfman_core::calibration::OperatingPoint;
/// use dorfman_core::cost::StageCosts;
/// use dorfman_core::planner::{ChainLink, Coherence};
/// use dorfman_core::policy::MultiRound;
/// use dorfman_core::simulation::{PlanSource, SimulatedPlan, Stream, simulate};
///
/// let perfect = OperatingPoint { sensitivity: 1.0, specificity: 1.0 };
/// let links = [16, 4, 1].map(|size| ChainLink { size, point: perfect }).to_vec();
/// let plan = Box::new(MultiRound::new(&[16, 4, 1])?);
/// let source = PlanSource::Policy(SimulatedPlan { plan, links });
/// let stream =
///     Stream { prevalence: 0.01, burst: None, correlation: 0.0, rate: 16_000, hours: 1 };
/// let costs = StageCosts { items: vec![0.1], last: vec![(1, 0.9)], ..StageCosts::default() };
/// let hours = simulate(&stream, source, Coherence::default(), &costs, 1, |_| {});
/// assert_eq!(hours[0].recall(), Some(1.0));
/// assert!(hours[0].cost_per_item() < 0.5);
/// # Ok::<(), dorfman_core::policy::PlanError>(())
/// ```
///
/// # Panics
/// If the chain or the links of `source` are empty, or the span of a tier of `costs` is 0.
pub fn simulate(
    stream: &Stream,
    mut source: PlanSource,
    coherence: Coherence,
    costs: &StageCosts,
    seed: u64,
    mut each: impl FnMut(&Hour),
) -> Vec<Hour> {
    // The positions of positives must not depend on outcomes, so that all plans see the same
    // stream.
    let (mut chance, mut rng) = (Rng::with_seed(seed), Rng::with_seed(seed ^ 0x5eed));
    let mut positives =
        PositivePositions::new(stream.prevalence(0), stream.correlation, &mut chance);
    let mut table = source.resolver(coherence, costs);
    let mut hours = Vec::with_capacity(stream.hours);
    let (mut with_verdict, mut flagged) = (0, 0);
    for hour in 0..stream.hours {
        positives.change(stream.prevalence(hour), &mut chance);
        let mut sums = Hour::new(stream.prevalence(hour));
        while sums.items < stream.rate {
            let (items, flags) = table.group(&mut positives, &mut chance, &mut rng, &mut sums);
            with_verdict += items;
            flagged += flags;
            if with_verdict < VERDICTS_PER_UPDATE {
                continue;
            }
            if source.observe(with_verdict, flagged) {
                table = source.resolver(coherence, costs);
                sums.changes += 1;
            }
            (with_verdict, flagged) = (0, 0);
        }
        sums.plan = source.describe();
        if let PlanSource::Adaptive(planner) = &source {
            sums.estimate = Some(planner.prevalence());
        }
        each(&sums);
        hours.push(sums);
    }
    hours
}

impl Hour {
    fn new(prevalence: f64) -> Self {
        let (plan, estimate, cost) = (String::new(), None, 0.0);
        let (changes, items, positives, found, false_positives, tests) = (0, 0, 0, 0, 0, 0);
        Self {
            prevalence,
            estimate,
            plan,
            changes,
            items,
            positives,
            found,
            false_positives,
            tests,
            cost,
        }
    }

    /// The sums of this hour and the same hour of another stream. The prevalence is the mean
    /// weighted by items. Plan and estimate are left out.
    pub fn with(&self, other: &Self) -> Self {
        let share = self.items as f64 / (self.items + other.items).max(1) as f64;
        Self {
            changes: self.changes + other.changes,
            items: self.items + other.items,
            positives: self.positives + other.positives,
            found: self.found + other.found,
            false_positives: self.false_positives + other.false_positives,
            tests: self.tests + other.tests,
            cost: self.cost + other.cost,
            ..Self::new(share * self.prevalence + (1.0 - share) * other.prevalence)
        }
    }

    /// The share of positives that were flagged, 0 to 1. `None` without positives.
    pub fn recall(&self) -> Option<f64> {
        (self.positives > 0).then(|| self.found as f64 / self.positives as f64)
    }

    /// The cost per item, in the unit of the costs. 0 without items.
    pub fn cost_per_item(&self) -> f64 {
        self.cost / self.items.max(1) as f64
    }
}

/// Items that are drawn at a time where exits clear most of them.
const CHUNK: usize = 64;

/// Resolves groups by one plan and its policy.
struct Resolver {
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
    fn of_chain(plan: &ChainPlan, coherence: Coherence, costs: &StageCosts) -> Self {
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

    fn new(plan: &dyn Plan, links: &[ChainLink], coherence: Coherence, costs: &StageCosts) -> Self {
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

    /// Draws a group and resolves it. Returns the numbers of items and of flagged items.
    fn group(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{
        ArityPoints, JointExit, JointRow, JointScores, OperatingPoint, OperatingPoints,
    };
    use crate::engine::NetworkPart;
    use crate::planner::{ExitLink, PlanConstraints, Planner, ReplanRule, expected};
    use crate::policy::{Halving, OneRound};
    use crate::simulation::{Burst, Risk};

    fn points() -> OperatingPoints {
        let entry = |arity: usize| {
            let point = |s: f64| OperatingPoint {
                sensitivity: s,
                specificity: 1.0 - 0.02 * (1.0 - s).powf(-0.25) * arity as f64 / 32.0,
            };
            ArityPoints { arity, points: [0.98, 0.99, 0.995, 0.998].map(point).into() }
        };
        OperatingPoints::new([1, 2, 4, 8, 16, 32].map(entry).into()).unwrap()
    }

    fn costs() -> StageCosts {
        StageCosts { items: vec![0.1], last: vec![(1, 0.9)], ..StageCosts::default() }
    }

    const CONSTRAINTS: PlanConstraints = PlanConstraints {
        individual_sensitivity: 0.99,
        recall_loss: 0.005,
        recall_price: 0.0,
        largest: 32,
        rounds: 4,
    };

    fn planner() -> Planner {
        Planner::new(points(), costs(), CONSTRAINTS).unwrap()
    }

    fn steady(prevalence: f64, rate: u64) -> Stream {
        Stream { prevalence, burst: None, correlation: 0.0, rate, hours: 1 }
    }

    #[test]
    fn simulated_and_expected_costs_agree() {
        let link = |size, s, f| ChainLink {
            size,
            point: OperatingPoint { sensitivity: s, specificity: f },
        };
        let chain = vec![link(16, 0.95, 0.9), link(4, 0.96, 0.95), link(1, 0.97, 0.98)];
        let (coherence, costs) = (Coherence { positive: 0.7, negative: 0.8 }, costs());
        for p in [0.001, 0.05] {
            let e = expected(&chain, p, coherence, &costs);
            let fixed = PlanSource::Fixed(ChainPlan::without_exits(chain.clone(), e.clone()));
            let hours = simulate(&steady(p, 4_000_000), fixed, coherence, &costs, 1, |_| {});
            let h = &hours[0];
            assert!(
                (h.cost_per_item() / e.cost - 1.0).abs() < 0.01,
                "{p}: {} {}",
                h.cost_per_item(),
                e.cost
            );
            let tests: f64 = e.tests.iter().sum();
            assert!((h.tests as f64 / h.items as f64 / tests - 1.0).abs() < 0.01);
            let error = 4.0 * (0.05 / h.positives as f64).sqrt();
            assert!(
                (h.recall().unwrap() - e.recall).abs() < error,
                "{p}: {:?} {}",
                h.recall(),
                e.recall
            );
            let fpr = h.false_positives as f64 / (h.items - h.positives) as f64;
            assert!((fpr / e.fpr - 1.0).abs() < 0.05, "{p}: {fpr} {}", e.fpr);
        }
    }

    /// On the same stream, halving takes fewer tests than a chain of halves, and one round takes
    /// two tests per side of its square regardless of the outcomes.
    #[test]
    fn policies_can_be_compared() {
        let (costs, stream) = (costs(), steady(0.01, 400_000));
        let link = |size| ChainLink { size, point: points().at(size, 0.99).unwrap() };
        let links = || [16, 8, 4, 2, 1].map(link).to_vec();
        let run = |plan: Box<dyn Plan>| {
            let source = PlanSource::Policy(SimulatedPlan { plan, links: links() });
            simulate(&stream, source, Coherence::default(), &costs, 1, |_| {}).remove(0)
        };
        let chain = run(Box::new(MultiRound::new(&[16, 8, 4, 2, 1]).unwrap()));
        let fixed =
            PlanSource::Fixed(ChainPlan::without_exits(links(), planner().best(0.01).expected));
        assert_eq!(
            chain,
            simulate(&stream, fixed, Coherence::default(), &costs, 1, |_| {}).remove(0)
        );
        let halving = run(Box::new(Halving::new(16).unwrap()));
        let square = run(Box::new(OneRound::new(16).unwrap()));
        assert!(
            halving.tests < chain.tests && halving.recall().unwrap() > 0.93,
            "{halving:?} {chain:?}"
        );
        assert_eq!(square.tests, square.items / 2);
        assert!(
            (square.cost_per_item() - (0.1 + 0.9 / 2.0)).abs() < 1e-9
                && square.recall().unwrap() > 0.97,
            "{square:?}"
        );
    }

    /// Informative group testing: with one plan per risk band the cost is lower and the recall is
    /// kept.
    #[test]
    fn pooling_by_risk_is_cheaper() {
        let (costs, coherence, p) = (costs(), Coherence::default(), 0.03);
        let whole = steady(p, 1_000_000);
        let run = |stream: &Stream| {
            let plan = planner().best(stream.prevalence);
            simulate(stream, PlanSource::Fixed(plan), coherence, &costs, 1, |_| {}).remove(0)
        };
        let together = run(&whole);
        let bands = Risk { prevalence: p, explained: 0.2 }.bands(&[0.003, 0.03, 0.3]);
        let apart =
            bands.iter().map(|band| run(&whole.band(band))).reduce(|a, b| a.with(&b)).unwrap();
        assert!((apart.items as f64 / together.items as f64 - 1.0).abs() < 0.01);
        assert!((apart.positives as f64 / together.positives as f64 - 1.0).abs() < 0.03);
        assert!(apart.cost_per_item() < 0.9 * together.cost_per_item(), "{apart:?} {together:?}");
        assert!(apart.recall().unwrap() > 0.985 - 0.005, "{apart:?}");
    }

    /// Exits that pass 5 % of the negatives and 99 % of the positives, and pairs behind them.
    #[test]
    fn simulated_and_expected_costs_agree_behind_exits() {
        let exit = JointExit { part: NetworkPart::Stage(0), sensitivities: vec![0.99] };
        let row = |positive, passes: bool| JointRow {
            positive,
            exits: vec![u8::from(!passes)],
            individual: Some(if positive { 0 } else { 9 }),
        };
        let positives = (0..1000).map(|i| row(true, i >= 10));
        let negatives = (0..1000).map(|i| row(false, i < 50));
        let individual = vec![0.98, 0.99, 0.995, 0.998];
        let joint = JointScores::new(vec![exit], individual, positives.chain(negatives)).unwrap();
        let constraints = PlanConstraints { recall_loss: 0.05, ..CONSTRAINTS };
        let planner = Planner::new(points(), costs(), constraints).unwrap();
        let planner = planner.with_exits(joint, vec![]).unwrap();
        let link = ExitLink { part: NetworkPart::Stage(0), sensitivity: 0.99 };
        for p in [0.001, 0.02] {
            let plan = planner.plan_of(&[link], &[2, 1], 0.99, p).unwrap();
            let e = plan.expected.clone();
            let fixed = PlanSource::Fixed(plan);
            let coherence = Coherence::default();
            let hours = simulate(&steady(p, 4_000_000), fixed, coherence, &costs(), 1, |_| {});
            let h = &hours[0];
            let cost = h.cost_per_item();
            assert!((cost / e.cost - 1.0).abs() < 0.01, "{p}: {cost} {}", e.cost);
            let tests: f64 = e.tests.iter().sum();
            assert!((h.tests as f64 / h.items as f64 / tests - 1.0).abs() < 0.02);
            let error = 4.0 * (0.05 / h.positives as f64).sqrt();
            assert!((h.recall().unwrap() - e.recall).abs() < error, "{p}: {h:?} {e:?}");
        }
    }

    #[test]
    fn one_seed_is_one_stream_whatever_the_plan() {
        let costs = costs();
        let run = |p: f64, seed| {
            let plan = planner().best(p);
            let stream = Stream { hours: 2, ..steady(0.01, 32 * 10_000) };
            simulate(&stream, PlanSource::Fixed(plan), Coherence::default(), &costs, seed, |_| {})
        };
        let count = |hours: &[Hour]| hours.iter().map(|h| h.positives).collect::<Vec<_>>();
        assert_eq!(run(0.01, 7), run(0.01, 7));
        assert_eq!(
            count(&run(0.01, 7)),
            count(&run(0.3, 7)),
            "plans of 2 and of 32 see the same positives"
        );
        assert_ne!(count(&run(0.01, 7)), count(&run(0.01, 8)));
    }

    /// A day with a burst of ten times the positives: in each hour the adaptive planner costs at
    /// most a tenth more than the best fixed plan for that hour, and keeps the required recall.
    #[test]
    fn the_adaptive_planner_follows_a_burst() {
        let (costs, coherence) = (costs(), Coherence::default());
        let burst = Some(Burst { factor: 10.0, from: 9, hours: 4 });
        let stream = Stream { prevalence: 0.01, burst, correlation: 0.0, rate: 400_000, hours: 24 };
        let rule = ReplanRule { prevalence: 0.01, memory: 20_000.0, gain: 0.02 };
        let adaptive = PlanSource::Adaptive(Box::new(AdaptivePlanner::new(planner(), rule)));
        let hours = simulate(&stream, adaptive, coherence, &costs, 5, |_| {});
        let (mut found, mut positives) = (0, 0);
        for (i, hour) in hours.iter().enumerate() {
            let fixed = planner().best(stream.prevalence(i)).expected.cost;
            assert!(
                hour.cost_per_item() <= fixed * 1.1,
                "hour {i}: {} against {fixed}: {hour:?}",
                hour.cost_per_item()
            );
            (found, positives) = (found + hour.found, positives + hour.positives);
        }
        let error = 3.0 * (0.02 / positives as f64).sqrt();
        assert!(found as f64 / positives as f64 > 0.985 - error, "{found} of {positives}");
        assert!(hours.iter().map(|h| h.changes).sum::<u64>() >= 2);
    }
}
