//! Which items share a test: risk bands, key pools and one-round testing.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dorfman_core::calibration::Thresholds;
use dorfman_core::engine::{
    BandPlan, BatchSettings, Driver, Engine, ItemPrior, ItemVerdict, ManualClock, ScriptedNetwork,
    Verdict, scripted_image, single_label_shape,
};
use dorfman_core::grouping::PoolRule;
use dorfman_core::policy::{Individual, MultiRound, OneRound, Plan, Policy};

type ScriptedEngine = Engine<ScriptedNetwork, usize>;

fn engine(plan: impl Plan + 'static) -> ScriptedEngine {
    let max_wait = Duration::from_secs(60);
    let settings = BatchSettings { max_batch: 8, preferred_batch: 4, buckets: vec![], max_wait };
    let network = ScriptedNetwork::new(single_label_shape(64, 10, 100));
    Engine::new(network, ManualClock::new(Instant::now()), band(plan, 0.5), settings)
}

fn band(plan: impl Plan + 'static, threshold: f32) -> BandPlan {
    BandPlan::new(Box::new(plan), Thresholds::constant(threshold))
}

fn chain(sizes: &[usize]) -> MultiRound {
    MultiRound::new(sizes).unwrap()
}

/// Offers images to their pools and runs until every item has its verdict.
fn run(
    engine: ScriptedEngine,
    images: &[(ItemPrior, f32)],
) -> (ScriptedDriver, BTreeMap<usize, ItemVerdict<usize>>) {
    let mut driver = Driver::new(engine);
    for (i, &(prior, score)) in images.iter().enumerate() {
        driver.offer_with(prior, scripted_image(&[score]), i);
    }
    driver.close();
    let mut verdicts = BTreeMap::new();
    driver.run_to_end(|item| drop(verdicts.insert(item.payload, item))).unwrap();
    assert_eq!(verdicts.len(), images.len());
    (driver, verdicts)
}

type ScriptedDriver = Driver<ScriptedNetwork, usize>;

/// An item of a key pool, where each band has at least `pool + 1` pools.
fn in_pool(pool: usize) -> ItemPrior {
    ItemPrior { key: Some(pool as u64), ..ItemPrior::default() }
}

/// An item of a risk band by [`three_bands`].
fn in_band(band: usize) -> ItemPrior {
    ItemPrior { risk: Some([0.001, 0.2, 0.8][band]), ..ItemPrior::default() }
}

fn three_bands() -> PoolRule {
    PoolRule::new(vec![0.1, 0.5], 0.001, 1)
}

fn key_pools(count: usize) -> PoolRule {
    PoolRule::new(Vec::new(), 0.001, count)
}

#[test]
fn bands_are_tested_separately_and_each_by_its_plan() {
    let others = vec![band(chain(&[2, 1]), 0.5), band(Individual, 0.95)];
    let engine = engine(chain(&[8, 1])).with_pools(others, three_bands());
    // Interleaved: the first band is clean, the second is positive, the third is positive by 0.5
    // but not by its own threshold.
    let image = |i: usize| (in_band(i % 3), [0.1, 0.9, 0.9][i % 3]);
    let (driver, verdicts) = run(engine, &(0..24).map(image).collect::<Vec<_>>());
    for (i, item) in &verdicts {
        let ItemVerdict { verdict, arity, tests, .. } = item;
        match i % 3 {
            0 => assert_eq!((verdict, *arity, *tests), (&Verdict::Cleared, 8, 1)),
            1 => assert!(matches!(verdict, Verdict::Flagged(_)) && *tests == 2),
            _ => assert_eq!((verdict, *arity, *tests), (&Verdict::Cleared, 1, 1)),
        }
    }
    let stats = driver.engine().stats();
    let bands: Vec<(u64, u64)> = stats.bands.iter().map(|b| (b.decided, b.flagged)).collect();
    assert_eq!(bands, [(8, 0), (8, 8), (8, 0)]);
    assert_eq!((stats.decided, stats.policy_flagged), (24, 8));
}

#[test]
fn key_pools_keep_keys_together() {
    let engine = engine(chain(&[4, 1])).with_pools(Vec::new(), key_pools(4));
    let image = |i: usize| (in_pool(i % 4), if i % 4 == 2 { 0.9 } else { 0.1 });
    let (driver, verdicts) = run(engine, &(0..16).map(image).collect::<Vec<_>>());
    // All positives are in one group: 4 first tests and 4 retests. In one pool, every group would
    // have one positive.
    assert_eq!(driver.engine().stats().tests(), 8);
    let flagged = verdicts.values().filter(|v| matches!(v.verdict, Verdict::Flagged(_)));
    assert_eq!(flagged.count(), 4);
}

