//! The engine through its public surface, on networks whose scores are scripted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dorfman::engine::{
    Engine, EngineError, Form, Judged, Level, Network, NullNetwork, RunError, ScriptedNetwork, Settings, Verdict,
    single_label_form,
};
use dorfman::message::Reason;
use dorfman::retest::{Ask, Individual, Members, MultiRound, Outcome, Plan, Policy, Step, Thresholds};
use proptest::prelude::*;

const WAIT: Duration = Duration::from_millis(200);

fn settings() -> Settings {
    Settings { max_batch: 8, preferred_batch: 4, buckets: vec![], max_wait: WAIT }
}

fn engine(form: Form, plan: impl Plan + 'static) -> Engine<ScriptedNetwork, usize> {
    Engine::new(ScriptedNetwork::new(form), Box::new(plan), Thresholds::constant(0.5), settings())
}

/// Offers every image as soon as there is room, runs until nothing is left, and gives the verdicts by item.
fn drive<N: Network>(engine: &mut Engine<N, usize>, images: &[f32]) -> BTreeMap<usize, Judged<usize>> {
    drive_images(engine, images.iter().map(|&suspicion| vec![suspicion]))
}

fn drive_images<N: Network>(
    engine: &mut Engine<N, usize>,
    images: impl Iterator<Item = Vec<f32>>,
) -> BTreeMap<usize, Judged<usize>> {
    drive_steered(engine, images, |_, _| {})
}

/// The same; `steer` is called before each image is offered.
fn drive_steered<N: Network>(
    engine: &mut Engine<N, usize>,
    images: impl Iterator<Item = Vec<f32>>,
    mut steer: impl FnMut(&mut Engine<N, usize>, usize),
) -> BTreeMap<usize, Judged<usize>> {
    let now = Instant::now();
    let mut verdicts = BTreeMap::new();
    let mut next = images.enumerate().peekable();
    loop {
        while engine.has_room() {
            let Some((i, image)) = next.next() else { break };
            steer(engine, i);
            engine.offer(image, i, now).unwrap();
        }
        if next.peek().is_none() {
            engine.flush().unwrap();
        }
        let ran = engine.step().unwrap();
        for judged in engine.judged() {
            assert!(verdicts.insert(judged.payload, judged).is_none(), "two verdicts for an item");
        }
        if !ran && next.peek().is_none() {
            assert_eq!(engine.in_flight(), 0);
            return verdicts;
        }
    }
}

fn flagged(verdicts: &BTreeMap<usize, Judged<usize>>) -> Vec<usize> {
    verdicts.iter().filter(|(_, j)| matches!(j.verdict, Verdict::Flagged(_))).map(|(&i, _)| i).collect()
}

/// A pixel network (one level, free to fill), a feature network, a tree of pairs, a tree of pairs of pairs.
fn forms() -> impl Strategy<Value = Form> {
    (0usize..4, 16usize..80, any::<bool>()).prop_map(|(extra, rows, repeats)| {
        let mut levels = vec![Level { fan_in: 1, rows, macs: u64::from(extra > 0) }];
        for level in 1..extra {
            levels.push(Level { fan_in: 2, rows: rows * (1 << level.min(2)), macs: 10 });
        }
        Form { levels, labels: 1, score_macs: 100, repeats, confirm_macs: None }
    })
}

fn plans() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::btree_set(2usize..=16, 0..4).prop_map(|s| s.into_iter().rev().chain([1]).collect())
}

