//! The engine through its public surface, on networks whose scores are scripted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dorfman_core::calibration::Thresholds;
use dorfman_core::engine::{
    BandPlan, BatchSettings, Driver, Engine, EngineError, ItemVerdict, Level, ManualClock, Network,
    NetworkPart, NetworkShape, NotFinite, NullNetwork, RunError, ScriptedNetwork, Turn, Verdict,
    scripted_image, single_label_shape,
};
use dorfman_core::policy::{
    Decision, Individual, Members, MultiRound, Outcome, Plan, Policy, Round, Test,
};
use proptest::prelude::*;

const WAIT: Duration = Duration::from_millis(200);

type Verdicts = BTreeMap<usize, ItemVerdict<usize>>;

fn settings() -> BatchSettings {
    BatchSettings { max_batch: 8, preferred_batch: 4, buckets: vec![], max_wait: WAIT }
}

fn clock() -> ManualClock {
    ManualClock::new(Instant::now())
}

fn band(plan: impl Plan + 'static) -> BandPlan {
    BandPlan::new(Box::new(plan), Thresholds::constant(0.5))
}

fn chain(sizes: &[usize]) -> MultiRound {
    MultiRound::new(sizes).unwrap()
}

fn driver(shape: NetworkShape, plan: impl Plan + 'static) -> Driver<ScriptedNetwork, usize> {
    let network = ScriptedNetwork::new(shape);
    Driver::new(Engine::new(network, clock(), band(plan), settings()))
}

/// Offers every image as soon as there is room and runs until every item has its verdict.
fn run<N: Network>(driver: &mut Driver<N, usize>, images: &[f32]) -> Verdicts {
    run_images(driver, images.iter().map(|&score| scripted_image(&[score])), |_, _| {})
}

/// Like [`run`]; `before` is called before each image is offered.
fn run_images<N: Network>(
    driver: &mut Driver<N, usize>,
    images: impl Iterator<Item = Vec<u8>>,
    mut before: impl FnMut(&mut Engine<N, usize>, usize),
) -> Verdicts {
    let mut verdicts = BTreeMap::new();
    let mut images = images.enumerate();
    while !driver.is_done() {
        while driver.room() > 0 {
            let Some((i, image)) = images.next() else {
                driver.close();
                break;
            };
            before(driver.engine_mut(), i);
            driver.offer(image, i);
        }
        driver.turn().unwrap();
        for verdict in driver.verdicts() {
            let earlier = verdicts.insert(verdict.payload, verdict);
            assert!(earlier.is_none(), "an item has two verdicts");
        }
    }
    verdicts
}

/// Takes turns while a part of the network can run.
fn turn_until_idle<N: Network>(driver: &mut Driver<N, usize>) {
    while driver.turn().unwrap() == Turn::Ran {}
}

/// Takes turns until the engine fails.
fn turn_until_error<N: Network>(driver: &mut Driver<N, usize>) -> EngineError {
    loop {
        match driver.turn() {
            Ok(Turn::Ran) => {}
            Ok(turn) => panic!("the engine did not fail: {turn:?}"),
            Err(error) => return error,
        }
    }
}

fn flagged(verdicts: &Verdicts) -> Vec<usize> {
    let flagged = verdicts.iter().filter(|(_, v)| matches!(v.verdict, Verdict::Flagged(_)));
    flagged.map(|(&item, _)| item).collect()
}

/// A pixel network (one level of slots), a feature network, a tree of pairs, a tree of pairs of
/// pairs.
fn shapes() -> impl Strategy<Value = NetworkShape> {
    (0usize..4, 16usize..80, any::<bool>()).prop_map(|(extra, slots, repeats)| {
        let mut levels = vec![Level { fan_in: 1, slots, macs: u64::from(extra > 0), exit: false }];
        for level in 1..extra {
            levels.push(Level {
                fan_in: 2,
                slots: slots * (1 << level.min(2)),
                macs: 10,
                exit: false,
            });
        }
        NetworkShape { levels, labels: 1, score_macs: 100, repeats, confirm_macs: None }
    })
}

