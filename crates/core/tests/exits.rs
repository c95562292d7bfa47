//! Early exits through the public surface of the engine, on networks whose scores are scripted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use dorfman_core::calibration::{LikelihoodRatio, Thresholds};
use dorfman_core::engine::{
    AuditSampler, BandPlan, BatchSettings, Clock, Driver, Engine, ExitRule, ItemPrior, ItemVerdict,
    Level, ManualClock, NetworkPart, NetworkShape, ScriptedNetwork, Turn, Verdict, scripted_image,
};
use dorfman_core::grouping::PoolRule;
use dorfman_core::policy::{Individual, MultiRound};
use proptest::prelude::*;

const WAIT: Duration = Duration::from_millis(200);

/// A network with `item_levels` item levels, all with exits, and a level of pairs if `pairs`.
/// Stage 0 costs 1, every later item stage 10, the pairs 100, and a test 1000.
fn shape(item_levels: usize, pairs: bool, slots: usize) -> NetworkShape {
    let item = |level: usize| Level {
        fan_in: 1,
        slots,
        macs: if level == 0 { 1 } else { 10 },
        exit: true,
    };
    let mut levels: Vec<Level> = (0..item_levels).map(item).collect();
    if pairs {
        levels.push(Level { fan_in: 2, slots: 2 * slots, macs: 100, exit: false });
    }
    NetworkShape { levels, labels: 1, score_macs: 1000, repeats: true, confirm_macs: None }
}

fn band(chain: &[usize]) -> BandPlan {
    BandPlan::new(Box::new(MultiRound::new(chain).unwrap()), Thresholds::constant(0.5))
}

fn used(threshold: f32) -> ExitRule {
    ExitRule { thresholds: Some(Thresholds::constant(threshold)), evidence: None }
}

fn settings(max_batch: usize) -> BatchSettings {
    let preferred_batch = max_batch.min(4);
    BatchSettings { max_batch, preferred_batch, buckets: vec![], max_wait: WAIT }
}

fn engine(
    shape: NetworkShape,
    chain: &[usize],
    rules: Vec<ExitRule>,
) -> Engine<ScriptedNetwork, usize> {
    let clock = ManualClock::new(Instant::now());
    let mut engine = Engine::new(ScriptedNetwork::new(shape), clock, band(chain), settings(8));
    engine.set_exits(rules);
    engine
}

/// Offers images as there is room, and runs until every item has its verdict. Returns the verdicts
/// in the order of the items.
fn run(
    driver: &mut Driver<ScriptedNetwork, usize>,
    images: &[Vec<f32>],
) -> Vec<ItemVerdict<usize>> {
    let mut verdicts = Vec::new();
    let mut offered = 0;
    while !driver.is_done() {
        while driver.room() > 0 && offered < images.len() {
            driver.offer(scripted_image(&images[offered]), offered);
            offered += 1;
        }
        if offered == images.len() {
            driver.close();
        }
        driver.turn().unwrap();
        verdicts.extend(driver.verdicts());
    }
    verdicts.sort_by_key(|item| item.payload);
    verdicts
}

fn score() -> impl Strategy<Value = f32> {
    prop_oneof![10 => Just(0.1f32), 4 => Just(0.4f32), 2 => Just(0.9f32), 1 => Just(f32::NAN)]
}

