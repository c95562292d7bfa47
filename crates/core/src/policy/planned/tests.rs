//! The policy as a whole.

use proptest::prelude::*;

use super::*;
use crate::calibration::LikelihoodRatio;
use crate::cost::TestCost;
use crate::policy::harness::{resolve, resolve_scored};
use crate::policy::{MAX_GROUP, PlanError};

const RETEST: f64 = 0.8;

fn score(log_odds: f64) -> f32 {
    (1.0 / (1.0 + (-log_odds).exp())) as f32
}

/// Positive groups at log odds of 4 to 8, negative ones of -6 to 1.
fn evidence() -> Evidence {
    let positive: Vec<f32> = (0..=100).map(|i| score(4.0 + f64::from(i) * 0.04)).collect();
    let negative: Vec<f32> = (0..=100).map(|i| score(-6.0 + f64::from(i) * 0.07)).collect();
    let ratio = LikelihoodRatio::from_quantiles(&positive, 2000, &negative, 100_000).unwrap();
    Evidence::new(vec![(1, ratio), (64, ratio)]).unwrap()
}

fn plan(chain: &[usize], prior: f64, worth: f64) -> Planned {
    let cost = |arity: usize| match arity {
        1 => TestCost { full: 1.0, retest: 1.0 },
        _ => TestCost { full: RETEST + 0.15 * arity as f64, retest: RETEST },
    };
    Planned::new(chain, evidence(), TestCosts::new(cost).unwrap(), prior, worth).unwrap()
}

fn outcome(positive: bool, score: f32) -> Outcome {
    Outcome { positive, score }
}

/// A test that is always right and sure.
fn right(truth: Members) -> impl Fn(Test) -> Outcome {
    move |test| {
        let positive = !test.members.intersection(truth).is_empty();
        outcome(positive, if positive { score(7.0) } else { score(-5.0) })
    }
}

fn chains() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::btree_set(2usize..=64, 0..6)
        .prop_map(|sizes| sizes.into_iter().rev().chain([1]).collect())
}

proptest! {
    /// However the scores come: one verdict each, no flag without a positive individual test, no
    /// set twice, bounded rounds and cost.
    #[test]
    fn the_invariants_hold_whatever_the_tests_say(
        chain in chains(),
        size in 1usize..=64,
        seed: u64,
        prior in 1e-4f64..0.3,
        worth in 1.0f64..1e5,
    ) {
        let plan = plan(&chain, prior, worth);
        let size = size.min(plan.group_size());
        let (mut random, mut alone) = (fastrand::Rng::with_seed(seed), Members::NONE);
        let (flagged, cleared, tests) = resolve_scored(&plan, size, |test| {
            let score =
                if random.u8(..20) == 0 { f32::NAN } else { score(random.f64() * 24.0 - 12.0) };
            let positive = score.is_nan() || score >= 0.5;
            if positive && test.members.len() == 1 {
                alone = alone.union(test.members);
            }
            outcome(positive, score)
        });
        prop_assert_eq!(flagged.union(cleared), Members::first(size));
        prop_assert_eq!(flagged, alone);
        let sets: std::collections::HashSet<u64> =
            tests.iter().map(|test| test.members.0).collect();
        prop_assert_eq!(sets.len(), tests.len());
        prop_assert!(tests.iter().zip(1..).all(|(test, round)| test.round == Round::Number(round)));
        prop_assert!(tests.len() < 2 * size);
        // Each set once: individual tests of all, and of the retests together no more than of the
        // sets between.
        let between = tests.iter().skip(1).filter(|test| test.members.len() > 1).count();
        prop_assert!(between <= size.saturating_sub(2));
    }

    /// If a positive is worth any cost, tests that are right find every one.
    #[test]
    fn right_tests_find_exactly_the_positives_if_they_are_worth_it(
        chain in chains(),
        size in 1usize..=64,
        truth: u64,
    ) {
        let plan = plan(&chain, 0.01, 1e9);
        let size = size.min(plan.group_size());
        let truth = Members(truth).intersection(Members::first(size));
        let (flagged, cleared, _) = resolve_scored(&plan, size, right(truth));
        prop_assert_eq!(flagged, truth);
        prop_assert_eq!(cleared, Members::first(size).without(truth));
    }

    /// One positive among 16, tests that are right: about a test a level, as by halving, and less
    /// than testing everybody.
    #[test]
    fn one_positive_costs_a_test_a_level(place in 0usize..16) {
        // Not so much that it repays a look at sets of which nothing is known.
        let plan = plan(&[16, 8, 4, 2, 1], 0.001, 80.0);
        let (flagged, _, tests) = resolve_scored(&plan, 16, right(Members::only(place)));
        prop_assert_eq!(flagged, Members::only(place));
        prop_assert!(tests.len() <= 7, "{tests:?}");
    }

    /// What is worth more is looked into at least as far, up to the first flag.
    #[test]
    fn a_lower_first_score_never_costs_more_in_a_negative_group(
        low in -6.0f64..6.0,
        more in 0.0f64..6.0,
    ) {
        let cost = |first: f64| {
            let plan = plan(&[16, 8, 4, 2, 1], 0.001, 500.0);
            let said = |test: Test| {
                outcome(false, if test.members.len() == 16 { score(first) } else { score(-6.0) })
            };
            resolve_scored(&plan, 16, said).2.len()
        };
        prop_assert!(cost(low) <= cost(low + more));
    }
}

