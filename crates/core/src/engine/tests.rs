//! The engine as a whole, on scripted networks, with access to its parts.

use std::time::{Duration, Instant};

use super::*;
use crate::calibration::Thresholds;
use crate::policy::MultiRound;

type Scripted = Driver<ScriptedNetwork, usize>;

fn plan(chain: &[usize]) -> BandPlan {
    BandPlan::new(Box::new(MultiRound::new(chain).unwrap()), Thresholds::constant(0.5))
}

fn settings(buckets: Vec<usize>, max_wait: Duration) -> BatchSettings {
    BatchSettings { max_batch: 8, preferred_batch: 8, buckets, max_wait }
}

fn clock() -> ManualClock {
    ManualClock::new(Instant::now())
}

fn engine(slots: usize) -> Engine<ScriptedNetwork, usize> {
    let shape = NetworkShape { confirm_macs: Some(1), ..single_label_shape(slots, 1, 1) };
    let settings = settings(vec![], Duration::from_millis(1));
    Engine::new(ScriptedNetwork::new(shape), clock(), plan(&[4, 1]), settings)
}

#[test]
fn expected_seconds_are_those_of_the_part_arity_and_batch_of_each_run() {
    let shape = NetworkShape { confirm_macs: Some(1), ..single_label_shape(8, 10, 100) };
    let settings = settings(vec![1, 8], Duration::from_millis(1));
    let engine = Engine::new(ScriptedNetwork::new(shape), clock(), plan(&[3, 1]), settings)
        .with_confirm(Thresholds::constant(0.5))
        .with_expected(|part, arity, batch| match part {
            NetworkPart::Stage(stage) => Some((1000 * stage + 100 * arity + batch) as f64),
            NetworkPart::Confirm | NetworkPart::Screen => None,
        });
    let mut driver = Driver::new(engine);
    [0.9, 0.1, 0.1].into_iter().for_each(|score| driver.offer(scripted_image(&[score]), ()));
    driver.run_to_end(drop).unwrap();
    let stats = driver.engine().stats();
    assert_eq!(stats.stages[0].expected_seconds, 108.0, "three images, rounded up to eight");
    // One test of three, padded to four; then three individual tests, rounded up to eight.
    assert_eq!(stats.stages[1].expected_seconds, 1401.0 + 1108.0);
    let confirm = (stats.confirm.runs, stats.confirm.expected_seconds);
    assert_eq!(confirm, (1, 0.0), "the confirm network was not measured");
}

/// The number of runs until the one positive has its verdict, while every run is preceded by a full
/// batch of new items. `None` if 100 runs are not enough.
fn runs_to_find(max_wait: Duration) -> Option<u32> {
    let network = ScriptedNetwork::new(single_label_shape(2000, 1, 1));
    let clock = clock();
    let settings = settings(vec![], max_wait);
    let mut driver = Driver::new(Engine::new(network, clock.clone(), plan(&[4, 1]), settings));
    (1..=100).find(|&run| {
        for item in 0..8 {
            let score = if (run, item) == (1, 0) { 0.9 } else { 0.1 };
            driver.offer(scripted_image(&[score]), (run, item));
        }
        clock.advance(Duration::from_millis(1));
        assert_eq!(driver.turn().unwrap(), Turn::Ran);
        driver.verdicts().any(|item| item.payload == (1, 0))
    })
}

#[test]
fn a_retest_is_passed_over_eight_times_and_for_as_long_as_a_group_waits() {
    let hour = Duration::from_secs(3600);
    assert_eq!(
        runs_to_find(hour),
        None,
        "four retests are half a batch, and fuller ones never end"
    );
    // Four runs of stage 0 fill a batch of first tests, which is the fifth run. Then the retests
    // are passed over eight times.
    assert_eq!(runs_to_find(Duration::ZERO), Some(14));
}

/// Offers a clean group and one with a positive. Returns how many images are kept after each run.
fn images_kept(engine: Engine<ScriptedNetwork, usize>) -> Vec<usize> {
    let mut driver = Driver::new(engine);
    (0..8).for_each(|i| driver.offer(scripted_image(&[if i == 5 { 0.9 } else { 0.1 }]), i));
    let kept = |driver: &Scripted| {
        let items = driver.engine().flight.items.iter();
        items.filter(|(_, item)| !item.image.is_empty()).count()
    };
    let turns = std::iter::from_fn(|| (driver.turn().unwrap() == Turn::Ran).then(|| kept(&driver)));
    turns.collect()
}

#[test]
fn images_are_kept_until_the_verdict_and_no_longer() {
    let confirmed = engine(8).with_confirm(Thresholds::constant(0.5));
    let (after_embed, first_round, second_round, confirm) = (8, 4, 1, 0);
    assert_eq!(images_kept(confirmed), [after_embed, first_round, second_round, confirm]);
}

#[test]
fn without_a_confirm_network_images_are_dropped_after_stage_0() {
    assert_eq!(images_kept(engine(8)), [0, 0, 0]);
}

#[test]
fn an_item_that_waits_for_the_confirm_network_holds_no_slot() {
    let mut driver = Driver::new(engine(8).with_confirm(Thresholds::constant(0.5)));
    driver.offer(scripted_image(&[0.9]), 0);
    driver.close();
    while driver.engine().scheduler.confirmations() == 0 {
        assert_eq!(driver.turn().unwrap(), Turn::Ran);
    }
    let engine = driver.engine();
    let state = (engine.scheduler.available_slots(0), engine.flight.groups.len());
    assert_eq!((state, engine.in_flight()), ((8, 0), 1));
}

#[test]
fn a_group_may_be_formed_after_the_first_stage_of_its_members() {
    let mut driver = Driver::new(engine(8));
    let (early, late) = (0..2, 2..4);
    early.for_each(|i| driver.offer(scripted_image(&[0.1]), i));
    // The group of four is still open while stage 0 runs on its first two members.
    assert_eq!(driver.turn().unwrap(), Turn::Ran);
    assert_eq!(driver.engine().stats().groups, 0);
    late.for_each(|i| driver.offer(scripted_image(&[if i == 3 { 0.9 } else { 0.1 }]), i));
    let mut flagged = Vec::new();
    let verdict = |item: ItemVerdict<usize>| {
        if item.verdict != Verdict::Cleared {
            flagged.push(item.payload);
        }
    };
    driver.run_to_end(verdict).unwrap();
    assert_eq!((flagged, driver.engine().stats().groups), (vec![3], 1));
}

#[test]
fn an_idle_driver_names_the_deadline_of_the_open_group() {
    let (clock, wait) = (clock(), Duration::from_millis(200));
    let network = ScriptedNetwork::new(single_label_shape(8, 1, 1));
    let engine = Engine::new(network, clock.clone(), plan(&[4, 1]), settings(vec![], wait));
    let mut driver = Driver::new(engine);
    driver.offer(scripted_image(&[0.1]), 0);
    assert_eq!(driver.turn().unwrap(), Turn::Ran, "stage 0 does not wait for the group");
    assert_eq!(driver.turn().unwrap(), Turn::Idle { deadline: Some(clock.now() + wait) });
    clock.advance(wait);
    assert_eq!(driver.turn().unwrap(), Turn::Ran);
    assert_eq!(driver.verdicts().count(), 1);
    driver.close();
    assert_eq!(driver.turn().unwrap(), Turn::Done);
}
