//! From scores to outcomes: one threshold per positive label and arity (pure).

use crate::policy::{MAX_GROUP, Outcome};

/// Thresholds by arity and label, for the score columns of the positive labels.
///
/// A network gives one score per label, 0 to 1: the *column* of a score is its index among them.
/// Some of the labels are positive; each has a column and, for every arity, a threshold.
///
/// ```
/// use dorfman_core::calibration::Thresholds;
///
/// // The positive label is score column 1; pooled tests have a lower threshold.
/// let thresholds = Thresholds::new(vec![1], |arity, _label| if arity == 1 { 0.9 } else { 0.5 });
/// assert!(thresholds.outcome(16, &[0.2, 0.6]).positive);
/// assert!(!thresholds.outcome(1, &[0.2, 0.6]).positive);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    columns: Vec<usize>,
    by_arity: Vec<Vec<f32>>,
}

impl Thresholds {
    /// Thresholds of the positive labels whose score columns are `columns` (`columns[i]` is that of
    /// positive label `i`). `threshold(arity, i)` is called once for every arity from 1 to
    /// [`MAX_GROUP`] and every positive label, and returns a score, 0 to 1.
    pub fn new(columns: Vec<usize>, threshold: impl Fn(usize, usize) -> f32) -> Self {
        let by_arity = (1..=MAX_GROUP)
            .map(|arity| (0..columns.len()).map(|label| threshold(arity, label)).collect());
        Self { by_arity: by_arity.collect(), columns }
    }

    /// One positive label in column 0, with the same threshold (0 to 1) at every arity.
    pub fn constant(threshold: f32) -> Self {
        Self::new(vec![0], |_, _| threshold)
    }

    /// The threshold, 0 to 1, of positive label `label` (an index into the `columns` of
    /// [`Thresholds::new`]) for tests of `arity` items. An arity outside 1 to [`MAX_GROUP`] is
    /// clamped to this range.
    ///
    /// # Panics
    /// If there is no positive label `label`.
    pub fn threshold(&self, arity: usize, label: usize) -> f32 {
        self.by_arity[arity.clamp(1, MAX_GROUP) - 1][label]
    }

    /// The outcome of a test of `arity` items (clamped to 1 to [`MAX_GROUP`]) with `scores`, one
    /// per column: `[labels]`.
    ///
    /// The test is positive if the score of any positive label is at least its threshold, or if one
    /// of these scores is NaN: a group that cannot be scored is retested, not cleared. The
    /// outcome's score is NaN in the second case. Otherwise it is the score of the positive label
    /// with the greatest difference of score and threshold, which is below 0 for a negative test.
    ///
    /// # Panics
    /// If `scores` lacks the column of a positive label.
    pub fn outcome(&self, arity: usize, scores: &[f32]) -> Outcome {
        let thresholds = &self.by_arity[arity.clamp(1, MAX_GROUP) - 1];
        let mut best = Outcome { positive: false, score: f32::NAN };
        let (mut margin, mut unknown) = (f32::NEG_INFINITY, false);
        for (&column, &threshold) in self.columns.iter().zip(thresholds) {
            let score = scores[column];
            unknown |= score.is_nan();
            if score - threshold > margin {
                margin = score - threshold;
                best = Outcome { positive: score >= threshold, score };
            }
        }
        if unknown && !best.positive {
            return Outcome { positive: true, score: f32::NAN };
        }
        best
    }

    /// The positive labels that reach their threshold in a test of `arity` items (clamped to 1 to
    /// [`MAX_GROUP`]), as (score column, score), in the order of the `columns` of
    /// [`Thresholds::new`]. `scores` has one score per column: `[labels]`. A NaN score does not
    /// reach its threshold.
    ///
    /// # Panics
    /// If `scores` lacks the column of a positive label.
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
        let t = Thresholds::new(
            vec![1, 2],
            |arity, label| if label == 0 { 0.9 } else { 0.5 / arity as f32 },
        );
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
    fn a_score_that_is_not_a_number_is_positive() {
        let outcome = Thresholds::constant(0.5).outcome(4, &[f32::NAN]);
        assert!(outcome.positive && outcome.score.is_nan());
        let two = Thresholds::new(vec![0, 1], |_, _| 0.5);
        assert!(two.outcome(1, &[0.4, f32::NAN]).score.is_nan());
        let flagged = Outcome { positive: true, score: 0.7 };
        assert_eq!(two.outcome(1, &[f32::NAN, 0.7]), flagged, "another label decides");
    }
}
