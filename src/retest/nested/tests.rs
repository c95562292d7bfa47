use proptest::prelude::*;

use super::*;
use crate::retest::harness::{resolve, resolve_noisily};
use crate::retest::{Answers, Cost, Costs, Halving, Point, SizeAnswers};

/// Tests of all sizes that find a share `sensitivity` and are silent on a share `specificity` of clean groups, and cost 1 each.
fn known(prior: f64, sensitivity: f64, specificity: f64) -> Knowledge {
    let points = vec![Point { sensitivity, specificity }];
    let sizes = [1, 2, 4, 8, 16, 32, 64].map(|arity| SizeAnswers { arity, points: points.clone() });
    Knowledge {
        evidence: Err("scores are not looked at".into()),
        answers: Answers::new(sizes.into()).unwrap(),
        costs: Costs::new(|_| Cost { full: 1.0, cached: 1.0 }).unwrap(),
        prior,
    }
}

fn perfect(size: usize, prior: f64) -> Nested {
    Nested::new(size, &known(prior, 1.0, 1.0), 0.9, 0.9).unwrap()
}

/// Tests a group of the plan takes on average, and the share of positives flagged, where tests err so.
fn mean_tests(plan: &dyn Plan, prior: f64, sensitivity: f64, specificity: f64) -> (f64, f64) {
    const GROUPS: usize = 40_000;
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut tests, mut positives, mut found) = (0, 0, 0);
    for _ in 0..GROUPS {
        let mut truth = Members::NONE;
        for member in 0..plan.group_size() {
            if rng.f64() < prior {
                truth = truth.union(Members::only(member));
            }
        }
        let (flagged, _, asked) =
            resolve(plan, plan.group_size(), |test| match test.members.intersection(truth).is_empty() {
                true => rng.f64() >= specificity,
                false => rng.f64() < sensitivity,
            });
        tests += asked.len();
        positives += truth.len();
        found += flagged.intersection(truth).len();
    }
    (tests as f64 / GROUPS as f64, found as f64 / positives as f64)
}

proptest! {
    // A table takes a while.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn perfect_tests_find_exactly_the_positives(size in 1usize..=64, truth: u64) {
        let truth = Members(truth).intersection(Members::first(size));
        let (flagged, cleared, _) = resolve(&perfect(64, 0.02), size, |t| !t.members.intersection(truth).is_empty());
        prop_assert_eq!(flagged, truth);
        prop_assert_eq!(cleared, Members::first(size).without(truth));
    }

    /// However wrong the tests are: one verdict each, bounded rounds and cost, no flag without an individual test.
    #[test]
    fn the_invariants_hold_whatever_the_tests_say(size in 1usize..=64, prior in 0.0001f64..0.5, seed: u64) {
        let plan = Nested::new(64, &known(prior, 0.95, 0.9), 0.9, 0.9).unwrap();
        let noisy = resolve_noisily(&plan, size, seed);
        prop_assert_eq!(noisy.flagged.union(noisy.cleared), Members::first(size));
        prop_assert_eq!(noisy.flagged, noisy.alone);
        prop_assert!(noisy.tests.len() <= 3 * size);
        prop_assert!(noisy.tests.iter().all(|t| usize::from(t.round) <= 2 * size + 1));
    }
}

#[test]
fn tests_that_are_always_positive_end_in_individual_ones() {
    let (flagged, _, tests) = resolve(&perfect(64, 0.001), 64, |_| true);
    assert_eq!(flagged, Members::first(64));
    assert!(tests.len() <= 3 * 64, "{}", tests.len());
}

#[test]
fn the_table_expects_what_happens() {
    for (size, prior) in [(8, 0.1), (16, 0.01), (32, 0.03)] {
        let plan = perfect(size, prior);
        let (tests, recall) = mean_tests(&plan, prior, 1.0, 1.0);
        assert!((tests / plan.expected_cost() - 1.0).abs() < 0.02, "{tests} {}", plan.expected_cost());
        assert_eq!(recall, 1.0);
    }
    // Of what a wrong positive leaves behind the table knows less than there is to know.
    let plan = Nested::new(16, &known(0.02, 0.97, 0.95), 0.9, 0.9).unwrap();
    let (tests, recall) = mean_tests(&plan, 0.02, 0.97, 0.95);
    assert!((tests / plan.expected_cost() - 1.0).abs() < 0.05, "{tests} {}", plan.expected_cost());
    assert!(recall > 0.97f64.powi(5), "{recall}");
}

#[test]
fn it_takes_fewer_tests_than_halving() {
    for prior in [0.005, 0.02, 0.1, 0.2] {
        let (nested, _) = mean_tests(&perfect(32, prior), prior, 1.0, 1.0);
        let (halving, _) = mean_tests(&Halving::new(32).unwrap(), prior, 1.0, 1.0);
        assert!(nested <= halving * 1.005, "{prior}: {nested} {halving}");
    }
}

#[test]
fn two_share_a_test_where_that_pays() {
    // 1 + 2 (1 - q^2) tests together, since a flag needs a test of its own, against 2 alone: equal at q^2 = 1/2.
    let expected = |prior: f64| perfect(2, prior).expected_cost();
    assert!((expected(0.1) - (1.0 + 2.0 * (1.0 - 0.81))).abs() < 1e-9);
    assert!(expected(0.292) < 2.0 - 1e-4 && (expected(0.294) - 2.0).abs() < 1e-9);
    assert_eq!(perfect(64, 0.4).arities(), [1]);
}

#[test]
fn sizes_follow_prevalence_errors_and_costs() {
    let largest = |known: &Knowledge| Nested::new(64, known, 0.9, 0.9).unwrap().arities()[0];
    assert!(largest(&known(0.001, 1.0, 1.0)) == 64 && largest(&known(0.05, 1.0, 1.0)) < 32);
    let mut steep = known(0.001, 1.0, 1.0);
    steep.costs = Costs::new(|arity| Cost { full: (arity * arity) as f64, cached: (arity * arity) as f64 }).unwrap();
    assert_eq!(largest(&steep), 1);
    let mut blind = known(0.001, 1.0, 1.0);
    let specificity = |arity: usize| if arity == 1 { 1.0 } else { 0.0 };
    let point = |arity| Point { sensitivity: 1.0, specificity: specificity(arity) };
    let sizes = [1, 8, 64].map(|arity| SizeAnswers { arity, points: vec![point(arity)] });
    blind.answers = Answers::new(sizes.into()).unwrap();
    assert_eq!(largest(&blind), 1, "a test that is always positive tells nothing");
}

#[test]
fn what_it_needs_must_be_known() {
    assert!(Nested::new(65, &known(0.01, 1.0, 1.0), 0.9, 0.9).unwrap_err().contains("1 to 64"));
    let error = Nested::new(16, &known(0.01, 0.95, 1.0), 0.99, 0.9).unwrap_err();
    assert!(error.contains("0.99"), "{error}");
}