proptest! {
    /// Whatever the form of the network, the plan, the batch sizes and the stream: every item gets one verdict, and with scores
    /// that tell the truth it is the right one.
    #[test]
    fn every_item_gets_the_right_verdict(
        form in forms(),
        chain in plans(),
        positives in prop::collection::vec(prop::bool::weighted(0.1), 0..300),
        max_batch in 1usize..20,
        buckets in prop::bool::ANY,
    ) {
        let buckets = if buckets { vec![1, 2, 4, 8, 16, 32] } else { vec![] };
        let settings = Settings { max_batch, preferred_batch: max_batch.min(4), buckets, max_wait: WAIT };
        let plan = MultiRound::new(&chain).unwrap();
        let mut engine = Engine::new(ScriptedNetwork::new(form), Box::new(plan), Thresholds::constant(0.5), settings);
        engine.warm_up(1, &[]).unwrap();
        let images: Vec<f32> = positives.iter().map(|&p| if p { 0.9 } else { 0.1 }).collect();
        let verdicts = drive(&mut engine, &images);
        let expected: Vec<usize> = (0..images.len()).filter(|&i| positives[i]).collect();
        prop_assert_eq!(verdicts.len(), images.len());
        prop_assert_eq!(flagged(&verdicts), expected);
        prop_assert_eq!(engine.stats().items, images.len() as u64);
    }
}

proptest! {
    /// Plans that change at any time, with items in flight and groups half full, strand nobody; each group is judged by what it was
    /// formed by.
    #[test]
    fn a_new_plan_strands_nobody(
        form in forms(),
        chains in prop::collection::vec(plans(), 1..5),
        every in 1usize..50,
        positives in prop::collection::vec(prop::bool::weighted(0.1), 0..300),
    ) {
        let mut engine = engine(form, Individual);
        let mut next = chains.iter().cycle().enumerate();
        let images = positives.iter().map(|&p| vec![if p { 0.9 } else { 0.1 }]);
        let verdicts = drive_steered(&mut engine, images, |engine, i| {
            if i % every == 0 && let Some((turn, chain)) = next.next() {
                let threshold = if turn % 2 == 0 { 0.3 } else { 0.7 };
                engine.replan(0, Box::new(MultiRound::new(chain).unwrap()), Thresholds::constant(threshold)).unwrap();
            }
        });
        prop_assert_eq!(flagged(&verdicts), (0..positives.len()).filter(|&i| positives[i]).collect::<Vec<_>>());
        let stats = engine.stats();
        let found = positives.iter().filter(|&&p| p).count() as u64;
        prop_assert_eq!((stats.settled, stats.flagged), (positives.len() as u64, found));
    }
}

/// What an image looks like to the network, and to its confirm network.
fn looks() -> impl Strategy<Value = [f32; 2]> {
    let score = || prop_oneof![6 => Just(0.1f32), 3 => Just(0.9f32), 1 => Just(f32::NAN)];
    (prop_oneof![8 => Just(0.1f32), 2 => score()], score()).prop_map(|(first, second)| [first, second])
}

proptest! {
    /// Whatever the network, the plan, the batch sizes and the stream: every item gets one verdict, a flag has passed both looks, and the
    /// confirm network is asked about what would be flagged and nothing else.
    #[test]
    fn a_flag_has_passed_both_looks(
        form in forms(),
        chain in plans(),
        images in prop::collection::vec(looks(), 0..300),
        max_batch in 1usize..20,
        buckets in prop::bool::ANY,
    ) {
        let buckets = if buckets { vec![1, 2, 4, 8, 16, 32] } else { vec![] };
        let settings = Settings { max_batch, preferred_batch: max_batch.min(4), buckets, max_wait: WAIT };
        let form = Form { confirm_macs: Some(1000), ..form };
        let plan = MultiRound::new(&chain).unwrap();
        let engine = Engine::new(ScriptedNetwork::new(form), Box::new(plan), Thresholds::constant(0.5), settings);
        let mut engine = engine.with_confirm(Thresholds::constant(0.5));
        engine.warm_up(2, &[]).unwrap();
        let verdicts = drive_images(&mut engine, images.iter().map(|i| i.to_vec()));
        prop_assert_eq!(verdicts.len(), images.len());
        for (&i, judged) in &verdicts {
            let [first, second] = images[i];
            let asked = first >= 0.5;
            let right = match &judged.verdict {
                Verdict::Failed(_) => first.is_nan() || (asked && second.is_nan()),
                Verdict::Flagged(labels) => asked && second >= 0.5 && *labels == [(0, first)],
                Verdict::Cleared => first < 0.5 || (asked && second < 0.5),
            };
            prop_assert!(right, "{:?} of {:?}", judged, images[i]);
            prop_assert_eq!(judged.confirm_score, (asked && !second.is_nan()).then_some(second));
        }
        let stats = engine.stats();
        let asked = images.iter().filter(|i| i[0] >= 0.5).count() as u64;
        prop_assert_eq!((stats.confirm_tests, stats.confirm.rows, stats.confirm.macs), (asked, asked, 1000 * asked));
        prop_assert_eq!(stats.confirmed, flagged(&verdicts).len() as u64);
    }
}

