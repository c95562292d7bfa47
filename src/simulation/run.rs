//! Runs a stream through plans.

use fastrand::Rng;

use super::member::{Levels, Members};
use super::stream::{Positives, Stream};
use crate::planner::{Choice, Coherence, LOOK, Link, Pilot, StageCosts};
use crate::retest::{Ask, Individual, MultiRound, Outcome, Plan, Policy, Step};

/// What decides the plan.
pub enum Steered {
    /// The same chain throughout.
    Fixed(Choice),
    /// Any other plan whose policy takes tests as positive or negative, throughout.
    Planned(Planned),
    /// A pilot, which sees verdicts alone.
    Auto(Box<Pilot>),
}

/// A plan, and how its tests answer.
pub struct Planned {
    /// The plan.
    pub plan: Box<dyn Plan>,
    /// Sizes of tests, falling to 1; a test of a size between two answers as the larger.
    pub links: Vec<Link>,
}

impl Steered {
    fn describe(&self) -> String {
        match self {
            Self::Fixed(choice) => choice.describe(),
            Self::Planned(planned) => planned.plan.describe(),
            Self::Auto(pilot) => pilot.choice().describe(),
        }
    }

    fn resolver(&self, coherence: Coherence, costs: &StageCosts) -> Resolver {
        match self {
            Self::Fixed(choice) => Resolver::of_chain(choice, coherence, costs),
            Self::Planned(Planned { plan, links }) => Resolver::new(&**plan, links, coherence, costs),
            Self::Auto(pilot) => Resolver::of_chain(pilot.choice(), coherence, costs),
        }
    }

    fn observe(&mut self, images: u64, flagged: u64) -> bool {
        match self {
            Self::Fixed(_) | Self::Planned(_) => false,
            Self::Auto(pilot) => pilot.observe(images, flagged),
        }
    }
}

/// What an hour came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Hour {
    /// The share of positives that was asked for.
    pub prevalence: f64,
    /// The estimate at the end of the hour, if a pilot steers.
    pub estimate: Option<f64>,
    /// The plan at the end of the hour, in words.
    pub plan: String,
    /// How often the plan changed.
    pub changes: u64,
    /// Images.
    pub images: u64,
    /// Positives among them.
    pub positives: u64,
    /// Positives that were flagged.
    pub found: u64,
    /// Negatives that were flagged.
    pub false_alarms: u64,
    /// Tests.
    pub tests: u64,
    /// What they cost, in the unit of the costs.
    pub cost: f64,
}

/// Runs a stream, hour by hour; `each` is told of each hour as it ends. The same seed gives the same stream.
pub fn simulate(
    stream: &Stream,
    mut steered: Steered,
    coherence: Coherence,
    costs: &StageCosts,
    seed: u64,
    mut each: impl FnMut(&Hour),
) -> Vec<Hour> {
    // Where positives are must not depend on what tests say, so that all plans see one stream.
    let (mut chance, mut rng) = (Rng::with_seed(seed), Rng::with_seed(seed ^ 0x5eed));
    let mut positives = Positives::new(stream.prevalence(0), stream.correlation, &mut chance);
    let mut table = steered.resolver(coherence, costs);
    let mut hours = Vec::with_capacity(stream.hours);
    let (mut settled, mut flagged) = (0, 0);
    for hour in 0..stream.hours {
        positives.change(stream.prevalence(hour), &mut chance);
        let mut sums = Hour::new(stream.prevalence(hour));
        while sums.images < stream.rate {
            let (images, flags) = table.group(&mut positives, &mut chance, &mut rng, &mut sums);
            settled += images;
            flagged += flags;
            if settled < LOOK {
                continue;
            }
            if steered.observe(settled, flagged) {
                table = steered.resolver(coherence, costs);
                sums.changes += 1;
            }
            (settled, flagged) = (0, 0);
        }
        sums.plan = steered.describe();
        if let Steered::Auto(pilot) = &steered {
            sums.estimate = Some(pilot.prevalence());
        }
        each(&sums);
        hours.push(sums);
    }
    hours
}

