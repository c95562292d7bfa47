//! The scores that the training code gives images and groups: `scores.json`, which `make-agreement`
//! writes.

#![allow(dead_code, reason = "each test binary uses a part of this module")]

use std::path::Path;

use serde::Deserialize;

/// Scores of images and of groups.
#[derive(Deserialize)]
pub struct Expected {
    pub files: Vec<ExpectedFile>,
    pub groups: Vec<ExpectedGroup>,
}

/// An image: the mean of its pixels and the score of its individual test.
#[derive(Deserialize)]
pub struct ExpectedFile {
    pub file: String,
    pub mean: f64,
    pub score: f32,
}

/// A group and the score of its test.
#[derive(Deserialize)]
pub struct ExpectedGroup {
    pub members: Vec<String>,
    pub score: f32,
}

impl Expected {
    /// Reads the file in a folder.
    pub fn read(folder: &Path) -> Self {
        serde_json::from_slice(&std::fs::read(folder.join("scores.json")).unwrap()).unwrap()
    }
}
