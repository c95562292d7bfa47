//! Networks without a runtime: for tests, simulation, and measuring what everything else costs.

use super::network::{Form, Level, Network, RunError};

/// The form of a feature network of two stages and one label, with given costs.
pub fn single_label_form(rows: usize, embed_macs: u64, score_macs: u64) -> Form {
    let levels = vec![Level { fan_in: 1, rows, macs: embed_macs }];
    Form { levels, labels: 1, score_macs, repeats: true, confirm_macs: None }
}

/// Scores are scripted in the images themselves: an image's suspicion is its first value, a test's score its members' greatest,
/// and the confirm network's score of an image is its last value.
#[derive(Debug)]
pub struct ScriptedNetwork {
    form: Form,
    levels: Vec<Vec<f32>>,
}

impl ScriptedNetwork {
    /// A network of one label and any number of levels.
    pub fn new(form: Form) -> Self {
        let levels = form.levels.iter().map(|l| vec![f32::NAN; l.rows]).collect();
        Self { form, levels }
    }

    fn greatest(&self, level: usize, members: &[i64]) -> f32 {
        let rows = &self.levels[level];
        members
            .iter()
            .map(|&row| rows[row as usize])
            .fold(f32::NEG_INFINITY, |a, b| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) })
    }
}

impl Network for ScriptedNetwork {
    fn form(&self) -> &Form {
        &self.form
    }

    fn embed(&mut self, images: &[&[f32]], first: usize) -> Result<(), RunError> {
        for (row, image) in self.levels[0][first..].iter_mut().zip(images) {
            *row = image.first().copied().unwrap_or(0.0);
        }
        Ok(())
    }

    fn merge(&mut self, level: usize, members: &[i64], arity: usize, first: usize) -> Result<(), RunError> {
        for (i, node) in members.chunks(arity).enumerate() {
            self.levels[level][first + i] = self.greatest(level - 1, node);
        }
        Ok(())
    }

    fn score(&mut self, members: &[i64], arity: usize, scores: &mut Vec<f32>) -> Result<(), RunError> {
        scores.extend(members.chunks(arity).map(|test| self.greatest(self.form.top(), test)));
        Ok(())
    }

    fn confirm(&mut self, images: &[&[f32]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        scores.extend(images.iter().map(|image| image.last().copied().unwrap_or(0.0)));
        Ok(())
    }
}

/// Computes nothing and clears everything.
#[derive(Debug)]
pub struct NullNetwork {
    form: Form,
}

impl NullNetwork {
    /// A null network of a form.
    pub fn new(form: Form) -> Self {
        Self { form }
    }
}

impl Network for NullNetwork {
    fn form(&self) -> &Form {
        &self.form
    }

    fn embed(&mut self, _images: &[&[f32]], _first: usize) -> Result<(), RunError> {
        Ok(())
    }

    fn merge(&mut self, _level: usize, _members: &[i64], _arity: usize, _first: usize) -> Result<(), RunError> {
        Ok(())
    }

    fn score(&mut self, members: &[i64], arity: usize, scores: &mut Vec<f32>) -> Result<(), RunError> {
        scores.resize(scores.len() + members.len() / arity * self.form.labels, 0.0);
        Ok(())
    }

    fn confirm(&mut self, images: &[&[f32]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        scores.resize(scores.len() + images.len() * self.form.labels, 0.0);
        Ok(())
    }
}