impl Hour {
    fn new(prevalence: f64) -> Self {
        let (plan, estimate, cost) = (String::new(), None, 0.0);
        let (changes, images, positives, found, false_alarms, tests) = (0, 0, 0, 0, 0, 0);
        Self { prevalence, estimate, plan, changes, images, positives, found, false_alarms, tests, cost }
    }

    /// The same hour of two streams together; plan and estimate are left out.
    pub fn with(&self, other: &Self) -> Self {
        let share = self.images as f64 / (self.images + other.images).max(1) as f64;
        Self {
            changes: self.changes + other.changes,
            images: self.images + other.images,
            positives: self.positives + other.positives,
            found: self.found + other.found,
            false_alarms: self.false_alarms + other.false_alarms,
            tests: self.tests + other.tests,
            cost: self.cost + other.cost,
            ..Self::new(share * self.prevalence + (1.0 - share) * other.prevalence)
        }
    }

    /// Share of the positives that were flagged; none where there were none.
    pub fn recall(&self) -> Option<f64> {
        (self.positives > 0).then(|| self.found as f64 / self.positives as f64)
    }

    /// Cost an image.
    pub fn cost_an_image(&self) -> f64 {
        self.cost / self.images.max(1) as f64
    }
}

/// Resolves groups by one plan, through the worker's own policy.
struct Resolver {
    size: usize,
    sizes: Vec<usize>,
    members: Members,
    policy: Box<dyn Policy>,
    /// What all first stages of a group cost together, and those between.
    group: f64,
    /// By level: the last stage, and what a smaller part needs anew.
    test: Vec<f64>,
    /// Whether a group's first test is of all its images, so that nothing more comes if it is negative.
    whole: bool,
    places: Vec<usize>,
    levels: Vec<Levels>,
    step: Step,
    open: Vec<Ask>,
}

impl Resolver {
    fn of_chain(choice: &Choice, coherence: Coherence, costs: &StageCosts) -> Self {
        // A choice is a chain by its making; individual testing is what is left if it were none.
        match MultiRound::new(&choice.sizes()) {
            Ok(plan) => Self::new(&plan, &choice.chain, coherence, costs),
            Err(_) => Self::new(&Individual, &choice.chain, coherence, costs),
        }
    }

    fn new(plan: &dyn Plan, links: &[Link], coherence: Coherence, costs: &StageCosts) -> Self {
        let (size, sizes): (usize, Vec<usize>) = (plan.group_size(), links.iter().map(|link| link.size).collect());
        let mut step = Step::default();
        plan.policy().start(size, &mut step);
        let whole = step.tests.len() == 1 && step.tests[0].members.len() == size && sizes[0] == size;
        Self {
            size,
            members: Members::new(links, coherence),
            policy: plan.policy(),
            group: costs.first(size) - costs.retest(size),
            test: sizes.iter().map(|&size| costs.retest(size)).collect(),
            whole,
            sizes,
            places: Vec::new(),
            levels: Vec::new(),
            step: Step::default(),
            open: Vec::new(),
        }
    }

    /// Draws a group and resolves it; how many images it had and how many were flagged.
    fn group(&mut self, positives: &mut Positives, chance: &mut Rng, rng: &mut Rng, sums: &mut Hour) -> (u64, u64) {
        let size = self.size;
        positives.next(size, chance, &mut self.places);
        sums.images += size as u64;
        sums.positives += self.places.len() as u64;
        sums.cost += self.group;
        if !self.whole {
            self.members.draw_all(size, &self.places, rng, &mut self.levels);
            return (size as u64, self.resolve(size, sums));
        }
        if !self.members.draw(size, &self.places, rng, &mut self.levels) {
            sums.tests += 1;
            sums.cost += self.test[0];
            return (size as u64, 0);
        }
        (size as u64, self.resolve(size, sums))
    }

