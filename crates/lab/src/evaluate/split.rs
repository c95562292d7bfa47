//! Which images are on which side, of which class and from which source.

use std::collections::BTreeMap;

use super::super::labelled::Labelled;

/// The images that could be decoded, by what they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Split {
    /// Images to be found.
    pub(super) positives: Vec<usize>,
    /// All others.
    pub(super) negatives: Vec<usize>,
    /// By class, the positive ones first.
    pub(super) classes: Vec<Class>,
    /// By source; empty where the data names none.
    pub(super) sources: Vec<Source>,
}

/// A class.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Class {
    /// Its name.
    pub(super) name: String,
    /// Whether it is to be found.
    pub(super) positive: bool,
    /// Its images.
    pub(super) images: Vec<usize>,
}

/// A source.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    /// Its name.
    pub(super) name: String,
    /// Its positives.
    pub(super) positives: Vec<usize>,
    /// Its negatives.
    pub(super) negatives: Vec<usize>,
}

impl Split {
    /// The images for which `has` holds.
    pub(super) fn new(set: &Labelled, has: impl Fn(usize) -> bool) -> Self {
        let mut split = Self::default();
        let mut classes: BTreeMap<(bool, &str), Vec<usize>> = BTreeMap::new();
        let mut sources: BTreeMap<&str, [Vec<usize>; 2]> = BTreeMap::new();
        for (i, image) in set.images.iter().enumerate().filter(|(i, _)| has(*i)) {
            let positive = set.positive[i];
            if positive {
                split.positives.push(i)
            } else {
                split.negatives.push(i)
            }
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
