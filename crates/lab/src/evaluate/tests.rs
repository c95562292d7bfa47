//! The whole estimate on a network with scripted scores: strata and a plain stream must agree.

use std::time::Duration;

use dorfman_core::calibration::Thresholds;
use dorfman_core::engine::{
    BatchSettings, ScriptedNetwork, Verdict, scripted_image, single_label_shape,
};
use dorfman_core::policy::{MultiRound, Plan};

use super::estimate::{Tally, Weights};
use super::row::{Case, ReportRow, Sensitivities, Stratum, StratumShare};
use super::sampling::GroupSampler;
use super::split::Split;
use super::timing::{TestRules, TimedRunner};

const POSITIVES: usize = 400;
const IMAGES: usize = 3400;
const SIZE: usize = 8;
const PREVALENCE: f64 = 0.02;

/// One positive in ten has a low score. Some negatives make a group positive; a few of them are
/// also positive alone.
fn score(image: usize) -> f32 {
    match image {
        0..POSITIVES if image.is_multiple_of(10) => 0.3,
        0..POSITIVES => 0.9,
        _ if image.is_multiple_of(50) => 0.7,
        _ if image.is_multiple_of(7) => 0.5,
        _ => 0.1,
    }
}

fn split() -> Split {
    Split {
        positives: (0..POSITIVES).collect(),
        negatives: (POSITIVES..IMAGES).collect(),
        ..Split::default()
    }
}

fn plan() -> Box<dyn Plan> {
    Box::new(MultiRound::new(&[SIZE, 2, 1]).unwrap())
}

fn run(images: &[usize], seconds: f64) -> Stratum {
    let mut network = ScriptedNetwork::new(single_label_shape(64, 10, 90));
    let mut individual_network = ScriptedNetwork::new(single_label_shape(64, 10, 90));
    let settings = BatchSettings {
        max_batch: 64,
        preferred_batch: 8,
        buckets: vec![],
        max_wait: Duration::from_secs(1),
    };
    let mut runner = TimedRunner {
        network: &mut network,
        individual_network: &mut individual_network,
        image: &|image| scripted_image(&[score(image)]),
        settings,
        pass_all: Thresholds::constant(f32::NEG_INFINITY),
        reference: (0..IMAGES).collect(),
        seconds,
    };
    let thresholds = Thresholds::new(vec![0], |arity, _| if arity == 1 { 0.6 } else { 0.45 });
    let rules = TestRules { thresholds, confirm: None, exits: Vec::new() };
    let mut stratum = Stratum { tally: Tally::new(IMAGES), ..Stratum::default() };
    runner.warm_up(plan()).unwrap();
    let tally = &mut stratum.tally;
    let on_verdict = &mut |image, verdict| tally.add(image, matches!(verdict, Verdict::Flagged(_)));
    stratum.run = runner.stratum(&|| Ok(plan()), &rules, images, on_verdict).unwrap();
    stratum
}

fn row(parts: &[StratumShare<'_>]) -> ReportRow {
    let case = Case {
        bundle: "scripted".into(),
        design: "feature",
        stages: 2,
        prevalence: PREVALENCE,
        group_size: SIZE,
        policy: "multi-round".into(),
        plan: plan().describe(),
        plan_kind: "pooled",
        roles: Vec::new(),
        prior: None,
        worth: None,
        sensitivities: Sensitivities { pooled: Some(0.9), individual: 0.9, confirm: None },
    };
    ReportRow::new(case, parts, &split(), 100, &Tally::new(IMAGES))
}

#[test]
fn strata_and_a_plain_stream_agree() {
    let split = split();
    let sampler = |seed| GroupSampler::new(SIZE, &split.positives, &split.negatives, seed);
    let (cold, hot) =
        (run(&sampler(1).cold(usize::MAX), 0.0), run(&sampler(2).hot(PREVALENCE, usize::MAX), 0.0));
    let strata = row(&StratumShare::strata(Weights::new(SIZE, PREVALENCE), &cold, &hot));
    let stream = row(&StratumShare::stream(&run(&sampler(3).stream(PREVALENCE, 200_000), 0.0)));
    for (name, a, b) in [("recall", strata.recall, stream.recall), ("fpr", strata.fpr, stream.fpr)]
    {
        let (a, b) = (a, b.value.unwrap());
        assert!(a.low <= b && b <= a.high, "{name}: {a:?}, the stream has {b}");
    }
    assert!((strata.recall.value.unwrap() - 0.9).abs() < 0.01, "{:?}", strata.recall);
    let close = |name: &str, a: f64, b: f64| {
        assert!((a / b - 1.0).abs() < 0.03, "{name}: {a}, the stream has {b}")
    };
    close("tests", strata.tests_per_image, stream.tests_per_image);
    close("MACs", strata.relative_macs, stream.relative_macs);
    assert_eq!(strata.tests_by_round.len(), 3);
    for (round, (&a, &b)) in strata.tests_by_round.iter().zip(&stream.tests_by_round).enumerate() {
        close(&format!("round {}", round + 1), a, b);
    }
}

#[test]
fn repeats_lengthen_the_timing_and_keep_the_counts() {
    let images = GroupSampler::new(SIZE, &split().positives, &split().negatives, 1)
        .hot(PREVALENCE, usize::MAX);
    let (once, longer) = (run(&images, 0.0), run(&images, 0.02));
    assert_eq!(once.tally, longer.tally);
    assert_eq!(
        (once.run.macs, &once.run.tests_by_round),
        (longer.run.macs, &longer.run.tests_by_round)
    );
    assert!(longer.run.grouped.network >= 0.02 && longer.run.reference.network >= 0.02);
    assert!(longer.run.grouped.images > once.run.grouped.images);
    assert_eq!(once.run.grouped.images, images.len() as u64);
}