#[test]
fn a_group_that_is_almost_certainly_clear_costs_one_test() {
    let (flagged, cleared, tests) =
        resolve_scored(&plan(&[16, 8, 4, 1], 0.001, 500.0), 16, right(Members::NONE));
    assert_eq!((flagged, cleared, tests.len()), (Members::NONE, Members::first(16), 1));
    // The harness's outcomes without a score of their own are at 0.5, whatever the outcome: no
    // evidence of a positive here.
    assert_eq!(resolve(&plan(&[16, 8, 4, 1], 0.001, 50.0), 16, |_| true).2.len(), 1);
}

#[test]
fn a_negative_half_saves_the_test_of_the_other_half() {
    let (flagged, _, tests) =
        resolve_scored(&plan(&[8, 4, 2, 1], 0.001, 500.0), 8, right(Members::only(6)));
    let asked: Vec<Vec<usize>> = tests.iter().map(|test| test.members.iter().collect()).collect();
    // {4..7} is not tested: {0..3} is negative, so it must be positive; nor is {6, 7}.
    assert_eq!(asked, [(0..8).collect(), vec![0, 1, 2, 3], vec![4, 5], vec![6]]);
    assert_eq!(flagged, Members::only(6));
}

#[test]
fn a_member_with_a_higher_prior_is_tested_first() {
    let plan = plan(&[8, 4, 2, 1], 0.001, 500.0);
    let mut policy = plan.policy_with(vec![0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.05]);
    let mut decision = Decision::default();
    policy.start(8, &mut decision);
    let first = decision.tests[0];
    decision.reset();
    policy.observe(first, outcome(true, score(5.0)), &mut decision);
    assert!(decision.tests[0].members.intersection(Members::only(7)).len() == 1, "{decision:?}");
}

#[test]
fn a_doubtful_flag_does_not_end_the_search() {
    // Member 0 is flagged by a score that negatives have too; the group's own was sure, so member 2
    // is found all the same.
    let said = |test: Test| match test.members {
        Members(1) => outcome(true, score(0.5)),
        members => right(Members::only(2))(Test { members, round: Round::FIRST }),
    };
    let (flagged, ..) = resolve_scored(&plan(&[4, 1], 0.001, 500.0), 4, said);
    assert_eq!(flagged, Members(0b101));
}

#[test]
fn invalid_plans_are_refused() {
    let costs = || TestCosts::new(|_| TestCost { full: 1.0, retest: 1.0 }).unwrap();
    let new = |chain: &[usize], prior, worth| {
        Planned::new(chain, evidence(), costs(), prior, worth).unwrap_err()
    };
    assert_eq!(new(&[16, 4], 0.1, 1.0), PlanError::ChainWithoutIndividualTest);
    assert_eq!(new(&[4, 1], 0.0, 1.0), PlanError::Prior(0.0));
    assert!(matches!(new(&[4, 1], 0.1, f64::NAN), PlanError::Worth(_)));
    assert_eq!(plan(&[MAX_GROUP, 8, 1], 0.1, 1.0).describe(), "planned 64 > 8 > 1");
}
