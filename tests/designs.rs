//! Trained networks of every design. The engine merges pixels, features, pairs and sets of four, by
//! mean, maximum or class activation maps, as each bundle defines. Its scores of the images in
//! `tests/data/agreement` agree with the scores of the training code in `scores.json`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod expected;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dorfman::config::decode::DecodeConfig;
use dorfman_core::calibration::Thresholds;
use dorfman_core::engine::{BandPlan, BatchSettings, Driver, Engine, ItemVerdict, Verdict};
use dorfman_core::policy::{Individual, MultiRound, Plan};
use dorfman_model::cpu::SystemClock;
use dorfman_model::decode::Preprocessor;
use dorfman_model::{Bundle, OnnxNetwork, Runtime, Target};
use expected::{Expected, ExpectedGroup};

/// The largest difference of two scores.
const CLOSE: f32 = 1e-4;
/// The largest difference for photos. The resize rounds some of the 76,800 values of a photo
/// differently than Pillow.
const CLOSE_FOR_PHOTOS: f32 = 1e-3;
/// The largest difference for a bundle that was converted to float16.
const CLOSE_IN_HALF: f32 = 2e-3;
/// A threshold between the scores of images with and without a bag, alone and in groups.
const BETWEEN: f32 = 0.5;

/// For each bundle: its folder, the folder of its expected scores, the largest difference, and the
/// fan-in of each stage (`None`: all slots of the test).
const DESIGNS: [(&str, &str, f32, &[Option<usize>]); 7] = [
    ("tests/data/pixel", "tests/data/pixel", CLOSE, &[None]),
    ("tests/data/pixel-uint8", "tests/data/pixel", CLOSE, &[None]),
    ("models/shoes", "tests/data/shoes", CLOSE_FOR_PHOTOS, &[None, None]),
    ("tests/data/tree", "tests/data/tree", CLOSE, &[None, Some(2), None]),
    ("tests/data/half", "tests/data/tree", CLOSE_IN_HALF, &[None, Some(2), None]),
    ("tests/data/tree3", "tests/data/tree3", CLOSE, &[None, Some(2), Some(2), None]),
    ("tests/data/map", "tests/data/map", CLOSE, &[None, Some(2), None]),
];

fn path(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn expected(folder: &str) -> Expected {
    Expected::read(&path(folder))
}

struct Design {
    bundle: Bundle,
    runtime: Runtime,
    preprocessor: Preprocessor,
}

impl Design {
    fn open(folder: &str) -> Self {
        let bundle = Bundle::open(&path(folder)).unwrap();
        let runtime = Runtime::load(None, 2).unwrap();
        let preprocessor =
            Preprocessor::new(&bundle.manifest.input, DecodeConfig::default().max_pixels);
        Self { bundle, runtime, preprocessor }
    }

    /// Offers the files in order, and returns their verdicts.
    fn test(
        &self,
        files: &[String],
        plan: Box<dyn Plan>,
        threshold: f32,
    ) -> Vec<ItemVerdict<String>> {
        let network =
            OnnxNetwork::new(&self.bundle, &self.runtime, &Target::default(), 64).unwrap();
        let max_wait = Duration::from_secs(60);
        let settings =
            BatchSettings { max_batch: 8, preferred_batch: 8, buckets: vec![], max_wait };
        let plan = BandPlan::new(plan, Thresholds::constant(threshold));
        let mut driver = Driver::new(Engine::new(network, SystemClock, plan, settings));
        for file in files {
            let bytes = std::fs::read(path("tests/data/agreement").join(file)).unwrap();
            driver.offer(self.preprocessor.pixels(&bytes).unwrap(), file.clone());
        }
        driver.close();
        let mut verdicts = Vec::new();
        driver.run_to_end(|verdict| verdicts.push(verdict)).unwrap();
        verdicts
    }
}

#[test]
fn the_bundles_have_every_design() {
    for (bundle, .., fans) in DESIGNS {
        let found: Vec<_> =
            Design::open(bundle).bundle.manifest.stages.iter().map(|stage| stage.fan_in).collect();
        assert_eq!(found, fans, "{bundle}");
    }
}

#[test]
fn scores_of_single_images_agree_with_training() {
    for (bundle, scores, close, _) in DESIGNS {
        let all = expected(scores);
        let files: Vec<String> = all.files.iter().map(|f| f.file.clone()).collect();
        let expected: HashMap<&str, f32> = all.files.iter().map(|f| (&*f.file, f.score)).collect();
        let verdicts = Design::open(bundle).test(&files, Box::new(Individual), 2.0);
        assert_eq!(verdicts.len(), files.len());
        for item in verdicts {
            let score = expected[&*item.payload];
            assert!(
                (item.score - score).abs() < close,
                "{bundle}, {}: {}, in training {score}",
                item.payload,
                item.score
            );
        }
    }
}

#[test]
fn scores_of_groups_agree_with_training_also_for_odd_sizes() {
    for (bundle, scores, close, _) in DESIGNS {
        let design = Design::open(bundle);
        let groups = expected(scores).groups;
        assert!(groups.iter().any(|g| g.members.len() % 2 == 1));
        for ExpectedGroup { members, score } in groups {
            // No score reaches this threshold, so the score is that of the whole group.
            let verdicts = design.test(&members, Box::new(MultiRound::new(&[16, 1]).unwrap()), 2.0);
            assert_eq!(verdicts.len(), members.len());
            for item in verdicts {
                assert_eq!(
                    (item.verdict, usize::from(item.arity)),
                    (Verdict::Cleared, members.len())
                );
                let size = members.len();
                assert!(
                    (item.score - score).abs() < close,
                    "{bundle}, {size}: {}, in training {score}",
                    item.score
                );
            }
        }
    }
}

#[test]
fn retests_find_the_positives_of_a_group() {
    let expected = expected("tests/data/tree");
    let clothes = expected.files.iter().filter(|f| f.file.ends_with(".png"));
    let files: Vec<String> = clothes.map(|f| f.file.clone()).collect();
    for chain in [&[16, 1][..], &[16, 4, 1], &[16, 4, 2, 1], &[3, 1]] {
        let verdicts = Design::open("tests/data/tree").test(
            &files,
            Box::new(MultiRound::new(chain).unwrap()),
            BETWEEN,
        );
        let mut flagged: Vec<(&str, f32)> = vec![];
        for item in &verdicts {
            if let Verdict::Flagged(labels) = &item.verdict {
                flagged.push((&item.payload, labels[0].1));
            }
        }
        flagged.sort_by(|a, b| a.0.cmp(b.0));
        let bags: Vec<_> = expected.files.iter().filter(|f| f.file.starts_with("bag-")).collect();
        assert_eq!(flagged.len(), bags.len(), "{chain:?}: {flagged:?}");
        for (bag, (file, score)) in bags.iter().zip(flagged) {
            assert_eq!(bag.file, file);
            assert!(
                (bag.score - score).abs() < CLOSE,
                "{chain:?}, {file}: {score}, in training {}",
                bag.score
            );
        }
    }
}