fn confirmed_engine<N: Network>(network: N) -> Engine<N, usize> {
    let plan = MultiRound::new(&[16, 4, 1]).unwrap();
    let engine = Engine::new(network, Box::new(plan), Thresholds::constant(0.5), settings());
    engine.with_confirm(Thresholds::constant(0.5))
}

fn confirmed_form() -> Form {
    Form { confirm_macs: Some(1000), ..single_label_form(64, 10, 100) }
}

#[test]
fn the_confirm_network_is_one_test_more_and_no_round() {
    let mut e = confirmed_engine(ScriptedNetwork::new(confirmed_form()));
    let mut images = vec![vec![0.0, 0.9]; 16];
    images[3] = vec![0.7, 0.8];
    images[9] = vec![0.7, 0.2];
    let verdicts = drive_images(&mut e, images.into_iter());
    assert_eq!(verdicts[&3].verdict, Verdict::Flagged(vec![(0, 0.7)]), "with the score of the individual test");
    assert_eq!((verdicts[&3].confirm_score, verdicts[&3].tests, verdicts[&3].rounds), (Some(0.8), 4, 3));
    assert_eq!((&verdicts[&9].verdict, verdicts[&9].confirm_score), (&Verdict::Cleared, Some(0.2)));
    assert_eq!((verdicts[&9].score, verdicts[&9].arity), (0.7, 1));
    assert_eq!((verdicts[&0].confirm_score, verdicts[&0].tests), (None, 3));
    assert_eq!(e.stats().tests_by_round, [1, 4, 8]);
    assert_eq!((e.stats().confirm_tests, e.stats().confirmed, e.stats().tests()), (2, 1, 15));
    assert_eq!((e.stats().confirm.runs, e.stats().macs()), (1, 16 * 10 + 13 * 100 + 2 * 1000));
}

#[test]
fn a_confirm_network_that_fails_gives_no_verdict_and_keeps_what_was_given() {
    let mut e = confirmed_engine(Unconfirming(ScriptedNetwork::new(confirmed_form())));
    for i in 0..16 {
        e.offer(vec![if i == 5 { 0.9 } else { 0.1 }], i, Instant::now()).unwrap();
    }
    let error = loop {
        match e.step() {
            Ok(true) => {}
            Ok(false) => panic!("the engine went on"),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, EngineError::Network(e) if e.stage == 2), "{error}");
    let judged: Vec<usize> = e.judged().map(|j| j.payload).collect();
    assert!(judged.len() == 15 && !judged.contains(&5), "{judged:?}");
    assert_eq!(e.in_flight(), 1, "the one without a verdict is still there");
}

#[test]
fn a_clean_group_costs_one_test_and_a_positive_one_is_taken_apart() {
    let mut e = engine(single_label_form(64, 10, 100), MultiRound::new(&[16, 4, 1]).unwrap());
    let mut images = vec![0.0; 32];
    images[21] = 0.7;
    let verdicts = drive(&mut e, &images);
    assert_eq!(flagged(&verdicts), [21]);
    assert_eq!(e.stats().tests_by_round, [2, 4, 4]);
    assert_eq!(e.stats().positives_by_round, [1, 1, 1]);
    assert_eq!(e.stats().macs(), 32 * 10 + 10 * 100);
    assert_eq!(verdicts[&21].verdict, Verdict::Flagged(vec![(0, 0.7)]));
    assert_eq!((verdicts[&21].tests, verdicts[&21].rounds, verdicts[&21].arity), (3, 3, 1));
    assert_eq!((verdicts[&0].tests, verdicts[&0].rounds, verdicts[&0].arity), (1, 1, 16));
    assert_eq!((verdicts[&16].tests, verdicts[&16].arity), (2, 4));
}