fn chains() -> impl Strategy<Value = Vec<usize>> {
    let sizes = prop::collection::btree_set(2usize..=16, 0..4);
    sizes.prop_map(|sizes| sizes.into_iter().rev().chain([1]).collect())
}

fn batch_settings(max_batch: usize, with_buckets: bool) -> BatchSettings {
    let buckets = if with_buckets { vec![1, 2, 4, 8, 16, 32] } else { vec![] };
    BatchSettings { max_batch, preferred_batch: max_batch.min(4), buckets, max_wait: WAIT }
}

proptest! {
    /// For every shape of the network, plan, batch size and stream, every item gets one verdict.
    /// With scores that are equal to the truth, every verdict is correct.
    #[test]
    fn every_item_gets_the_correct_verdict(
        shape in shapes(),
        sizes in chains(),
        positives in prop::collection::vec(prop::bool::weighted(0.1), 0..300),
        max_batch in 1usize..20,
        buckets in prop::bool::ANY,
    ) {
        let network = ScriptedNetwork::new(shape);
        let settings = batch_settings(max_batch, buckets);
        let mut engine = Engine::new(network, clock(), band(chain(&sizes)), settings);
        engine.warm_up(1, &[]).unwrap();
        let mut driver = Driver::new(engine);
        let images: Vec<f32> = positives.iter().map(|&p| if p { 0.9 } else { 0.1 }).collect();
        let verdicts = run(&mut driver, &images);
        let expected: Vec<usize> = (0..images.len()).filter(|&i| positives[i]).collect();
        prop_assert_eq!(verdicts.len(), images.len());
        prop_assert_eq!(flagged(&verdicts), expected);
        prop_assert_eq!(driver.engine().stats().items, images.len() as u64);
        prop_assert_eq!(driver.engine().in_flight(), 0);
    }
}

proptest! {
    /// The plan may change at any time, with items in flight and open groups. Every item still gets
    /// its verdict, by the plan with which its group was formed.
    #[test]
    fn a_new_plan_loses_no_item(
        shape in shapes(),
        chains in prop::collection::vec(chains(), 1..5),
        every in 1usize..50,
        positives in prop::collection::vec(prop::bool::weighted(0.1), 0..300),
    ) {
        let mut driver = driver(shape, Individual);
        let mut next = chains.iter().cycle().enumerate();
        let images = positives.iter().map(|&p| scripted_image(&[if p { 0.9 } else { 0.1 }]));
        let verdicts = run_images(&mut driver, images, |engine, i| {
            if i % every == 0
                && let Some((turn, sizes)) = next.next()
            {
                let threshold = Thresholds::constant(if turn % 2 == 0 { 0.3 } else { 0.7 });
                let plan = BandPlan::new(Box::new(chain(sizes)), threshold);
                engine.replan(0, plan).unwrap();
            }
        });
        let expected: Vec<usize> = (0..positives.len()).filter(|&i| positives[i]).collect();
        prop_assert_eq!(flagged(&verdicts), &expected[..]);
        let stats = driver.engine().stats();
        let counts = (stats.decided, stats.policy_flagged);
        prop_assert_eq!(counts, (positives.len() as u64, expected.len() as u64));
    }
}

/// The scores of an image: by the network, and by its confirm network.
fn score_pairs() -> impl Strategy<Value = [f32; 2]> {
    let score = || prop_oneof![6 => Just(0.1f32), 3 => Just(0.9f32), 1 => Just(f32::NAN)];
    let first = prop_oneof![8 => Just(0.1f32), 2 => score()];
    (first, score()).prop_map(|(first, second)| [first, second])
}