proptest! {
    /// For every number of item levels, any thresholds and any chain, an item leaves at the first
    /// exit in use whose threshold it does not reach. Every other item has the verdict of its own
    /// score.
    #[test]
    fn an_item_leaves_at_the_first_exit_that_clears_it(
        item_levels in 1usize..4,
        pairs: bool,
        thresholds in prop::collection::vec(prop::option::of(0.2f32..0.95), 3),
        chain in prop::sample::select(vec![vec![1], vec![4, 1], vec![8, 4, 1]]),
        images in prop::collection::vec(prop::collection::vec(score(), 4), 0..200),
        slots in 16usize..64,
    ) {
        let rule = |t: &Option<f32>| t.map_or_else(ExitRule::default, used);
        let rules: Vec<ExitRule> = thresholds[..item_levels].iter().map(rule).collect();
        let mut driver = Driver::new(engine(shape(item_levels, pairs, slots), &chain, rules));
        let verdicts = run(&mut driver, &images);
        prop_assert_eq!(verdicts.len(), images.len());
        let mut reached = vec![0; item_levels];
        for (item, image) in verdicts.iter().zip(&images) {
            let clears = |&level: &usize| thresholds[level].is_some_and(|t| image[level + 1] < t);
            let exit = (0..item_levels).find(clears);
            (0..=exit.unwrap_or(item_levels - 1)).for_each(|level| reached[level] += 1);
            prop_assert_eq!(item.exit, exit.map(NetworkPart::Stage));
            if let Some(level) = exit {
                let (tests, score) = (item.tests, item.score);
                prop_assert_eq!(&item.verdict, &Verdict::Cleared);
                prop_assert_eq!((tests, score, item.rounds), (0, image[level + 1], 0));
                continue;
            }
            let correct = match item.verdict {
                Verdict::Flagged(_) => image[0] >= 0.5,
                Verdict::Cleared => image[0] < 0.5,
                Verdict::Failed(_) => image[0].is_nan(),
            };
            prop_assert!(correct && item.tests > 0, "{:?} of {:?}", item, image);
        }
        let stats = driver.engine().stats();
        let rows: Vec<u64> = stats.stages[..item_levels].iter().map(|stage| stage.rows).collect();
        prop_assert_eq!(rows, reached, "no item runs a stage behind its exit");
        prop_assert_eq!(stats.decided, images.len() as u64);
        let left = verdicts.iter().filter(|item| item.exit.is_some()).count() as u64;
        prop_assert_eq!(stats.exit_cleared(), left);
        prop_assert_eq!(driver.engine().in_flight(), 0);
    }

    /// With audits of every item that an exit clears, each is tested alone, skips the later exits,
    /// and has the verdict of its own score.
    #[test]
    fn an_audited_item_is_tested_alone(
        images in prop::collection::vec(prop::collection::vec(score(), 3), 0..100),
        fraction in prop::sample::select(vec![0.0, 0.5, 1.0]),
    ) {
        let rules = vec![used(0.3), used(0.6)];
        let engine = engine(shape(2, true, 32), &[4, 1], rules)
            .with_exit_audits(AuditSampler::new(fraction, 7));
        let mut driver = Driver::new(engine);
        let verdicts = run(&mut driver, &images);
        for (item, image) in verdicts.iter().zip(&images) {
            let exit = [0.3, 0.6].iter().zip(&image[1..]).position(|(&t, &score)| score < t);
            prop_assert_eq!(item.exit, exit.map(NetworkPart::Stage));
            prop_assert!(exit.is_some() || !item.audited);
            prop_assert!(exit.is_none() || fraction != 1.0 || item.audited);
            if item.audited {
                prop_assert_eq!((item.tests, item.arity), (1, 1));
                prop_assert_eq!(image[0] >= 0.5, matches!(item.verdict, Verdict::Flagged(_)));
            }
        }
        let stats = driver.engine().stats();
        let audited = verdicts.iter().filter(|item| item.audited).count() as u64;
        let found = |item: &&ItemVerdict<usize>| {
            item.audited && matches!(item.verdict, Verdict::Flagged(_))
        };
        let found = verdicts.iter().filter(found).count() as u64;
        let by_exit: u64 = stats.exits.iter().map(|exit| exit.audits).sum();
        prop_assert_eq!((stats.audits, by_exit, stats.audits_flagged), (audited, audited, found));
        prop_assert_eq!(stats.audit_counts().cleared, stats.exit_cleared() + stats.pool_cleared);
    }
}

#[test]
fn a_group_is_formed_from_the_items_that_pass() {
    let mut driver = Driver::new(engine(shape(1, false, 64), &[4, 1], vec![used(0.5)]));
    // Every second item passes its exit, and none is positive.
    let images: Vec<Vec<f32>> = (0..16).map(|i| vec![0.1, [0.1, 0.9][i % 2]]).collect();
    let verdicts = run(&mut driver, &images);
    let stats = driver.engine().stats();
    assert_eq!((stats.groups, stats.tests_by_round.clone()), (2, vec![2]));
    assert!(verdicts.iter().all(|item| item.arity == if item.payload % 2 == 1 { 4 } else { 1 }));
    assert_eq!(stats.macs(), 16 + 2 * 1000, "an exit that clears saves the test");
}

