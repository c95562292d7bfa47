//! Plans over made-up recordings.

use dorfman_core::cost::{Accounting, TestCost, TestCount};
use proptest::prelude::*;

use super::*;

/// `items`, some of them positive, and scores by design and size. Both follow from `seed`.
fn made_up(items: usize, kinds: &[(&str, usize)], seed: u64) -> Recording {
    let mut random = fastrand::Rng::with_seed(seed);
    let items: Vec<RecordedItem> = (0..items)
        .map(|id| RecordedItem { id: id as u64, positive: random.u8(..10) == 0 })
        .collect();
    let scores = kinds.iter().map(|&(design, size)| Scores {
        design: design.to_owned(),
        size,
        cost: TestCost { full: 100.0 + size as f64, retest: size as f64 },
        groups: items
            .chunks(size)
            .map(|m| RecordedGroup {
                score: random.f32(),
                positive: m.iter().any(|item| item.positive),
            })
            .collect(),
    });
    let scores = scores.collect();
    Recording::new("made up", items, scores).unwrap()
}

fn kinds(chain: &[(&str, usize)]) -> Vec<ScoreSource> {
    chain
        .iter()
        .map(|&(design, size)| ScoreSource { design: Some(design.to_owned()), size })
        .collect()
}

fn chains() -> impl Strategy<Value = Vec<(&'static str, usize)>> {
    let designs = prop::collection::vec(prop::sample::select(vec!["", "A", "B"]), 3);
    designs.prop_map(|designs| {
        let pooled = designs.into_iter().zip([8, 4, 2]).filter(|(design, _)| !design.is_empty());
        pooled.chain([(INDIVIDUAL, 1)]).collect()
    })
}

/// Considers every recorded group that differs from the smaller ones by itself: it is tested if all
/// groups around it are positive.
fn brute_force(recording: &Recording, chain: &[(&str, usize)], threshold: f32) -> Replayed {
    let n = recording.items().len();
    let all: Vec<&Scores> =
        chain.iter().map(|&(design, size)| recording.scores(design, size).unwrap()).collect();
    let range = |kind: usize, item: usize| {
        let first = item / all[kind].size * all[kind].size;
        (first, n.min(first + all[kind].size))
    };
    // The kinds of test of an item, largest first; of kinds with the same members only the
    // smallest.
    let tested = |item: usize| -> Vec<usize> {
        let kinds = 0..all.len();
        kinds.filter(|&k| k + 1 == all.len() || range(k, item) != range(k + 1, item)).collect()
    };
    let positive =
        |kind: usize, item: usize| all[kind].groups[item / all[kind].size].score >= threshold;
    let mut tests: Vec<TestCount> = all.iter().map(|s| TestCount::none(s.cost)).collect();
    for item in 0..n {
        let path = tested(item);
        for (depth, &kind) in path.iter().enumerate() {
            let reached = path[..depth].iter().all(|&k| positive(k, item));
            // A group is counted at its first item.
            if !reached || range(kind, item).0 != item {
                continue;
            }
            let cached = path[..depth].iter().any(|&k| all[k].design == all[kind].design);
            match (depth, cached) {
                (0, _) => tests[kind].first += 1,
                (_, true) => tests[kind].cached += 1,
                (_, false) => tests[kind].uncached += 1,
            }
        }
    }
    let flagged = (0..n).map(|item| tested(item).iter().all(|&k| positive(k, item))).collect();
    Replayed { flagged, tests }
}

proptest! {
    #[test]
    fn a_replayed_policy_does_what_brute_force_does(
        chain in chains(),
        items in 0usize..60,
        seed: u64,
        threshold in 0.1f32..0.9,
    ) {
        let recording = made_up(items, &chain, seed);
        let plan = RecordedPlan::new(&recording, &kinds(&chain), None, &[threshold]).unwrap();
        prop_assert_eq!(plan.replay().unwrap(), brute_force(&recording, &chain, threshold));
    }
}

