//! The worker scores an image as the training side does: the same preprocessing, the same network, alone and in groups.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod expected;

use std::path::{Path, PathBuf};

use dorfman::config::decode::DecodeConfig;
use dorfman::decode::Preprocessor;
use dorfman::engine::Network;
use dorfman::model::{Bundle, OnnxNetwork, Provider, Runtime};
use expected::{Expected, ExpectedFile};

/// How far scores may lie apart.
const CLOSE: f32 = 1e-4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

struct Setup {
    expected: Expected,
    images: Vec<Vec<f32>>,
    network: OnnxNetwork,
}

fn setup() -> Setup {
    let bundle = Bundle::open(&root().join("models/fashion-bag")).unwrap();
    let runtime = Runtime::load(None, 2).unwrap();
    let network = OnnxNetwork::new(&bundle, &runtime, Provider::Cpu, 0, 64).unwrap();
    let folder = root().join("tests/data/agreement");
    let expected = Expected::read(&folder);
    let preprocessor = Preprocessor::new(&bundle.manifest.input, &DecodeConfig::default());
    let tensor = |f: &ExpectedFile| preprocessor.tensor(&std::fs::read(folder.join(&f.file)).unwrap()).unwrap();
    let images = expected.files.iter().map(tensor).collect();
    Setup { expected, images, network }
}

impl Setup {
    /// All images' features, image `i` in row `i`.
    fn embed(&mut self) {
        let images: Vec<&[f32]> = self.images.iter().map(Vec::as_slice).collect();
        self.network.embed(&images, 0).unwrap();
    }

    fn score(&mut self, members: &[i64]) -> f32 {
        let mut scores = Vec::new();
        self.network.score(members, members.len(), &mut scores).unwrap();
        scores[0]
    }

    fn row(&self, file: &str) -> i64 {
        self.expected.files.iter().position(|f| f.file == file).unwrap() as i64
    }
}

#[test]
fn tensors_agree() {
    let s = setup();
    for (f, image) in s.expected.files.iter().zip(&s.images) {
        let mean = image.iter().sum::<f32>() / image.len() as f32;
        assert!((mean - f.mean).abs() < 1e-4, "{}: mean {mean}, in training {}", f.file, f.mean);
    }
}

#[test]
fn scores_alone_agree() {
    let mut s = setup();
    s.embed();
    for row in 0..s.images.len() {
        let score = s.score(&[row as i64]);
        let f = &s.expected.files[row];
        assert!((score - f.score).abs() < CLOSE, "{}: {score}, in training {}", f.file, f.score);
    }
}

#[test]
fn scores_of_groups_agree() {
    let mut s = setup();
    s.embed();
    assert!(!s.expected.groups.is_empty());
    for g in 0..s.expected.groups.len() {
        let members: Vec<i64> = s.expected.groups[g].members.iter().map(|m| s.row(m)).collect();
        let score = s.score(&members);
        let wanted = s.expected.groups[g].score;
        assert!((score - wanted).abs() < CLOSE, "group {g} of {}: {score}, in training {wanted}", members.len());
    }
}

#[test]
fn repeating_a_member_changes_nothing() {
    let mut s = setup();
    s.embed();
    for size in 1..=15 {
        let members: Vec<i64> = (0..size).collect();
        let mut padded = members.clone();
        padded.resize(16, size - 1);
        assert!((s.score(&members) - s.score(&padded)).abs() < 1e-6, "size {size}");
    }
}

#[test]
fn any_batch_and_only_the_rows_that_are_named_score_the_same() {
    let mut s = setup();
    s.embed();
    let alone: Vec<f32> = (0..8).map(|row| s.score(&[row])).collect();
    let mut together = Vec::new();
    s.network.score(&(0..8).collect::<Vec<i64>>(), 1, &mut together).unwrap();
    s.network = s.network.with_compaction();
    let mut compact = Vec::new();
    s.network.score(&[7, 6, 5, 4, 3, 2, 1, 0], 1, &mut compact).unwrap();
    compact.reverse();
    for (row, alone) in alone.iter().enumerate() {
        assert!((alone - together[row]).abs() < 1e-5 && (alone - compact[row]).abs() < 1e-5, "row {row}");
    }
}