proptest! {
    /// For every shape, plan, batch size and stream, every item gets one verdict, every flag has
    /// passed both networks, and the confirm network tests exactly the items that the policy flags.
    #[test]
    fn a_flag_has_passed_both_networks(
        shape in shapes(),
        sizes in chains(),
        images in prop::collection::vec(score_pairs(), 0..300),
        max_batch in 1usize..20,
        buckets in prop::bool::ANY,
    ) {
        let shape = NetworkShape { confirm_macs: Some(1000), ..shape };
        let network = ScriptedNetwork::new(shape);
        let settings = batch_settings(max_batch, buckets);
        let mut engine = Engine::new(network, clock(), band(chain(&sizes)), settings)
            .with_confirm(Thresholds::constant(0.5));
        engine.warm_up(2, &[]).unwrap();
        let mut driver = Driver::new(engine);
        let verdicts = run_images(&mut driver, images.iter().map(|i| scripted_image(i)), |_, _| {});
        prop_assert_eq!(verdicts.len(), images.len());
        for (&i, item) in &verdicts {
            let [first, second] = images[i];
            let confirmed = first >= 0.5;
            let correct = match &item.verdict {
                Verdict::Failed(_) => first.is_nan() || (confirmed && second.is_nan()),
                Verdict::Flagged(labels) => confirmed && second >= 0.5 && *labels == [(0, first)],
                Verdict::Cleared => first < 0.5 || (confirmed && second < 0.5),
            };
            prop_assert!(correct, "{:?} of {:?}", item, images[i]);
            let confirm_score = (confirmed && !second.is_nan()).then_some(second);
            prop_assert_eq!(item.confirm_score, confirm_score);
        }
        let stats = driver.engine().stats();
        let tested = images.iter().filter(|i| i[0] >= 0.5).count() as u64;
        prop_assert_eq!(stats.confirm_tests, tested);
        prop_assert_eq!((stats.confirm.rows, stats.confirm.macs), (tested, 1000 * tested));
        prop_assert_eq!(stats.confirmed, flagged(&verdicts).len() as u64);
    }
}

fn confirmed_driver(network: ScriptedNetwork) -> Driver<ScriptedNetwork, usize> {
    let engine = Engine::new(network, clock(), band(chain(&[16, 4, 1])), settings());
    Driver::new(engine.with_confirm(Thresholds::constant(0.5)))
}

fn confirmed_shape() -> NetworkShape {
    NetworkShape { confirm_macs: Some(1000), ..single_label_shape(64, 10, 100) }
}

#[test]
fn the_confirm_network_adds_one_test_and_no_round() {
    let mut driver = confirmed_driver(ScriptedNetwork::new(confirmed_shape()));
    let mut images = vec![scripted_image(&[0.0, 0.9]); 16];
    images[3] = scripted_image(&[0.7, 0.8]);
    images[9] = scripted_image(&[0.7, 0.2]);
    let verdicts = run_images(&mut driver, images.into_iter(), |_, _| {});
    let (confirmed, refuted, cleared) = (&verdicts[&3], &verdicts[&9], &verdicts[&0]);
    assert_eq!(confirmed.verdict, Verdict::Flagged(vec![(0, 0.7)]), "the individual test's score");
    assert_eq!((confirmed.confirm_score, confirmed.tests, confirmed.rounds), (Some(0.8), 4, 3));
    assert_eq!((&refuted.verdict, refuted.confirm_score), (&Verdict::Cleared, Some(0.2)));
    assert_eq!((refuted.score, refuted.arity), (0.7, 1));
    assert_eq!((cleared.confirm_score, cleared.tests), (None, 3));
    let stats = driver.engine().stats();
    assert_eq!(stats.tests_by_round, [1, 4, 8]);
    assert_eq!((stats.confirm_tests, stats.confirmed, stats.tests()), (2, 1, 15));
    assert_eq!((stats.confirm.runs, stats.macs()), (1, 16 * 10 + 13 * 100 + 2 * 1000));
}

#[test]
fn a_confirm_network_that_fails_gives_no_verdict_and_keeps_the_earlier_verdicts() {
    let network = ScriptedNetwork::new(single_label_shape(64, 10, 100));
    let mut driver = confirmed_driver(network);
    (0..16).for_each(|i| driver.offer(scripted_image(&[if i == 5 { 0.9 } else { 0.1 }]), i));
    let error = turn_until_error(&mut driver);
    let is_confirm = matches!(&error, EngineError::Network(e) if e.part == NetworkPart::Confirm);
    assert!(is_confirm, "{error}");
    let items: Vec<usize> = driver.verdicts().map(|item| item.payload).collect();
    assert!(items.len() == 15 && !items.contains(&5), "{items:?}");
    assert_eq!(driver.engine().in_flight(), 1, "the item without a verdict is in flight");
}

