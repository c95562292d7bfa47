//! The planner on made-up calibrations.

use super::*;
use crate::calibration::{ArityPoints, JointExit, JointRow};
use crate::engine::NetworkPart;

const CONSTRAINTS: PlanConstraints = PlanConstraints {
    individual_sensitivity: 0.99,
    recall_loss: 0.005,
    recall_price: 0.0,
    largest: 64,
    rounds: 6,
};

fn points(worse: f64) -> OperatingPoints {
    let entry = |arity: usize| {
        let points = [0.9, 0.98, 0.99, 0.995, 0.999].iter().enumerate();
        let specificity =
            |i: usize| (1.0 - worse * 0.002 * (arity as f64).sqrt() * 2f64.powi(i as i32)).max(0.0);
        ArityPoints {
            arity,
            points: points
                .map(|(i, &sensitivity)| OperatingPoint {
                    sensitivity,
                    specificity: specificity(i),
                })
                .collect(),
        }
    };
    OperatingPoints::new([1, 2, 3, 4, 6, 8, 12, 16, 32].map(entry).into()).unwrap()
}

/// Joint scores of an exit of stage 0 that clears `cleared` of 100 negatives at both operating
/// points. Of 1,000 positives it loses 5 at the first, and none at the second.
fn joint(cleared: usize) -> JointScores {
    let exit = JointExit { part: NetworkPart::Stage(0), sensitivities: vec![0.995, 1.0] };
    let row = |positive, first| JointRow {
        positive,
        exits: vec![first],
        individual: Some(if positive { 0 } else { 9 }),
    };
    let positives = (0..1000).map(|i| row(true, u8::from(i < 5)));
    let negatives = (0..100).map(|i| row(false, if i < cleared { 2 } else { 0 }));
    let sensitivities = vec![0.9, 0.98, 0.99, 0.995, 0.999];
    JointScores::new(vec![exit], sensitivities, positives.chain(negatives)).unwrap()
}

#[test]
fn the_planner_uses_exits_and_pooling_where_each_pays() {
    let kind = |worse: f64, cleared, p| {
        let planner = planner(worse, CONSTRAINTS).with_exits(joint(cleared), vec![]).unwrap();
        let plan = planner.best(p);
        for kind in [PlanKind::Individual, PlanKind::Pooled, PlanKind::Exits, PlanKind::Both] {
            let other = planner.best_of_kind(kind, p).unwrap().expected.cost;
            assert!(plan.expected.cost <= other + 1e-12, "{kind:?}: {other} {plan:?}");
        }
        assert!(plan.expected.recall >= planner.least_recall(), "{plan:?}");
        plan.kind()
    };
    assert_eq!(kind(200.0, 90, 0.001), PlanKind::Exits, "pooling does not work");
    assert_eq!(kind(1.0, 0, 0.001), PlanKind::Pooled, "the exit clears nothing");
    assert_eq!(kind(1.0, 60, 0.001), PlanKind::Both);
    assert_eq!(kind(200.0, 0, 0.001), PlanKind::Individual);
}

#[test]
fn an_exit_clears_what_the_joint_scores_say() {
    let planner = planner(200.0, CONSTRAINTS).with_exits(joint(90), vec![]).unwrap();
    let plan = planner.best(0.0);
    assert_eq!(plan.describe(), "exit 0 > individual");
    let exit = plan.expected.exits[0];
    assert!((exit.scored - 1.0).abs() < 1e-12 && (exit.cleared - 0.9).abs() < 1e-12);
    assert!((plan.expected.cost - (0.1 + 0.1 * 0.9)).abs() < 1e-12);
    // One in 1,001 is expected to be lost where none of 1,000 was.
    assert!((plan.expected.recall - 0.99 * 1000.0 / 1001.0).abs() < 1e-12);
    assert_eq!(planner.cascade(0.0).unwrap().exits, plan.exits);
    assert_eq!(planner.expected(&plan, 0.0), plan.expected);
}

#[test]
fn fixed_exits_are_used_whatever_they_cost() {
    let planner = planner(1.0, CONSTRAINTS).with_exits(joint(0), vec![]).unwrap();
    assert_eq!(planner.best(0.001).kind(), PlanKind::Pooled);
    let exit = ExitLink { part: NetworkPart::Stage(0), sensitivity: 1.0 };
    let plan = planner.with_fixed_exits(&[exit]).best(0.001);
    assert_eq!((plan.kind(), plan.exits), (PlanKind::Both, vec![exit]));
}

#[test]
fn tests_behind_an_exit_have_the_operating_points_of_what_passes() {
    let passed = |negatives: f64, worse: f64| PassedPoints {
        exit_sensitivity: 1.0 - negatives,
        negatives,
        points: points(worse),
    };
    let best = |at_forty: f64| {
        let passed = vec![passed(0.4, at_forty), passed(0.9, 1.0)];
        let planner = planner(1.0, CONSTRAINTS).with_exits(joint(60), passed).unwrap();
        planner.best_of_kind(PlanKind::Both, 0.001).unwrap()
    };
    let (easy, hard) = (best(1.0), best(200.0));
    assert_eq!((easy.kind(), hard.kind()), (PlanKind::Both, PlanKind::Exits));
    assert_eq!(easy.measured_at, Some(0.6));
}