#[test]
fn a_group_waits_from_the_time_at_which_its_first_member_is_ready() {
    let clock = ManualClock::new(Instant::now());
    let network = ScriptedNetwork::new(shape(2, false, 64));
    let mut engine = Engine::new(network, clock.clone(), band(&[4, 1]), settings(8));
    engine.set_exits(vec![used(0.5), ExitRule::default()]);
    let mut driver = Driver::new(engine);
    driver.offer(scripted_image(&[0.1, 0.9]), 0);
    clock.advance(WAIT);
    assert_eq!(driver.turn().unwrap(), Turn::Ran, "stage 0");
    clock.advance(WAIT);
    assert_eq!(driver.turn().unwrap(), Turn::Ran, "stage 1");
    let ready = clock.now();
    clock.advance(WAIT / 2);
    assert_eq!(driver.turn().unwrap(), Turn::Idle { deadline: Some(ready + WAIT) });
    clock.advance(WAIT / 2);
    assert_eq!(driver.turn().unwrap(), Turn::Ran, "the test of the incomplete group");
    assert_eq!(driver.verdicts().count(), 1);
}

#[test]
fn a_flush_includes_items_that_have_not_passed_their_exits() {
    let mut driver = Driver::new(engine(shape(2, false, 64), &[16, 1], vec![used(0.5), used(0.5)]));
    (0..3).for_each(|i| driver.offer(scripted_image(&[0.1, 0.9, 0.9]), i));
    driver.flush();
    let mut verdicts = Vec::new();
    while driver.turn().unwrap() == Turn::Ran {
        verdicts.extend(driver.verdicts());
    }
    let arities: Vec<u8> = verdicts.iter().map(|item| item.arity).collect();
    assert_eq!(arities, [3, 3, 3], "one group of all items, not one group per stage");
    // Later items are not part of that flush.
    driver.offer(scripted_image(&[0.1, 0.9, 0.9]), 3);
    while driver.turn().unwrap() == Turn::Ran {}
    assert_eq!(driver.verdicts().count(), 0);
}

#[test]
fn the_score_of_an_exit_decides_the_risk_band() {
    let positive: Vec<f32> = (1..100).map(|i| 1.0 - 0.005 * i as f32).collect();
    let negative: Vec<f32> = (1..100).map(|i| 0.002 * i as f32).collect();
    let ratio = LikelihoodRatio::from_samples(&positive, &negative).unwrap();
    let rule = ExitRule { thresholds: None, evidence: Some((0, ratio)) };
    let alone = BandPlan::new(Box::new(Individual), Thresholds::constant(0.5));
    let engine = engine(shape(1, false, 64), &[4, 1], vec![rule])
        .with_pools(vec![alone], PoolRule::new(vec![0.02], 0.01, 1));
    let mut driver = Driver::new(engine);
    let images: Vec<Vec<f32>> = (0..8).map(|i| vec![0.1, [0.01, 0.9][i % 2]]).collect();
    let verdicts = run(&mut driver, &images);
    let arities: Vec<u8> = verdicts.iter().map(|item| item.arity).collect();
    assert_eq!(arities, [4, 1, 4, 1, 4, 1, 4, 1], "a high score is tested alone");
    let bands: Vec<u64> = driver.engine().stats().bands.iter().map(|b| b.decided).collect();
    assert_eq!(bands, [4, 4]);
}

#[test]
fn an_item_that_was_chosen_for_an_audit_before_skips_the_exits() {
    let mut driver = Driver::new(engine(shape(1, false, 8), &[4, 1], vec![used(0.5)]));
    let audit = Some(NetworkPart::Screen);
    let prior = ItemPrior { audit, ..ItemPrior::default() };
    driver.offer_with(prior, scripted_image(&[0.9, 0.1]), 0);
    driver.close();
    let mut verdicts = Vec::new();
    driver.run_to_end(|item| verdicts.push(item)).unwrap();
    let item = &verdicts[0];
    assert_eq!((item.exit, item.audited, item.tests), (audit, true, 1));
    assert_eq!(item.verdict, Verdict::Flagged(vec![(0, 0.9)]));
    let stats = driver.engine().stats();
    assert_eq!((stats.audits, stats.audits_flagged, stats.exit_cleared()), (1, 1, 0));
}
