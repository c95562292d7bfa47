//! The images by kind, class and source.

use std::collections::BTreeMap;

use crate::labelled::LabelledImages;

/// The images that could be decoded, by kind, class and source. Images are given by their numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Split {
    /// Images of positive classes.
    pub positives: Vec<usize>,
    /// All other images.
    pub negatives: Vec<usize>,
    /// By class, positive classes first.
    pub classes: Vec<Class>,
    /// By source. Empty if the data has no sources.
    pub sources: Vec<Source>,
}

/// A class.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Class {
    /// Its name.
    pub name: String,
    /// Whether it is positive.
    pub positive: bool,
    /// Its images.
    pub images: Vec<usize>,
}

/// A source.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    /// Its name.
    pub name: String,
    /// Its positives.
    pub positives: Vec<usize>,
    /// Its negatives.
    pub negatives: Vec<usize>,
}

impl Split {
    /// The images for which `decoded` holds.
    pub fn new(images: &LabelledImages, decoded: impl Fn(usize) -> bool) -> Self {
        let mut split = Self::default();
        let mut classes: BTreeMap<(bool, &str), Vec<usize>> = BTreeMap::new();
        let mut sources: BTreeMap<&str, [Vec<usize>; 2]> = BTreeMap::new();
        for (i, image) in images.images.iter().enumerate().filter(|(i, _)| decoded(*i)) {
            let positive = images.positive[i];
            if positive { &mut split.positives } else { &mut split.negatives }.push(i);
            classes.entry((!positive, &image.class)).or_default().push(i);
            if let Some(source) = &image.source {
                sources.entry(source).or_default()[usize::from(!positive)].push(i);
            }
        }
        let class = |((negative, name), images): ((bool, &str), Vec<usize>)| Class {
            name: name.into(),
            positive: !negative,
            images,
        };
        split.classes = classes.into_iter().map(class).collect();
        let source = |(name, [positives, negatives]): (&str, [Vec<usize>; 2])| Source {
            name: name.into(),
            positives,
            negatives,
        };
        split.sources = sources.into_iter().map(source).collect();
        split
    }
}