#[test]
fn a_clean_group_costs_one_test_and_a_positive_group_is_retested() {
    let mut driver = driver(single_label_shape(64, 10, 100), chain(&[16, 4, 1]));
    let mut images = vec![0.0; 32];
    images[21] = 0.7;
    let verdicts = run(&mut driver, &images);
    assert_eq!(flagged(&verdicts), [21]);
    let stats = driver.engine().stats();
    assert_eq!(stats.tests_by_round, [2, 4, 4]);
    assert_eq!(stats.positives_by_round, [1, 1, 1]);
    assert_eq!(stats.macs(), 32 * 10 + 10 * 100);
    let counts = |item: usize| {
        let ItemVerdict { tests, rounds, arity, .. } = verdicts[&item];
        (tests, rounds, arity)
    };
    assert_eq!(verdicts[&21].verdict, Verdict::Flagged(vec![(0, 0.7)]));
    assert_eq!((counts(21), counts(0), counts(16)), ((3, 3, 1), (1, 1, 16), (2, 2, 4)));
}

#[test]
fn a_tree_merges_each_pair_once_and_retests_reuse_the_pairs() {
    let pair_level = Level { fan_in: 2, slots: 24, macs: 10, exit: false };
    let levels = vec![Level { fan_in: 1, slots: 16, macs: 1, exit: false }, pair_level];
    let shape =
        NetworkShape { levels, labels: 1, score_macs: 100, repeats: true, confirm_macs: None };
    let mut driver = driver(shape, chain(&[8, 4, 1]));
    let mut images = vec![0.0; 8];
    images[5] = 1.0;
    let verdicts = run(&mut driver, &images);
    assert_eq!(flagged(&verdicts), [5]);
    let rows: Vec<u64> = driver.engine().stats().stages.iter().map(|stage| stage.rows).collect();
    assert_eq!(rows[0], 8, "each image once");
    assert_eq!(rows[1], 4 + 4, "four pairs, reused by the tests of four, and four single images");
    assert_eq!(rows[2], 1 + 2 + 4);
}

#[test]
fn an_incomplete_group_is_tested_at_its_deadline() {
    let clock = clock();
    let network = ScriptedNetwork::new(single_label_shape(64, 1, 1));
    let engine = Engine::new(network, clock.clone(), band(chain(&[16, 1])), settings());
    let mut driver: Driver<_, usize> = Driver::new(engine);
    (0..3).for_each(|i| driver.offer(scripted_image(&[0.0]), i));
    turn_until_idle(&mut driver);
    assert_eq!(driver.verdicts().count(), 0, "stage 0 has run, and the group is open");
    let Turn::Idle { deadline: Some(deadline) } = driver.turn().unwrap() else { panic!() };
    clock.advance(WAIT - Duration::from_nanos(1));
    assert_eq!(driver.turn().unwrap(), Turn::Idle { deadline: Some(deadline) });
    clock.advance(Duration::from_nanos(1));
    turn_until_idle(&mut driver);
    assert_eq!(driver.verdicts().count(), 3);
    assert_eq!(driver.engine().stats().tests_by_round, [1]);
}

#[test]
fn the_slots_limit_the_items_in_flight() {
    let mut driver = driver(single_label_shape(4, 1, 1), chain(&[4, 1]));
    for i in 0..4 {
        assert_eq!(driver.room(), 4 - i);
        driver.offer(scripted_image(&[0.0]), i);
    }
    assert_eq!(driver.room(), 0);
    driver.offer(scripted_image(&[0.0]), 4);
    driver.turn().unwrap();
    assert_eq!(driver.engine().in_flight(), 4, "the fifth item waits in the driver");
    turn_until_idle(&mut driver);
    assert_eq!(driver.engine().in_flight(), 1);
}