#[test]
fn a_tree_merges_pairs_once_and_retests_use_them_again() {
    let levels = vec![Level { fan_in: 1, rows: 16, macs: 1 }, Level { fan_in: 2, rows: 24, macs: 10 }];
    let form = Form { levels, labels: 1, score_macs: 100, repeats: true, confirm_macs: None };
    let mut e = engine(form, MultiRound::new(&[8, 4, 1]).unwrap());
    let mut images = vec![0.0; 8];
    images[5] = 1.0;
    let verdicts = drive(&mut e, &images);
    assert_eq!(flagged(&verdicts), [5]);
    let stages = &e.stats().stages;
    assert_eq!(stages[0].rows, 8, "each image once");
    assert_eq!(stages[1].rows, 4 + 4, "four pairs, re-used by the two fours, and four images alone");
    assert_eq!(stages[2].rows, 1 + 2 + 4);
}

#[test]
fn a_short_group_is_tested_when_its_time_is_up() {
    let mut e = engine(single_label_form(64, 1, 1), MultiRound::new(&[16, 1]).unwrap());
    let start = Instant::now();
    for i in 0..3 {
        e.offer(vec![0.0], i, start).unwrap();
    }
    while e.step().unwrap() {}
    assert_eq!(e.judged().count(), 0, "features are computed, the group still waits for members");
    assert_eq!(e.deadline(), Some(start + WAIT));
    e.expire(start + WAIT).unwrap();
    while e.step().unwrap() {}
    assert_eq!(e.judged().count(), 3);
    assert_eq!(e.stats().tests_by_round, [1]);
}

#[test]
fn the_rows_bound_the_items_in_flight() {
    let mut e = engine(single_label_form(4, 1, 1), MultiRound::new(&[4, 1]).unwrap());
    for i in 0..4 {
        assert!(e.has_room());
        e.offer(vec![0.0], i, Instant::now()).unwrap();
    }
    assert!(!e.has_room());
    while e.step().unwrap() {}
    assert!(e.has_room());
}

#[test]
fn a_group_with_an_unreadable_score_is_taken_apart_and_only_the_culprit_fails() {
    let mut e = engine(single_label_form(16, 1, 1), MultiRound::new(&[8, 1]).unwrap());
    let mut images = [0.0; 8];
    images[3] = f32::NAN;
    let verdicts = drive(&mut e, &images);
    let Verdict::Failed(failure) = &verdicts[&3].verdict else { panic!("{:?}", verdicts[&3]) };
    assert_eq!(failure.reason, Reason::ScoreNotFinite);
    assert!(verdicts.iter().all(|(&i, j)| i == 3 || j.verdict == Verdict::Cleared));
}

#[test]
fn tests_of_several_groups_share_a_run() {
    let settings = Settings { max_batch: 64, preferred_batch: 64, ..settings() };
    let network = NullNetwork::new(single_label_form(64, 1, 1));
    let mut e = Engine::new(network, Box::new(MultiRound::new(&[4, 1]).unwrap()), Thresholds::constant(0.5), settings);
    for i in 0..64 {
        e.offer(vec![0.0], i, Instant::now()).unwrap();
    }
    while e.step().unwrap() {}
    assert_eq!((e.stats().stages[0].runs, e.stats().stages[1].runs), (1, 1));
    assert_eq!(e.stats().stages[1].rows, 16);
}

