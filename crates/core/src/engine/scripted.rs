//! Networks without a runtime, for tests, examples, and measurements of everything except the
//! network.

use super::network::{Level, Network, NetworkPart, NetworkShape, RunError};

/// The shape of a feature network of two stages and one label, without a confirm network.
///
/// Level 0 has `slots` slots. `embed_macs` are the multiply-adds of the first stage per item, and
/// `score_macs` those of the last stage per test. Tests may be padded by repeats.
pub fn single_label_shape(slots: usize, embed_macs: u64, score_macs: u64) -> NetworkShape {
    let levels = vec![Level { fan_in: 1, slots, macs: embed_macs, exit: false }];
    NetworkShape { levels, labels: 1, score_macs, repeats: true, confirm_macs: None }
}

/// The score that a byte of a scripted image stands for: its value in percent, or NaN above 100.
pub fn scripted_score(percent: u8) -> f32 {
    if percent > 100 { f32::NAN } else { f32::from(percent) / 100.0 }
}

/// The image that stands for `scores`, each 0 to 1 and rounded to a percent, or NaN
/// ([`scripted_score`]).
pub fn scripted_image(scores: &[f32]) -> Vec<u8> {
    let byte = |score: &f32| if score.is_nan() { u8::MAX } else { (score * 100.0).round() as u8 };
    scores.iter().map(byte).collect()
}

/// A network of one label whose scores are scripted in the images ([`scripted_image`]): the score
/// of a test is the greatest first score of its members' images, and the confirm network's score is
/// the last score of the image. The score of the early exit of level k is the greatest score k + 1
/// of the members' images, or the first score of an image without this score. The score of an empty
/// image is 0. A test with a NaN score has a NaN score.
///
/// Its methods return no error, except that of a hook. They panic if a slot or level is out of
/// range, or an arity is 0.
pub struct ScriptedNetwork {
    shape: NetworkShape,
    /// By level and slot: the score, and the scores of the exits of all levels.
    levels: Vec<Vec<Vec<f32>>>,
    hook: Box<TestHook>,
}

type TestHook = dyn FnMut(&[i64], usize, &mut [f32]) -> Result<(), RunError> + Send;

impl ScriptedNetwork {
    /// A network with any number of levels. Its [`NetworkShape::labels`] must be 1. The confirm
    /// network fails where [`NetworkShape::confirm_macs`] is `None`.
    pub fn new(shape: NetworkShape) -> Self {
        let unset = vec![f32::NAN; shape.levels.len() + 1];
        let levels = shape.levels.iter().map(|level| vec![unset.clone(); level.slots]).collect();
        Self { shape, levels, hook: Box::new(|_, _, _| Ok(())) }
    }

    /// Calls `hook(members, arity, scores)` in every run of the last stage, such as to wait, to
    /// change the scores, or to fail the run. `members` is as in [`Network::score`], and `scores`
    /// are those of the run: `[members / arity]`.
    pub fn with_test_hook(
        mut self,
        hook: impl FnMut(&[i64], usize, &mut [f32]) -> Result<(), RunError> + Send + 'static,
    ) -> Self {
        self.hook = Box::new(hook);
        self
    }

    /// The greatest values of the members' slots, each NaN if a member's is.
    fn greatest(&self, level: usize, members: &[i64]) -> Vec<f32> {
        let slots = &self.levels[level];
        let nan_or_max =
            |a: f32, b: f32| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) };
        let least = vec![f32::NEG_INFINITY; self.shape.levels.len() + 1];
        let fold = |all: Vec<f32>, &slot: &i64| {
            all.iter().zip(&slots[slot as usize]).map(|(&a, &b)| nan_or_max(a, b)).collect()
        };
        members.iter().fold(least, fold)
    }

    fn keep(&mut self, level: usize, slot: usize, values: Vec<f32>, exits: &mut Vec<f32>) {
        if self.shape.levels[level].exit {
            exits.push(values[level + 1]);
        }
        self.levels[level][slot] = values;
    }
}

impl Network for ScriptedNetwork {
    fn shape(&self) -> &NetworkShape {
        &self.shape
    }

    fn embed(
        &mut self,
        images: &[&[u8]],
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        for (i, image) in images.iter().enumerate() {
            let score = image.first().map_or(0.0, |&byte| scripted_score(byte));
            let value = |at: usize| image.get(at).map_or(score, |&byte| scripted_score(byte));
            let values = (0..=self.shape.levels.len()).map(value).collect();
            self.keep(0, first + i, values, exits);
        }
        Ok(())
    }

    fn merge(
        &mut self,
        level: usize,
        members: &[i64],
        arity: usize,
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        for (i, merged) in members.chunks(arity).enumerate() {
            let values = self.greatest(level - 1, merged);
            self.keep(level, first + i, values, exits);
        }
        Ok(())
    }

    fn score(
        &mut self,
        members: &[i64],
        arity: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let (top, before) = (self.shape.top(), scores.len());
        scores.extend(members.chunks(arity).map(|test| self.greatest(top, test)[0]));
        (self.hook)(members, arity, &mut scores[before..])
    }

    fn confirm(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        if self.shape.confirm_macs.is_none() {
            let message = "the network has no confirm network".into();
            return Err(RunError { part: NetworkPart::Confirm, message });
        }
        scores.extend(
            images.iter().map(|image| image.last().map_or(0.0, |&byte| scripted_score(byte))),
        );
        Ok(())
    }
}

/// A network that computes nothing: all scores are 0, with any number of labels. Its methods return
/// no error. [`Network::merge`] and [`Network::score`] panic if the arity is 0.
#[derive(Debug)]
pub struct NullNetwork {
    shape: NetworkShape,
}

impl NullNetwork {
    /// A null network of the given shape.
    pub fn new(shape: NetworkShape) -> Self {
        Self { shape }
    }

    fn exit(&self, level: usize, rows: usize, exits: &mut Vec<f32>) {
        if self.shape.levels[level].exit {
            exits.resize(exits.len() + rows * self.shape.labels, 0.0);
        }
    }
}

impl Network for NullNetwork {
    fn shape(&self) -> &NetworkShape {
        &self.shape
    }

    fn embed(
        &mut self,
        images: &[&[u8]],
        _first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        self.exit(0, images.len(), exits);
        Ok(())
    }

    fn merge(
        &mut self,
        level: usize,
        members: &[i64],
        arity: usize,
        _first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        self.exit(level, members.len() / arity, exits);
        Ok(())
    }

    fn score(
        &mut self,
        members: &[i64],
        arity: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        scores.resize(scores.len() + members.len() / arity * self.shape.labels, 0.0);
        Ok(())
    }

    fn confirm(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        scores.resize(scores.len() + images.len() * self.shape.labels, 0.0);
        Ok(())
    }
}
