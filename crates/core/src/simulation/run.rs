//! Runs a simulated stream through a plan (pure).

use fastrand::Rng;

use super::hour::Hour;
use super::resolver::Resolver;
use super::stream::{PositivePositions, Stream};
use crate::cost::StageCosts;
use crate::planner::{AdaptivePlanner, ChainLink, ChainPlan, Coherence, VERDICTS_PER_UPDATE};
use crate::policy::Plan;

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

/// Runs a stream hour by hour, calls `each` with every finished hour, and returns all hours:
/// `[hours]`. The same `seed` gives the same positives for all plans without exits whose group
/// sizes divide [`Stream::rate`].
///
/// All groups are full. An hour ends with the group that reaches [`Stream::rate`] items. The hour
/// may therefore have more items: up to one group, or with exits the items of which one group
/// passes. Where the plan uses exits, each item passes them with the probability of its kind
/// ([`crate::planner::ItemFlow`]), and groups are formed from the items that pass. Outcomes of
/// tests follow the operating points of the plan under the model of [`crate::planner::expected`],
/// with this `coherence`. Each group is charged once for the stages before the last that its items
/// have not run before, and every test as [`StageCosts::retest`] of its link's size.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{
        ArityPoints, JointExit, JointRow, JointScores, OperatingPoint, OperatingPoints,
    };
    use crate::engine::NetworkPart;
    use crate::planner::{ExitLink, PlanConstraints, Planner, ReplanRule, expected};
    use crate::policy::{Halving, MultiRound, OneRound};
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