#[test]
fn a_retest_is_cached_if_its_own_checkpoint_has_tested_the_items() {
    let chain = [("A", 8), ("B", 4), ("A", 2), (INDIVIDUAL, 1)];
    let recording = made_up(8, &chain, 1);
    // From 0 on every test is positive, so every test is made.
    let replayed =
        RecordedPlan::new(&recording, &kinds(&chain), None, &[0.0]).unwrap().replay().unwrap();
    let counts: Vec<[u64; 3]> =
        replayed.tests.iter().map(|s| [s.first, s.cached, s.uncached]).collect();
    assert_eq!(counts, [[1, 0, 0], [0, 0, 2], [0, 4, 0], [0, 0, 8]]);
    let gmac = |accounting| replayed.tests.iter().map(|s| s.total(accounting)).sum::<f64>();
    assert_eq!(gmac(Accounting::Paper), 108.0 + 2.0 * 4.0 + 4.0 * 2.0 + 8.0);
    assert_eq!(gmac(Accounting::Honest), 108.0 + 2.0 * 104.0 + 4.0 * 2.0 + 8.0 * 101.0);
}

#[test]
fn a_row_has_the_finds_and_the_cost() {
    let chain = [("A", 4), (INDIVIDUAL, 1)];
    let recording = made_up(40, &chain, 3);
    let row = |chain: &[(&str, usize)], thresholds: &[f32]| {
        let plan = RecordedPlan::new(&recording, &kinds(chain), None, thresholds).unwrap();
        ReplayRow::replay(&plan, Accounting::Honest).unwrap()
    };
    let all = row(&chain[1..], &[0.0]);
    assert_eq!(
        (all.algorithm, all.design, all.plan.as_str()),
        (Algorithm::Individual, None, INDIVIDUAL)
    );
    assert_eq!((all.summary.recall(), all.summary.fpr(), all.summary.relative()), (1.0, 1.0, 1.0));
    let positives = recording.items().iter().filter(|item| item.positive).count() as u64;
    assert_eq!((all.summary.positives, all.summary.negatives), (positives, 40 - positives));
    // One threshold per size: no group reaches the second test.
    let none = row(&chain, &[1.0, 0.0]);
    assert_eq!(
        (none.algorithm, none.design.as_deref(), none.plan.as_str()),
        (Algorithm::TwoRound, Some("A"), "A 4 > 1")
    );
    assert_eq!((none.summary.found, none.summary.false_flags, none.summary.tests), (0, 0, 10));
    assert_eq!((none.summary.tmac(), none.summary.individual_gmac), (1.04, 4040.0));
}

#[test]
fn plans_are_named_with_their_designs() {
    let all = [("D3", 8), ("D3", 4), ("D2", 2), (INDIVIDUAL, 1), ("D3", 1)];
    let recording = made_up(8, &all, 1);
    let named = |chain: &str, design| {
        let kinds: Vec<ScoreSource> = chain.split(',').map(|kind| kind.parse().unwrap()).collect();
        RecordedPlan::new(&recording, &kinds, design, &[0.5])
            .map(|plan| plan.to_string())
            .map_err(|e| e.to_string())
    };
    assert_eq!(named("8,4,1", Some("d3")).unwrap(), "D3 8 > 4 > 1");
    assert_eq!(named("8,d2:2,d3:1", Some("d3")).unwrap(), "D3 8 > D2 2 > D3 1");
    assert_eq!(named("1", None).unwrap(), INDIVIDUAL);
    assert!(named("8,1", None).unwrap_err().contains("tests of 8"));
    assert!(named("8,2,1", Some("d3")).unwrap_err().contains("no scores d3:2"));
    assert!(named("4,8,1", Some("d3")).unwrap_err().contains("must fall"));
    assert!(named("8,4", Some("d3")).unwrap_err().contains("end in 1"));
    let two = RecordedPlan::new(&recording, &kinds(&all[..4]), None, &[0.5, 0.5]).err().unwrap();
    assert!(two.to_string().contains("4 sizes need one threshold or 4, not 2"));
}

#[test]
fn a_test_that_is_not_a_recorded_group_is_an_error() {
    let chain = [("A", 6), ("A", 4), (INDIVIDUAL, 1)];
    let recording = made_up(12, &chain, 1);
    let error = RecordedPlan::new(&recording, &kinds(&chain), None, &[0.0])
        .unwrap()
        .replay()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(
            "the plan A 6 > 4 > 1 requests in round 2 a test of 2 items between positions 4 and 5"
        ),
        "{error}"
    );
}

#[test]
fn sources_of_scores_are_sizes_with_or_without_a_design() {
    assert_eq!("16".parse(), Ok(ScoreSource { design: None, size: 16 }));
    assert_eq!("d2:4".parse(), Ok(ScoreSource { design: Some("d2".to_owned()), size: 4 }));
    assert!(
        "d2:four"
            .parse::<ScoreSource>()
            .unwrap_err()
            .to_string()
            .contains("`four` is not a group size")
    );
}