#[test]
fn a_positive_group_is_resolved_although_new_items_never_stop_coming() {
    let mut e = engine(single_label_form(4096, 1, 1), MultiRound::new(&[16, 4, 1]).unwrap());
    let now = Instant::now();
    e.offer(vec![0.9], 0, now).unwrap();
    for step in 1..400 {
        // More arrivals than a run takes, so that the first stage is always full.
        for _ in 0..10 {
            if e.has_room() {
                e.offer(vec![0.0], step, now).unwrap();
            }
        }
        e.step().unwrap();
        if e.judged().any(|j| matches!(j.verdict, Verdict::Flagged(_))) {
            return;
        }
    }
    panic!("the positive waits for ever");
}

#[test]
fn individual_testing_flags_and_clears_alone() {
    let mut e = engine(single_label_form(8, 1, 1), Individual);
    let verdicts = drive(&mut e, &[0.1, 0.9, 0.2, 0.5]);
    assert_eq!(flagged(&verdicts), [1, 3]);
    assert_eq!(e.stats().tests_by_round, [4]);
}

struct Failing(ScriptedNetwork);

impl Network for Failing {
    fn form(&self) -> &Form {
        self.0.form()
    }
    fn embed(&mut self, images: &[&[f32]], first: usize) -> Result<(), RunError> {
        self.0.embed(images, first)
    }
    fn merge(&mut self, _: usize, _: &[i64], _: usize, _: usize) -> Result<(), RunError> {
        Ok(())
    }
    fn score(&mut self, _: &[i64], _: usize, _: &mut Vec<f32>) -> Result<(), RunError> {
        Err(RunError { stage: 1, message: "out of memory".into() })
    }
}

/// A network without a confirm network.
struct Unconfirming(ScriptedNetwork);

impl Network for Unconfirming {
    fn form(&self) -> &Form {
        self.0.form()
    }
    fn embed(&mut self, images: &[&[f32]], first: usize) -> Result<(), RunError> {
        self.0.embed(images, first)
    }
    fn merge(&mut self, level: usize, members: &[i64], arity: usize, first: usize) -> Result<(), RunError> {
        self.0.merge(level, members, arity, first)
    }
    fn score(&mut self, members: &[i64], arity: usize, scores: &mut Vec<f32>) -> Result<(), RunError> {
        self.0.score(members, arity, scores)
    }
}

#[test]
fn a_failing_network_gives_no_verdict() {
    let network = Failing(ScriptedNetwork::new(single_label_form(8, 1, 1)));
    let mut e = Engine::new(network, Box::new(Individual), Thresholds::constant(0.5), settings());
    e.offer(vec![0.0], 0, Instant::now()).unwrap();
    assert!(e.step().unwrap());
    assert!(matches!(e.step(), Err(EngineError::Network(_))));
    assert_eq!(e.judged().count(), 0);
}

/// Clears everyone while their test still runs.
struct Hasty;

impl Policy for Hasty {
    fn start(&mut self, size: usize, step: &mut Step) {
        step.test(Members::first(size), 1);
        step.test(Members::only(0), 1);
    }
    fn observe(&mut self, test: Ask, _: Outcome, step: &mut Step) {
        step.cleared = test.members;
    }
}

impl Plan for Hasty {
    fn group_size(&self) -> usize {
        2
    }
    fn policy(&self) -> Box<dyn Policy> {
        Box::new(Hasty)
    }
    fn arities(&self) -> Vec<usize> {
        vec![2, 1]
    }
    fn describe(&self) -> String {
        "hasty".into()
    }
}

#[test]
fn a_policy_that_breaks_its_contract_stops_the_engine() {
    let mut e = engine(single_label_form(8, 1, 1), Hasty);
    e.offer(vec![0.0], 0, Instant::now()).unwrap();
    e.offer(vec![0.0], 1, Instant::now()).unwrap();
    let error = loop {
        match e.step() {
            Ok(true) => {}
            Ok(false) => panic!("the engine went on"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("hasty"), "{error}");
}
