//! What the training side says of images and groups: a `scores.json` that `make-agreement` wrote.

#![allow(dead_code, reason = "each test reads what it needs")]

use std::path::Path;

use serde::Deserialize;

/// Images, and groups of them.
#[derive(Deserialize)]
pub struct Expected {
    pub files: Vec<ExpectedFile>,
    pub groups: Vec<ExpectedGroup>,
}

/// An image: the mean of its tensor, and its score alone.
#[derive(Deserialize)]
pub struct ExpectedFile {
    pub file: String,
    pub mean: f32,
    pub score: f32,
}

/// A group, and the score of its test.
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
