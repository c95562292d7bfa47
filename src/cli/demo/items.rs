//! The items of the demo's stream.

use std::path::PathBuf;

/// A reference of the stream, with the truth about its image.
#[derive(Debug, Clone)]
pub struct DemoItem {
    /// A unique id: class, number and, if the image is repeated, the number of the repetition.
    pub id: String,
    /// The file of the image.
    pub path: PathBuf,
    /// Whether the image is positive.
    pub positive: bool,
}

/// The images of a data set, as files.
#[derive(Debug, Default)]
pub(super) struct DemoImages {
    pub(super) positives: Vec<DemoItem>,
    pub(super) negatives: Vec<DemoItem>,
}

impl DemoImages {
    pub(super) fn add(&mut self, item: DemoItem) {
        if item.positive { self.positives.push(item) } else { self.negatives.push(item) }
    }
}
