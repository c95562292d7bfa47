//! Pixels and scores agree with those of the training code, for single images and for groups.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod expected;

use std::path::{Path, PathBuf};

use dorfman::config::decode::DecodeConfig;
use dorfman_core::engine::Network;
use dorfman_model::decode::Preprocessor;
use dorfman_model::{Bundle, OnnxNetwork, Runtime, Target};
use expected::{Expected, ExpectedFile};

/// The largest difference of two scores.
const CLOSE: f32 = 1e-4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

struct Setup {
    expected: Expected,
    images: Vec<Vec<u8>>,
    network: OnnxNetwork,
}

fn setup() -> Setup {
    let bundle = Bundle::open(&root().join("models/fashion-bag")).unwrap();
    let runtime = Runtime::load(None, 2).unwrap();
    let network = OnnxNetwork::new(&bundle, &runtime, &Target::default(), 64).unwrap();
    let folder = root().join("tests/data/agreement");
    let expected = Expected::read(&folder);
    let preprocessor =
        Preprocessor::new(&bundle.manifest.input, DecodeConfig::default().max_pixels);
    let pixels = |f: &ExpectedFile| {
        preprocessor.pixels(&std::fs::read(folder.join(&f.file)).unwrap()).unwrap()
    };
    let images = expected.files.iter().map(pixels).collect();
    Setup { expected, images, network }
}

impl Setup {
    /// Computes the features of all images through all item levels, those of image `i` in slot `i`.
    fn embed(&mut self) {
        let images: Vec<&[u8]> = self.images.iter().map(Vec::as_slice).collect();
        self.network.embed(&images, 0, &mut Vec::new()).unwrap();
        let slots: Vec<i64> = (0..images.len() as i64).collect();
        for level in 1..=self.network.shape().item_top() {
            self.network.merge(level, &slots, 1, 0, &mut Vec::new()).unwrap();
        }
    }

    fn score(&mut self, members: &[i64]) -> f32 {
        let mut scores = Vec::new();
        self.network.score(members, members.len(), &mut scores).unwrap();
        scores[0]
    }

    fn slot(&self, file: &str) -> i64 {
        self.expected.files.iter().position(|f| f.file == file).unwrap() as i64
    }
}

#[test]
fn pixels_agree() {
    let s = setup();
    for (f, image) in s.expected.files.iter().zip(&s.images) {
        let sum: f64 = image.iter().map(|&pixel| f64::from(pixel)).sum();
        let mean = sum / image.len() as f64;
        assert!((mean - f.mean).abs() < 0.01, "{}: mean {mean}, in training {}", f.file, f.mean);
    }
}

#[test]
fn scores_of_single_images_agree() {
    let mut s = setup();
    s.embed();
    for slot in 0..s.images.len() {
        let score = s.score(&[slot as i64]);
        let f = &s.expected.files[slot];
        assert!((score - f.score).abs() < CLOSE, "{}: {score}, in training {}", f.file, f.score);
    }
}

#[test]
fn scores_of_groups_agree() {
    let mut s = setup();
    s.embed();
    assert!(!s.expected.groups.is_empty());
    for g in 0..s.expected.groups.len() {
        let members: Vec<i64> = s.expected.groups[g].members.iter().map(|m| s.slot(m)).collect();
        let score = s.score(&members);
        let expected = s.expected.groups[g].score;
        assert!(
            (score - expected).abs() < CLOSE,
            "group {g} of {}: {score}, in training {expected}",
            members.len()
        );
    }
}

#[test]
fn repeating_a_member_does_not_change_the_score() {
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
fn single_images_score_the_same_in_any_batch() {
    let mut s = setup();
    s.embed();
    let alone: Vec<f32> = (0..8).map(|slot| s.score(&[slot])).collect();
    let mut together = Vec::new();
    s.network.score(&(0..8).collect::<Vec<i64>>(), 1, &mut together).unwrap();
    for (slot, (alone, together)) in alone.iter().zip(together).enumerate() {
        assert!((alone - together).abs() < 1e-5, "slot {slot}");
    }
}
