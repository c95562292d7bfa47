//! Networks of every design, trained: the engine merges pixels, features, pairs and fours as their bundles say, and scores the images in
//! `tests/data/agreement` as the training side does. What that says lies in `scores.json`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod expected;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dorfman::config::decode::DecodeConfig;
use dorfman::decode::Preprocessor;
use dorfman::engine::{Engine, Judged, Settings, Verdict};
use dorfman::model::{Bundle, OnnxNetwork, Provider, Runtime};
use dorfman::retest::{Individual, MultiRound, Plan, Thresholds};
use expected::{Expected, ExpectedGroup};

/// How far scores may lie apart.
const CLOSE: f32 = 1e-4;
/// The same for photos: of 76,800 values some round the other way than Pillow's when the image is resized.
const CLOSE_OF_PHOTOS: f32 = 1e-3;
/// A threshold that splits the images into those with a bag and those without, alone and in groups.
const BETWEEN: f32 = 0.5;

/// Bundles, where their scores lie and how close they are, and how many rows each stage merges; none: all that are left.
const DESIGNS: [(&str, &str, f32, &[Option<usize>]); 4] = [
    ("tests/data/pixel", "tests/data/pixel", CLOSE, &[None]),
    ("models/shoes", "tests/data/shoes", CLOSE_OF_PHOTOS, &[None, None]),
    ("tests/data/tree", "tests/data/tree", CLOSE, &[None, Some(2), None]),
    ("tests/data/tree3", "tests/data/tree3", CLOSE, &[None, Some(2), Some(2), None]),
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
        let preprocessor = Preprocessor::new(&bundle.manifest.input, &DecodeConfig::default());
        Self { bundle, runtime, preprocessor }
    }

    /// Judges files, in order, under a plan.
    fn judge(&self, files: &[String], plan: Box<dyn Plan>, threshold: f32) -> Vec<Judged<String>> {
        let network = OnnxNetwork::new(&self.bundle, &self.runtime, Provider::Cpu, 0, 64).unwrap();
        let settings =
            Settings { max_batch: 8, preferred_batch: 8, buckets: vec![], max_wait: Duration::from_millis(1) };
        let mut engine = Engine::new(network, plan, Thresholds::constant(threshold), settings);
        for file in files {
            let bytes = std::fs::read(path("tests/data/agreement").join(file)).unwrap();
            engine.offer(self.preprocessor.tensor(&bytes).unwrap(), file.clone(), Instant::now()).unwrap();
        }
        engine.flush().unwrap();
        while engine.step().unwrap() {}
        engine.judged().collect()
    }
}

#[test]
fn they_are_of_every_design() {
    for (bundle, .., fans) in DESIGNS {
        let found: Vec<_> = Design::open(bundle).bundle.manifest.stages.iter().map(|stage| stage.fan_in).collect();
        assert_eq!(found, fans, "{bundle}");
    }
}

#[test]
fn images_alone_score_as_in_training() {
    for (bundle, scores, close, _) in DESIGNS {
        let expected = expected(scores);
        let files: Vec<String> = expected.files.iter().map(|f| f.file.clone()).collect();
        let wanted: HashMap<&str, f32> = expected.files.iter().map(|f| (&*f.file, f.score)).collect();
        let judged = Design::open(bundle).judge(&files, Box::new(Individual), 2.0);
        assert_eq!(judged.len(), files.len());
        for item in judged {
            let wanted = wanted[&*item.payload];
            assert!((item.score - wanted).abs() < close, "{bundle}, {}: {} for {wanted}", item.payload, item.score);
        }
    }
}

#[test]
fn groups_score_as_in_training_also_where_pairs_do_not_come_out_even() {
    for (bundle, scores, close, _) in DESIGNS {
        let design = Design::open(bundle);
        let groups = expected(scores).groups;
        assert!(groups.iter().any(|g| g.members.len() % 2 == 1));
        for ExpectedGroup { members, score } in groups {
            // A threshold that nothing reaches: the score is that of the whole group.
            let judged = design.judge(&members, Box::new(MultiRound::new(&[16, 1]).unwrap()), 2.0);
            assert_eq!(judged.len(), members.len());
            for item in judged {
                assert_eq!((item.verdict, usize::from(item.arity)), (Verdict::Cleared, members.len()));
                let size = members.len();
                assert!((item.score - score).abs() < close, "{bundle}, {size}: {} for {score}", item.score);
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
        let judged = Design::open("tests/data/tree").judge(&files, Box::new(MultiRound::new(chain).unwrap()), BETWEEN);
        let mut flagged: Vec<(&str, f32)> = vec![];
        for item in &judged {
            if let Verdict::Flagged(labels) = &item.verdict {
                flagged.push((&item.payload, labels[0].1));
            }
        }
        flagged.sort_by(|a, b| a.0.cmp(b.0));
        let bags: Vec<_> = expected.files.iter().filter(|f| f.file.starts_with("bag-")).collect();
        assert_eq!(flagged.len(), bags.len(), "{chain:?}: {flagged:?}");
        for (bag, (file, score)) in bags.iter().zip(flagged) {
            assert_eq!(bag.file, file);
            assert!((bag.score - score).abs() < CLOSE, "{chain:?}, {file}: {score}, in training {}", bag.score);
        }
    }
}
