//! Networks without a runtime, for tests, examples, and measurements of everything except the
//! network.

use super::network::{Level, Network, NetworkPart, NetworkShape, RunError};

/// The shape of a feature network of two stages and one label, without a confirm network.
///
/// Level 0 has `slots` slots. `embed_macs` are the multiply-adds of the first stage per item, and
/// `score_macs` those of the last stage per test. Tests may be padded by repeats.
pub fn single_label_shape(slots: usize, embed_macs: u64, score_macs: u64) -> NetworkShape {
    let levels = vec![Level { fan_in: 1, slots, macs: embed_macs }];
    NetworkShape { levels, labels: 1, score_macs, repeats: true, confirm_macs: None }
}

/// A network of one label whose scores are scripted in the images: the score of a test is the
/// greatest first value of its members' images, and the confirm network's score is the last value
/// of the image. The value of an empty image is 0. A test with a NaN value has a NaN score.
///
/// Its methods return no error. They panic if a slot or level is out of range, or an arity is 0.
#[derive(Debug)]
pub struct ScriptedNetwork {
    shape: NetworkShape,
    levels: Vec<Vec<f32>>,
}

impl ScriptedNetwork {
    /// A network with any number of levels. Its [`NetworkShape::labels`] must be 1. The confirm
    /// network fails where [`NetworkShape::confirm_macs`] is `None`.
    pub fn new(shape: NetworkShape) -> Self {
        let levels = shape.levels.iter().map(|level| vec![f32::NAN; level.slots]).collect();
        Self { shape, levels }
    }

    fn greatest(&self, level: usize, members: &[i64]) -> f32 {
        let slots = &self.levels[level];
        let nan_or_max =
            |a: f32, b: f32| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) };
        members.iter().map(|&slot| slots[slot as usize]).fold(f32::NEG_INFINITY, nan_or_max)
    }
}

impl Network for ScriptedNetwork {
    fn shape(&self) -> &NetworkShape {
        &self.shape
    }

    fn embed(&mut self, images: &[&[f32]], first: usize) -> Result<(), RunError> {
        for (slot, image) in self.levels[0][first..].iter_mut().zip(images) {
            *slot = image.first().copied().unwrap_or(0.0);
        }
        Ok(())
    }

    fn merge(
        &mut self,
        level: usize,
        members: &[i64],
        arity: usize,
        first: usize,
    ) -> Result<(), RunError> {
        for (i, merged) in members.chunks(arity).enumerate() {
            self.levels[level][first + i] = self.greatest(level - 1, merged);
        }
        Ok(())
    }

    fn score(
        &mut self,
        members: &[i64],
        arity: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        scores.extend(members.chunks(arity).map(|test| self.greatest(self.shape.top(), test)));
        Ok(())
    }

    fn confirm(&mut self, images: &[&[f32]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        if self.shape.confirm_macs.is_none() {
            let message = "there is no confirm network".into();
            return Err(RunError { part: NetworkPart::Confirm, message });
        }
        scores.extend(images.iter().map(|image| image.last().copied().unwrap_or(0.0)));
        Ok(())
    }
}

/// A network that computes nothing: all scores are 0, with any number of labels. Its methods return
/// no error. [`Network::score`] panics if the arity is 0.
#[derive(Debug)]
pub struct NullNetwork {
    shape: NetworkShape,
}

impl NullNetwork {
    /// A null network of the given shape.
    pub fn new(shape: NetworkShape) -> Self {
        Self { shape }
    }
}

impl Network for NullNetwork {
    fn shape(&self) -> &NetworkShape {
        &self.shape
    }

    fn embed(&mut self, _images: &[&[f32]], _first: usize) -> Result<(), RunError> {
        Ok(())
    }

    fn merge(
        &mut self,
        _level: usize,
        _members: &[i64],
        _arity: usize,
        _first: usize,
    ) -> Result<(), RunError> {
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

    fn confirm(&mut self, images: &[&[f32]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        scores.resize(scores.len() + images.len() * self.shape.labels, 0.0);
        Ok(())
    }
}
