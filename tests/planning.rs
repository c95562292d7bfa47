//! The planner compared with every fixed plan and with measured costs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use dorfman::config::planning::PlanningConfig;
use dorfman::config::retest::RetestConfig;
use dorfman_core::calibration::OperatingPoints;
use dorfman_core::cost::StageCosts;
use dorfman_core::planner::{
    ChainLink, ChainPlan, Coherence, PlanConstraints, PlanKind, Planner, expected,
};
use dorfman_model::Bundle;
use serde_json::Value;

const PREVALENCES: [f64; 9] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2];

fn bundle(folder: &str) -> Bundle {
    Bundle::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap()
}

/// The shipped bundle, the trained tree of the tests, and the shipped bundle with an expensive
/// first stage.
fn bundles() -> [(OperatingPoints, StageCosts); 3] {
    let shipped = bundle("models/fashion-bag");
    let tree = bundle("tests/data/tree");
    let expensive = StageCosts { items: vec![0.6], last: vec![(1, 0.4)], ..StageCosts::default() };
    [
        (shipped.operating_points().unwrap(), shipped.mac_costs()),
        (tree.operating_points().unwrap(), tree.mac_costs()),
        (shipped.operating_points().unwrap(), expensive),
    ]
}

/// Every chain of calibrated sizes in which each size divides the size before it. All pooled tests
/// of a chain have the same sensitivity.
fn fixed(points: &OperatingPoints, individual: f64) -> Vec<Vec<ChainLink>> {
    let sizes: Vec<usize> = points.arities().iter().map(|s| s.arity).collect();
    let mut found = Vec::new();
    for &size in &sizes {
        extend(&mut vec![size], &sizes, &mut found);
    }
    let sensitivities: Vec<f64> =
        points.arities()[0].points.iter().map(|p| p.sensitivity).collect();
    let link = |size: usize, sensitivity: f64| {
        let required = if size == 1 { individual } else { sensitivity };
        points.at(size, required).map(|point| ChainLink { size, point })
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
fn no_fixed_plan_is_cheaper_by_more_than_one_per_cent() {
    let coherence = Coherence::default();
    for (number, (points, costs)) in bundles().iter().enumerate() {
        let constraints = PlanConstraints {
            individual_sensitivity: 0.95,
            recall_loss: 0.005,
            recall_price: 0.0,
            largest: 64,
            rounds: 5,
        };
        let fixed = fixed(points, constraints.individual_sensitivity);
        let planner = Planner::new(points.clone(), costs.clone(), constraints).unwrap();
        assert!(fixed.len() > 20, "{} fixed plans", fixed.len());
        for p in PREVALENCES {
            let alone = [*fixed.iter().find(|chain| chain.len() == 1).unwrap().first().unwrap()];
            let least = expected(&alone, p, coherence, costs).recall - constraints.recall_loss;
            let planned = planner.best(p).expected;
            assert!(
                planned.recall >= least - 1e-6
                    && planned.cost <= costs.individual() * (1.0 + 1e-12)
            );
            for chain in &fixed {
                let e = expected(chain, p, coherence, costs);
                let kept = e.recall >= least;
                assert!(
                    !kept || planned.cost <= e.cost * 1.01,
                    "bundle {number}, {p}: {chain:?} costs {e:?}"
                );
            }
        }
    }
}

#[test]
fn images_are_tested_alone_where_pooling_does_not_pay() {
    let (points, costs) = &bundles()[0];
    let constraints = PlanConstraints {
        individual_sensitivity: 0.99,
        recall_loss: 0.005,
        recall_price: 0.0,
        largest: 64,
        rounds: 5,
    };
    let planner = Planner::new(points.clone(), costs.clone(), constraints).unwrap();
    assert!(planner.best(0.45).is_individual());
    assert!(planner.best_of_size(3, 0.45).unwrap().expected.cost > costs.individual());
}

/// Images in the clean groups of `scripts/results.py`.
const CLEAN_IMAGES: f64 = 16384.0;

/// The relative standard error of a measured cost. Of n clean groups, n q are false alarms, with a
/// binomial deviation. The cost of retests is proportional to the number of false alarms.
fn standard_error(chain: &[ChainLink], cost: f64, costs: &StageCosts) -> f64 {
    let size = chain[0].size as f64;
    let retests = cost - costs.first(chain[0].size) / size;
    let alarms = 1.0 - chain[0].point.specificity;
    if chain.len() == 1 {
        return 0.0;
    }
    retests / cost * ((1.0 - alarms) / alarms * size / CLEAN_IMAGES).sqrt()
}

/// The rows of a set of measurements in docs/results.
fn measurements(set: &str) -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/results/{set}.json"));
    let measured: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    measured["rows"].as_array().unwrap().clone()
}

/// The measured cost of each plan equals its expected cost within the sampling error. Most of the
/// error comes from the number of false alarms among the clean groups. `make results` writes the
/// measured costs to docs/results/planning.json, with `dorfman evaluate` on the calibration images
/// of the shipped bundle.
#[test]
fn measured_costs_are_the_expected_costs() {
    let shipped = bundle("models/fashion-bag");
    let points = shipped.operating_points().unwrap();
    let costs = shipped.mac_costs();
    let rows = measurements("planning");
    assert!(rows.iter().filter(|r| r["policy"] != "individual").count() >= 10);
    for row in &rows {
        let sizes = row["plan"].as_str().unwrap();
        let sizes: Vec<usize> = if sizes == "individual" {
            vec![1]
        } else {
            sizes.split(" > ").map(|s| s.parse().unwrap()).collect()
        };
        let sensitivity = |size: usize| {
            row[if size == 1 { "individual_sensitivity" } else { "pooled_sensitivity" }]
                .as_f64()
                .unwrap()
        };
        let link =
            |&size: &usize| ChainLink { size, point: points.at(size, sensitivity(size)).unwrap() };
        let chain: Vec<ChainLink> = sizes.iter().map(link).collect();
        let e = expected(&chain, row["prevalence"].as_f64().unwrap(), Coherence::default(), &costs);
        let cost = e.cost / costs.individual();
        let macs = row["relative_macs"].as_f64().unwrap();
        assert!(
            (cost / macs - 1.0).abs() < 3.0 * standard_error(&chain, e.cost, &costs) + 0.002,
            "{}: {cost} expected, {macs} measured",
            row["plan"]
        );
        let recall = &row["recall"];
        assert!(
            recall["low"].as_f64().unwrap() <= e.recall
                && e.recall <= recall["high"].as_f64().unwrap(),
            "{row}: {e:?}"
        );
    }
}

/// The planner with the default constraints at the individual sensitivity of the measurements, in
/// multiply-adds.
fn default_planner(folder: &str) -> Planner {
    let (planning, retest) = (PlanningConfig::default(), RetestConfig::default());
    let constraints = PlanConstraints {
        individual_sensitivity: retest.individual_sensitivity,
        recall_loss: planning.recall_loss,
        recall_price: planning.recall_price,
        largest: planning.largest,
        rounds: planning.rounds,
    };
    let bundle = bundle(folder);
    bundle.planner(bundle.mac_costs(), constraints, true).unwrap()
}

/// The planner's plan with a role among the measured plans.
fn of_role(planner: &Planner, role: &str, prevalence: f64) -> ChainPlan {
    let plan = match role {
        "best" => Some(planner.best(prevalence)),
        "pooled" => planner.best_of_kind(PlanKind::Pooled, prevalence),
        "exits" => planner.best_of_kind(PlanKind::Exits, prevalence),
        "cascade" => planner.cascade(prevalence),
        other => panic!("{other}"),
    };
    plan.unwrap()
}

/// The cost of every plan with a screen, exits or pooling is within two percentage points of its
/// expected cost, and the expected recall lies in the interval of the measured recall. `make
/// results` writes the measurements, with `dorfman evaluate --plan best` on the calibration images.
/// The expectations are those of the present bundles.
#[test]
fn measured_costs_and_recalls_of_planned_plans_are_the_expected_ones() {
    for (set, folder) in
        [("planning-bags", "models/fashion-bag"), ("planning-shoes", "models/shoes")]
    {
        let planner = default_planner(folder);
        let rows = measurements(set);
        let planned: Vec<&Value> = rows.iter().filter(|row| row["policy"] == "planner").collect();
        let kinds = |kind: &str| planned.iter().filter(|row| row["plan_kind"] == kind).count();
        assert!(kinds("exits") >= 2 && kinds("pooled") >= 2, "{set}");
        for row in planned {
            let prevalence = row["prevalence"].as_f64().unwrap();
            for role in row["roles"].as_array().unwrap() {
                let plan = of_role(&planner, role.as_str().unwrap(), prevalence);
                let cost = plan.expected.cost / planner.costs().individual();
                let macs = row["relative_macs"].as_f64().unwrap();
                assert_eq!(row["plan"], plan.describe(), "{set}: {role} at {prevalence}");
                assert!((cost - macs).abs() <= 0.02, "{set}: {cost} expected, {row}");
                let end = |name: &str| row["recall"][name].as_f64().unwrap();
                let recall = plan.expected.recall;
                assert!(end("low") <= recall && recall <= end("high"), "{set}: {recall}, {row}");
            }
        }
    }
}