#[test]
fn recall_is_not_given_up_for_a_small_saving() {
    let plan = |recall_price| {
        let constraints = PlanConstraints { recall_loss: 0.05, recall_price, ..CONSTRAINTS };
        planner(1.0, constraints).best(0.001).expected
    };
    let (cheapest, priced) = (plan(0.0), plan(5.0));
    assert!(priced.recall > cheapest.recall && priced.cost > cheapest.cost);
    let lost = priced.recall - cheapest.recall;
    assert!(priced.cost - cheapest.cost <= 5.0 * lost + 1e-12, "{priced:?} {cheapest:?}");
}

fn costs(share: f64) -> StageCosts {
    StageCosts { items: vec![share], last: vec![(1, 1.0 - share)], ..StageCosts::default() }
}

fn planner(worse: f64, constraints: PlanConstraints) -> Planner {
    Planner::new(points(worse), costs(0.1), constraints).unwrap()
}

#[test]
fn chains_divide_and_end_in_one() {
    let mut found = Vec::new();
    extend(&mut vec![12], &[1, 2, 3, 4, 6, 8, 12], 3, &mut found);
    assert_eq!(found.len(), 5, "{found:?}"); // 12>1, and 12>x>1 for 2, 3, 4, 6
    assert!(
        found.iter().all(|c| c.last() == Some(&1)
            && c.len() <= 3
            && c.windows(2).all(|w| w[0] % w[1] == 0))
    );
    let mut two = Vec::new();
    extend(&mut vec![12], &[1, 2, 3, 4, 6, 8, 12], 2, &mut two);
    assert_eq!(two, [[12, 1]]);
}

#[test]
fn rare_positives_are_pooled_and_frequent_ones_are_not() {
    let plan = |p| planner(1.0, CONSTRAINTS).best(p);
    assert!(plan(0.0001).chain[0].size >= 16 && plan(0.0001).expected.cost < 0.25);
    assert!(plan(0.4).is_individual());
    assert!((plan(0.4).expected.cost - 1.0).abs() < 1e-12);
    let costs: Vec<f64> =
        [0.0001, 0.001, 0.01, 0.05, 0.1, 0.2].iter().map(|&p| plan(p).expected.cost).collect();
    assert!(costs.windows(2).all(|w| w[0] <= w[1]), "{costs:?}");
}

#[test]
fn a_network_that_pools_badly_is_not_pooled() {
    let plan = |worse| planner(worse, CONSTRAINTS).best(0.001);
    assert!(!plan(1.0).is_individual() && plan(200.0).is_individual());
}

#[test]
fn recall_is_kept() {
    for p in [0.0001, 0.001, 0.01, 0.1] {
        for loss in [0.0005, 0.002, 0.01, 0.05] {
            let constraints = PlanConstraints { recall_loss: loss, ..CONSTRAINTS };
            let plan = planner(1.0, constraints).best(p);
            assert!(plan.expected.recall >= 0.99 - loss - 1e-8, "{p} {loss}: {plan:?}");
        }
    }
}

#[test]
fn a_sensitivity_that_is_not_calibrated_is_an_error() {
    let constraints = PlanConstraints { individual_sensitivity: 0.9999, ..CONSTRAINTS };
    let error = Planner::new(points(1.0), costs(0.1), constraints).unwrap_err();
    assert_eq!(error, CalibrationError::Sensitivity { arity: 1, sensitivity: 0.9999 });
}

/// The labels of an exit may have no sensitivity in common. The other exits are used nevertheless.
#[test]
fn an_exit_without_operating_points_is_not_used() {
    let stage =
        |number, sensitivities| JointExit { part: NetworkPart::Stage(number), sensitivities };
    let exits = vec![stage(0, vec![]), stage(1, vec![1.0])];
    let row = |positive, second| JointRow {
        positive,
        exits: vec![0, second],
        individual: Some(if positive { 0 } else { 9 }),
    };
    let rows =
        (0..1000).map(|_| row(true, 0)).chain((0..100).map(|i| row(false, u8::from(i < 90))));
    let joint = JointScores::new(exits, vec![0.9, 0.98, 0.99, 0.995, 0.999], rows).unwrap();
    let costs = StageCosts { items: vec![0.1, 0.1], last: vec![(1, 0.8)], ..StageCosts::default() };
    let planner = Planner::new(points(200.0), costs, CONSTRAINTS).unwrap();
    let plan = planner.with_exits(joint, vec![]).unwrap().best(0.001);
    assert_eq!(plan.describe(), "exit 1 > individual");
}