#[test]
fn one_band_can_be_replanned() {
    let second = vec![band(chain(&[4, 1]), 0.5)];
    let mut engine = engine(chain(&[4, 1])).with_pools(second, PoolRule::new(vec![0.5], 0.001, 2));
    engine.replan(1, band(chain(&[2, 1]), 0.5)).unwrap();
    let prior = |i: usize| ItemPrior { risk: Some([0.1, 0.9][i % 4 / 2]), ..in_pool(i % 2) };
    let images: Vec<_> = (0..16).map(|i| (prior(i), 0.1)).collect();
    let (_, verdicts) = run(engine, &images);
    let expected = |item: usize| if item % 4 < 2 { 4 } else { 2 };
    assert!(verdicts.values().all(|v| v.arity == expected(v.payload)));
}

/// A plan that records the risks of its groups.
struct RecordsRisks(MultiRound, Arc<Mutex<Vec<Vec<Option<f32>>>>>);

impl Plan for RecordsRisks {
    fn group_size(&self) -> usize {
        self.0.group_size()
    }

    fn policy(&self) -> Box<dyn Policy> {
        self.0.policy()
    }

    fn policy_for(&self, risks: &[Option<f32>]) -> Box<dyn Policy> {
        self.1.lock().unwrap().push(risks.to_vec());
        self.0.policy()
    }

    fn arities(&self) -> Vec<usize> {
        self.0.arities()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

#[test]
fn a_policy_receives_the_risks_by_position() {
    let recorded = Arc::default();
    let engine = engine(RecordsRisks(chain(&[2, 1]), Arc::clone(&recorded)));
    let risks = [None, None, None, Some(0.25)];
    run(engine, &risks.map(|risk| (ItemPrior { risk, ..ItemPrior::default() }, 0.1)));
    let recorded = recorded.lock().unwrap();
    assert_eq!(
        *recorded,
        [vec![None, Some(0.25)]],
        "a group without risks has no risks to receive"
    );
}

#[test]
fn a_row_and_a_column_flag_without_an_individual_test() {
    let image = |i: usize| (in_pool(0), if i == 6 { 0.9 } else { 0.1 });
    let images: Vec<_> = (0..16).map(image).collect();
    let (driver, verdicts) = run(engine(OneRound::new(16).unwrap()), &images);
    for (i, item) in verdicts {
        assert_eq!((item.tests, item.rounds, item.arity), (2, 1, 4));
        let flagged = Verdict::Flagged(vec![(0, 0.9)]);
        assert_eq!(item.verdict, if i == 6 { flagged } else { Verdict::Cleared });
    }
    assert_eq!(driver.engine().stats().tests(), 8);
}

#[test]
fn a_score_that_is_not_a_number_fails_only_its_item() {
    // Item 3 is positive and shares its row with item 4, whose score is not a number.
    let scores = [0.1, 0.1, 0.1, 0.9, f32::NAN, 0.1, 0.1, 0.1, 0.1];
    let images = scores.map(|score| (in_pool(0), score));
    let (_, verdicts) = run(engine(OneRound::new(9).unwrap()), &images);
    let items = |is: fn(&Verdict) -> bool| -> Vec<usize> {
        verdicts.values().filter(|v| is(&v.verdict)).map(|v| v.payload).collect()
    };
    assert_eq!(items(|v| matches!(v, Verdict::Failed(_))), [4]);
    assert_eq!(items(|v| matches!(v, Verdict::Flagged(_))), [3]);
}

#[test]
fn open_groups_that_hold_all_slots_do_not_block_the_last_items() {
    let max_wait = Duration::from_secs(60);
    let settings = BatchSettings { max_batch: 8, preferred_batch: 4, buckets: vec![], max_wait };
    let network = ScriptedNetwork::new(single_label_shape(4, 10, 100));
    let clock = ManualClock::new(Instant::now());
    let engine = Engine::new(network, clock, band(chain(&[4, 1]), 0.5), settings);
    // Two pools with two items each hold the four slots, and no group is full.
    let images: Vec<_> = (0..9).map(|i| (in_pool(i % 2), 0.1)).collect();
    let (_, verdicts) = run(engine.with_pools(Vec::new(), key_pools(2)), &images);
    assert_eq!(verdicts.len(), 9);
}