#[test]
fn a_score_that_is_not_a_number_fails_only_its_item() {
    let mut driver = driver(single_label_shape(16, 1, 1), chain(&[8, 1]));
    let mut images = [0.0; 8];
    images[3] = f32::NAN;
    let verdicts = run(&mut driver, &images);
    assert_eq!(verdicts[&3].verdict, Verdict::Failed(NotFinite::Network));
    assert!(verdicts.iter().all(|(&i, v)| i == 3 || v.verdict == Verdict::Cleared));
}

#[test]
fn tests_of_several_groups_share_a_run() {
    let settings = BatchSettings { max_batch: 64, preferred_batch: 64, ..settings() };
    let network = NullNetwork::new(single_label_shape(64, 1, 1));
    let engine = Engine::new(network, clock(), band(chain(&[4, 1])), settings);
    let mut driver: Driver<_, usize> = Driver::new(engine);
    (0..64).for_each(|i| driver.offer(scripted_image(&[0.0]), i));
    turn_until_idle(&mut driver);
    let stages = &driver.engine().stats().stages;
    assert_eq!((stages[0].runs, stages[1].runs, stages[1].rows), (1, 1, 16));
}

#[test]
fn a_positive_group_is_resolved_although_new_items_keep_arriving() {
    let mut driver = driver(single_label_shape(4096, 1, 1), chain(&[16, 4, 1]));
    driver.offer(scripted_image(&[0.9]), 0);
    for turn in 1..400 {
        // More items arrive than one run takes, so the queue of stage 0 is always full.
        (0..driver.room().min(10)).for_each(|_| driver.offer(scripted_image(&[0.0]), turn));
        driver.turn().unwrap();
        if driver.verdicts().any(|item| matches!(item.verdict, Verdict::Flagged(_))) {
            return;
        }
    }
    panic!("the positive item has no verdict after 400 turns");
}

#[test]
fn individual_testing_gives_verdicts_without_groups() {
    let mut driver = driver(single_label_shape(8, 1, 1), Individual);
    let verdicts = run(&mut driver, &[0.1, 0.9, 0.2, 0.5]);
    assert_eq!(flagged(&verdicts), [1, 3]);
    assert_eq!(driver.engine().stats().tests_by_round, [4]);
}

#[test]
fn a_failing_network_gives_no_verdict() {
    let out_of_memory =
        || RunError { part: NetworkPart::Stage(1), message: "out of memory".into() };
    let network = ScriptedNetwork::new(single_label_shape(8, 1, 1))
        .with_test_hook(move |_, _, _| Err(out_of_memory()));
    let mut driver = Driver::new(Engine::new(network, clock(), band(Individual), settings()));
    driver.offer(scripted_image(&[0.0]), 0);
    assert_eq!(driver.turn().unwrap(), Turn::Ran);
    assert!(matches!(driver.turn(), Err(EngineError::Network(_))));
    assert_eq!(driver.verdicts().count(), 0);
}

/// A policy that clears members whose individual test is still outstanding.
struct ClearsTooEarly;

impl Policy for ClearsTooEarly {
    fn start(&mut self, size: usize, decision: &mut Decision) {
        decision.test(Members::first(size), Round::FIRST);
        decision.test(Members::only(0), Round::FIRST);
    }
    fn observe(&mut self, test: Test, _: Outcome, decision: &mut Decision) {
        decision.cleared = test.members;
    }
}

impl Plan for ClearsTooEarly {
    fn group_size(&self) -> usize {
        2
    }
    fn policy(&self) -> Box<dyn Policy> {
        Box::new(ClearsTooEarly)
    }
    fn arities(&self) -> Vec<usize> {
        vec![2, 1]
    }
    fn describe(&self) -> String {
        "clears too early".into()
    }
}

#[test]
fn a_policy_that_breaks_its_contract_stops_the_engine() {
    let mut driver = driver(single_label_shape(8, 1, 1), ClearsTooEarly);
    (0..2).for_each(|i| driver.offer(scripted_image(&[0.0]), i));
    let error = turn_until_error(&mut driver);
    assert!(error.to_string().contains("clears too early"), "{error}");
}