    /// The tests of a group whose images are drawn.
    fn resolve(&mut self, size: usize, sums: &mut Hour) -> u64 {
        let mut flagged = 0;
        self.step.reset();
        self.policy.start(size, &mut self.step);
        loop {
            for place in self.step.flagged.iter() {
                flagged += 1;
                let positive = self.places.contains(&place);
                sums.found += u64::from(positive);
                sums.false_alarms += u64::from(!positive);
            }
            self.open.append(&mut self.step.tests);
            let Some(ask) = self.open.pop() else { return flagged };
            let level = self.sizes.iter().rposition(|&s| s >= ask.members.len()).unwrap_or(0);
            sums.tests += 1;
            sums.cost += self.test[level];
            let positive = ask.members.iter().any(|place| self.levels[place] >> level & 1 == 1);
            self.step.reset();
            let score = if positive { 1.0 } else { 0.0 };
            self.policy.observe(ask, Outcome { positive, score }, &mut self.step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::{Planner, Steering, Wanted, expected};
    use crate::retest::{Answers, Halving, OneRound, Point, SizeAnswers};
    use crate::simulation::{Burst, Risk};

    fn answers() -> Answers {
        let size = |arity: usize| {
            let point = |s: f64| Point {
                sensitivity: s,
                specificity: 1.0 - 0.02 * (1.0 - s).powf(-0.25) * arity as f64 / 32.0,
            };
            SizeAnswers { arity, points: [0.98, 0.99, 0.995, 0.998].map(point).into() }
        };
        Answers::new([1, 2, 4, 8, 16, 32].map(size).into()).unwrap()
    }

    fn costs() -> StageCosts {
        StageCosts { item: 0.1, tiers: vec![], score: vec![(1, 0.9)] }
    }

    const WANTED: Wanted = Wanted { individual_sensitivity: 0.99, recall_loss: 0.005, largest: 32, rounds: 4 };

    fn planner() -> Planner {
        Planner::new(answers(), costs(), WANTED).unwrap()
    }

    fn steady(prevalence: f64, rate: u64) -> Stream {
        Stream { prevalence, burst: None, correlation: 0.0, rate, hours: 1 }
    }

    #[test]
    fn what_is_simulated_is_what_was_expected() {
        let link = |size, s, f| Link { size, point: Point { sensitivity: s, specificity: f } };
        let chain = vec![link(16, 0.95, 0.9), link(4, 0.96, 0.95), link(1, 0.97, 0.98)];
        let (coherence, costs) = (Coherence { positive: 0.7, negative: 0.8 }, costs());
        for p in [0.001, 0.05] {
            let e = expected(&chain, p, coherence, &costs);
            let fixed = Steered::Fixed(Choice { chain: chain.clone(), expected: e.clone() });
            let hours = simulate(&steady(p, 4_000_000), fixed, coherence, &costs, 1, |_| {});
            let h = &hours[0];
            assert!((h.cost_an_image() / e.cost - 1.0).abs() < 0.01, "{p}: {} {}", h.cost_an_image(), e.cost);
            let tests: f64 = e.tests.iter().sum();
            assert!((h.tests as f64 / h.images as f64 / tests - 1.0).abs() < 0.01);
            let error = 4.0 * (0.05 / h.positives as f64).sqrt();
            assert!((h.recall().unwrap() - e.recall).abs() < error, "{p}: {:?} {}", h.recall(), e.recall);
            let fpr = h.false_alarms as f64 / (h.images - h.positives) as f64;
            assert!((fpr / e.fpr - 1.0).abs() < 0.05, "{p}: {fpr} {}", e.fpr);
        }
    }

    /// Other policies on the same stream and the same tests: with few positives halving and nested tests take fewer than a chain of halves, and
    /// one round takes its two tests a side whatever comes.
    #[test]
    fn policies_can_be_set_side_by_side() {
        let (costs, stream) = (costs(), steady(0.01, 400_000));
        let link = |size| Link { size, point: answers().at(size, 0.99).unwrap() };
        let links = || [16, 8, 4, 2, 1].map(link).to_vec();
        let run = |plan: Box<dyn Plan>| {
            let steered = Steered::Planned(Planned { plan, links: links() });
            simulate(&stream, steered, Coherence::default(), &costs, 1, |_| {}).remove(0)
        };
        let chain = run(Box::new(MultiRound::new(&[16, 8, 4, 2, 1]).unwrap()));
        let fixed = Steered::Fixed(Choice { chain: links(), expected: planner().best(0.01).expected });
        assert_eq!(chain, simulate(&stream, fixed, Coherence::default(), &costs, 1, |_| {}).remove(0));
        let halving = run(Box::new(Halving::new(16).unwrap()));
        let square = run(Box::new(OneRound::new(16).unwrap()));
        assert!(halving.tests < chain.tests && halving.recall().unwrap() > 0.93, "{halving:?} {chain:?}");
        assert_eq!(square.tests, square.images / 2);
        assert!(
            (square.cost_an_image() - (0.1 + 0.9 / 2.0)).abs() < 1e-9 && square.recall().unwrap() > 0.97,
            "{square:?}"
        );
    }

    /// Informative group testing: what each band of risk costs by a plan of its own is less than what all cost together, and as much is found.
    #[test]
    fn pooling_like_with_like_is_cheaper() {
        let (costs, coherence, p) = (costs(), Coherence::default(), 0.03);
        let whole = steady(p, 1_000_000);
        let run = |stream: &Stream| {
            let choice = planner().best(stream.prevalence);
            simulate(stream, Steered::Fixed(choice), coherence, &costs, 1, |_| {}).remove(0)
        };
        let together = run(&whole);
        let bands = Risk { prevalence: p, explained: 0.2 }.bands(&[0.003, 0.03, 0.3]);
        let apart = bands.iter().map(|band| run(&whole.band(band))).reduce(|a, b| a.with(&b)).unwrap();
        assert!((apart.images as f64 / together.images as f64 - 1.0).abs() < 0.01);
        assert!((apart.positives as f64 / together.positives as f64 - 1.0).abs() < 0.03);
        assert!(apart.cost_an_image() < 0.9 * together.cost_an_image(), "{apart:?} {together:?}");
        assert!(apart.recall().unwrap() > 0.985 - 0.005, "{apart:?}");
    }

    #[test]
    fn one_seed_is_one_stream_whatever_the_plan() {
        let costs = costs();
        let run = |p: f64, seed| {
            let choice = planner().best(p);
            let stream = Stream { hours: 2, ..steady(0.01, 32 * 10_000) };
            simulate(&stream, Steered::Fixed(choice), Coherence::default(), &costs, seed, |_| {})
        };
        let count = |hours: &[Hour]| hours.iter().map(|h| h.positives).collect::<Vec<_>>();
        assert_eq!(run(0.01, 7), run(0.01, 7));
        assert_eq!(count(&run(0.01, 7)), count(&run(0.3, 7)), "plans of 2 and of 32 see the same positives");
        assert_ne!(count(&run(0.01, 7)), count(&run(0.01, 8)));
    }

    /// A day with a burst of ten times the positives: in each hour the pilot costs at most a tenth more than the best plan for it that never
    /// changes, and finds what was asked for.
    #[test]
    fn over_a_day_with_a_burst_the_pilot_keeps_up() {
        let (costs, coherence) = (costs(), Coherence::default());
        let burst = Some(Burst { factor: 10.0, from: 9, hours: 4 });
        let stream = Stream { prevalence: 0.01, burst, correlation: 0.0, rate: 400_000, hours: 24 };
        let steering = Steering { prevalence: 0.01, memory: 20_000.0, gain: 0.02 };
        let pilot = Pilot::new(planner(), steering);
        let hours = simulate(&stream, Steered::Auto(Box::new(pilot)), coherence, &costs, 5, |_| {});
        let (mut found, mut positives) = (0, 0);
        for (i, hour) in hours.iter().enumerate() {
            let fixed = planner().best(stream.prevalence(i)).expected.cost;
            assert!(
                hour.cost_an_image() <= fixed * 1.1,
                "hour {i}: {} against {fixed}: {hour:?}",
                hour.cost_an_image()
            );
            (found, positives) = (found + hour.found, positives + hour.positives);
        }
        let error = 3.0 * (0.02 / positives as f64).sqrt();
        assert!(found as f64 / positives as f64 > 0.985 - error, "{found} of {positives}");
        assert!(hours.iter().map(|h| h.changes).sum::<u64>() >= 2);
    }
}
