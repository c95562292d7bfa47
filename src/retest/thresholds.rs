//! From scores to outcomes: a threshold for each positive label and each arity.

use super::{MAX_GROUP, Outcome};

/// Thresholds by arity and label, and which columns of the scores are labels to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    columns: Vec<usize>,
    by_arity: Vec<Vec<f32>>,
}

impl Thresholds {
    /// `columns[i]` is the score column of positive label `i`; `threshold(arity, i)` is asked once for every arity from 1 to
    /// [`MAX_GROUP`] and every label.
    pub fn new(columns: Vec<usize>, threshold: impl Fn(usize, usize) -> f32) -> Self {
        let by_arity = (1..=MAX_GROUP).map(|arity| (0..columns.len()).map(|label| threshold(arity, label)).collect());
        Self { by_arity: by_arity.collect(), columns }
    }

    /// One label in column 0, the same threshold at every arity.
    pub fn constant(threshold: f32) -> Self {
        Self::new(vec![0], |_, _| threshold)
    }

    /// The threshold of a positive label at an arity.
    pub fn threshold(&self, arity: usize, label: usize) -> f32 {
        self.by_arity[arity.clamp(1, MAX_GROUP) - 1][label]
    }

    /// What a test of `arity` images says: positive if any label reaches its threshold, or if a score is not a number
    /// (a pool that can't be read is looked into, not cleared). The score is that of the label furthest above its threshold.
    pub fn outcome(&self, arity: usize, scores: &[f32]) -> Outcome {
        let thresholds = &self.by_arity[arity.clamp(1, MAX_GROUP) - 1];
        let mut best = Outcome { positive: false, score: f32::NAN };
        let mut margin = f32::NEG_INFINITY;
        for (&column, &threshold) in self.columns.iter().zip(thresholds) {
            let score = scores[column];
            if score.is_nan() {
                return Outcome { positive: true, score };
            }
            if score - threshold > margin {
                margin = score - threshold;
                best = Outcome { positive: score >= threshold, score };
            }
        }
        best
    }

    /// The columns whose label passes a test of `arity` images, with their scores.
    pub fn passed(&self, arity: usize, scores: &[f32]) -> Vec<(usize, f32)> {
        let passed = self.columns.iter().zip(&self.by_arity[arity.clamp(1, MAX_GROUP) - 1]);
        passed.filter(|&(&c, &t)| scores[c] >= t).map(|(&c, _)| (c, scores[c])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_label_makes_a_test_positive() {
        let t = Thresholds::new(vec![1, 2], |arity, label| if label == 0 { 0.9 } else { 0.5 / arity as f32 });
        assert!(!t.outcome(1, &[1.0, 0.8, 0.4]).positive);
        assert_eq!(t.outcome(1, &[1.0, 0.8, 0.6]), Outcome { positive: true, score: 0.6 });
        assert!(t.outcome(2, &[1.0, 0.8, 0.4]).positive);
        assert_eq!(t.passed(1, &[1.0, 0.95, 0.6]), vec![(1, 0.95), (2, 0.6)]);
        assert_eq!(t.passed(2, &[1.0, 0.8, 0.3]), vec![(2, 0.3)]);
    }

    #[test]
    fn the_threshold_itself_is_positive() {
        assert!(Thresholds::constant(0.5).outcome(4, &[0.5]).positive);
    }

    #[test]
    fn a_score_that_is_no_number_is_looked_into() {
        let outcome = Thresholds::constant(0.5).outcome(4, &[f32::NAN]);
        assert!(outcome.positive && outcome.score.is_nan());
    }
}
