//! The planner against what was measured, and against every fixed plan.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use dorfman::model::Bundle;
use dorfman::planner::{Coherence, Link, Planner, StageCosts, Wanted, expected};
use dorfman::retest::Answers;
use serde_json::Value;

const PREVALENCES: [f64; 9] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2];

fn bundle(folder: &str) -> Bundle {
    Bundle::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap()
}

/// The shipped bundle; the trained tree of the tests; and the shipped bundle with a first stage that is most of the network.
fn bundles() -> [(Answers, StageCosts); 3] {
    let (shipped, tree) = (bundle("models/fashion-bag"), bundle("tests/data/tree"));
    let dear = StageCosts { item: 0.6, tiers: vec![], score: vec![(1, 0.4)] };
    [
        (shipped.answers().unwrap(), shipped.mac_costs()),
        (tree.answers().unwrap(), tree.mac_costs()),
        (shipped.answers().unwrap(), dear),
    ]
}

/// Every chain of calibrated sizes in which each divides the one before, with one sensitivity for all pooled tests.
fn fixed(answers: &Answers, individual: f64) -> Vec<Vec<Link>> {
    let sizes: Vec<usize> = answers.sizes().iter().map(|s| s.arity).collect();
    let mut found = Vec::new();
    for &size in &sizes {
        extend(&mut vec![size], &sizes, &mut found);
    }
    let sensitivities: Vec<f64> = answers.sizes()[0].points.iter().map(|p| p.sensitivity).collect();
    let link = |size: usize, sensitivity: f64| {
        let wanted = if size == 1 { individual } else { sensitivity };
        answers.at(size, wanted).map(|point| Link { size, point })
    };
    let chains = found.iter().flat_map(|chain| sensitivities.iter().map(move |&s| (chain, s)));
    chains.filter_map(|(chain, s)| chain.iter().map(|&size| link(size, s)).collect()).collect()
}

fn extend(chain: &mut Vec<usize>, sizes: &[usize], found: &mut Vec<Vec<usize>>) {
    let last = chain[chain.len() - 1];
    if last == 1 {
        return found.push(chain.clone());
    }
    if chain.len() == 5 {
        return;
    }
    for &size in sizes.iter().filter(|&&s| s < last && last.is_multiple_of(s)) {
        chain.push(size);
        extend(chain, sizes, found);
        chain.pop();
    }
}

#[test]
fn no_fixed_plan_is_cheaper_by_more_than_a_hundredth() {
    let coherence = Coherence::default();
    for (number, (answers, costs)) in bundles().iter().enumerate() {
        let wanted = Wanted { individual_sensitivity: 0.95, recall_loss: 0.005, largest: 64, rounds: 5 };
        let fixed = fixed(answers, wanted.individual_sensitivity);
        let planner = Planner::new(answers.clone(), costs.clone(), wanted).unwrap();
        assert!(fixed.len() > 20, "{} fixed plans", fixed.len());
        for p in PREVALENCES {
            let alone = [*fixed.iter().find(|chain| chain.len() == 1).unwrap().first().unwrap()];
            let least = expected(&alone, p, coherence, costs).recall - wanted.recall_loss;
            let planned = planner.best(p).expected;
            assert!(planned.recall >= least - 1e-6 && planned.cost <= costs.individual() * (1.0 + 1e-12));
            for chain in &fixed {
                let e = expected(chain, p, coherence, costs);
                let kept = e.recall >= least;
                assert!(!kept || planned.cost <= e.cost * 1.01, "bundle {number}, {p}: {chain:?} costs {e:?}");
            }
        }
    }
}

#[test]
fn where_pooling_does_not_pay_every_image_is_tested_alone() {
    let (answers, costs) = &bundles()[0];
    let wanted = Wanted { individual_sensitivity: 0.99, recall_loss: 0.005, largest: 64, rounds: 5 };
    let planner = Planner::new(answers.clone(), costs.clone(), wanted).unwrap();
    assert!(planner.best(0.45).is_individual());
    assert!(planner.best_of_size(3, 0.45).unwrap().expected.cost > costs.individual());
}

/// Images of the clean groups that `scripts/results.py` has a plan judge.
const JUDGED: f64 = 16384.0;

/// The standard error of a measured cost, as a share of it: n clean groups have n q false alarms and so much more or less by chance, and all
/// that is spent on retests goes with them.
fn chance(chain: &[Link], cost: f64, costs: &StageCosts) -> f64 {
    let size = chain[0].size as f64;
    let (retests, alarms) = (cost - costs.first(chain[0].size) / size, 1.0 - chain[0].point.specificity);
    if chain.len() == 1 { 0.0 } else { retests / cost * ((1.0 - alarms) / alarms * size / JUDGED).sqrt() }
}

/// `dorfman evaluate` on the images that the shipped bundle was calibrated on (docs/results/planning.json, made by `make results`): what its
/// engine spent on each plan is what was expected of it but for chance. Most of that is how many of its clean groups were false alarms.
#[test]
fn what_was_measured_is_what_was_expected() {
    let shipped = bundle("models/fashion-bag");
    let (answers, costs) = (shipped.answers().unwrap(), shipped.mac_costs());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/results/planning.json");
    let measured: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let rows = measured["rows"].as_array().unwrap();
    assert!(rows.iter().filter(|r| r["policy"] != "individual").count() >= 10);
    for row in rows {
        let sizes = row["plan"].as_str().unwrap();
        let sizes: Vec<usize> =
            if sizes == "individual" { vec![1] } else { sizes.split(" > ").map(|s| s.parse().unwrap()).collect() };
        let wanted = |size: usize| {
            row[if size == 1 { "individual_sensitivity" } else { "pooled_sensitivity" }].as_f64().unwrap()
        };
        let link = |&size: &usize| Link { size, point: answers.at(size, wanted(size)).unwrap() };
        let chain: Vec<Link> = sizes.iter().map(link).collect();
        let e = expected(&chain, row["prevalence"].as_f64().unwrap(), Coherence::default(), &costs);
        let (cost, macs) = (e.cost / costs.individual(), row["relative_macs"].as_f64().unwrap());
        assert!(
            (cost / macs - 1.0).abs() < 3.0 * chance(&chain, e.cost, &costs) + 0.002,
            "{}: {cost} expected, {macs} measured",
            row["plan"]
        );
        let recall = &row["recall"];
        assert!(
            recall["low"].as_f64().unwrap() <= e.recall && e.recall <= recall["high"].as_f64().unwrap(),
            "{row}: {e:?}"
        );
    }
}
