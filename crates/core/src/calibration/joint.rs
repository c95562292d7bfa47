//! How the scores of early exits and of the individual test go together: one row per image (pure).
//!
//! An image that one exit clears is often cleared by the next one too, and a positive that an exit
//! clears is often missed by the individual test as well. The losses of several exits therefore
//! cannot be computed from the operating points of each. They are counted on the same images.

use std::collections::BTreeMap;

use super::CalibrationError;
use crate::engine::NetworkPart;

/// An early exit or the screen, with its operating points.
#[derive(Debug, Clone, PartialEq)]
pub struct JointExit {
    /// The part of the network: the screen, or the stage whose exit it is.
    pub part: NetworkPart,
    /// The calibrated sensitivities, 0 to 1, rising, at least one and at most 255. Sensitivity
    /// `sensitivities[i]` is the operating point `i`.
    pub sensitivities: Vec<f64>,
}

/// What the exits and the individual test say about one image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JointRow {
    /// Whether the image is positive.
    pub positive: bool,
    /// By exit: the first operating point, in the order of rising sensitivity, at which the image
    /// passes. The number of operating points if it passes at none.
    pub exits: Vec<u8>,
    /// The first operating point of the individual test at which the image is flagged, in the same
    /// form. `None` if the image was used for training: its individual score is then no measurement.
    pub individual: Option<u8>,
}

/// Rows of scores of the same images, by every exit and by the individual test.
///
/// ```
/// use dorfman_core::calibration::{JointExit, JointRow, JointScores};
/// use dorfman_core::engine::NetworkPart;
///
/// let exit = JointExit { part: NetworkPart::Stage(0), sensitivities: vec![0.99, 1.0] };
/// let row = |positive, exit| JointRow { positive, exits: vec![exit], individual: Some(0) };
/// // One positive passes at both operating points; one negative only at the second.
/// let scores = JointScores::new(vec![exit], vec![0.99], [row(true, 0), row(false, 1)])?;
/// let passage = scores.passage(&[Some(0)], 0);
/// assert_eq!((passage.positive, passage.negative), (vec![1.0, 1.0], vec![1.0, 0.0]));
/// # Ok::<(), dorfman_core::calibration::CalibrationError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct JointScores {
    exits: Vec<JointExit>,
    individual: Vec<f64>,
    /// Equal rows with their number.
    rows: Vec<(JointRow, f64)>,
}

/// What share of the images passes some exits. All shares are 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// The share of the positives that reach each exit and, as the last entry, that pass all:
    /// `[exits + 1]`. The first entry is 1.
    pub positive: Vec<f64>,
    /// The same shares of the negatives.
    pub negative: Vec<f64>,
    /// Of the positives that individual testing flags: the expected share that passes all exits in
    /// use. It is passed / (flagged + 1), so that an exit that lost none of n positives is expected
    /// to lose 1 / (n + 1) of the next ones: the threshold lies at the lowest of n exchangeable
    /// scores (V. Vovk et al., "Algorithmic Learning in a Random World", 2005). 1 if no exit is in
    /// use.
    pub kept: f64,
    /// Of the negatives that pass all exits: the share that the individual test does not flag.
    pub specificity: f64,
}

impl JointScores {
    /// Rows of the same `exits`, in the order in which an item meets them. `individual` are the
    /// sensitivities of the individual test, rising.
    ///
    /// # Errors
    /// [`CalibrationError::JointScores`] if a row has not one entry per exit, or if there is no
    /// positive or no negative with an individual score.
    pub fn new(
        exits: Vec<JointExit>,
        individual: Vec<f64>,
        rows: impl IntoIterator<Item = JointRow>,
    ) -> Result<Self, CalibrationError> {
        let mut counts: BTreeMap<JointRow, f64> = BTreeMap::new();
        for row in rows {
            if row.exits.len() != exits.len() {
                let what = "a row has not one score per exit";
                return Err(CalibrationError::JointScores(what));
            }
            *counts.entry(row).or_default() += 1.0;
        }
        let has = |positive: bool| {
            counts.keys().any(|row| row.positive == positive && row.individual.is_some())
        };
        if !has(true) || !has(false) {
            let what = "there must be at least one positive and one negative calibration image";
            return Err(CalibrationError::JointScores(what));
        }
        Ok(Self { exits, individual, rows: counts.into_iter().collect() })
    }

    /// The exits, in the order in which an item meets them.
    pub fn exits(&self) -> &[JointExit] {
        &self.exits
    }

    /// The operating point of the individual test with the smallest sensitivity of at least
    /// `sensitivity` (0 to 1, with a tolerance of 1e-9). `None` if there is none.
    pub fn individual_point(&self, sensitivity: f64) -> Option<usize> {
        self.individual.iter().position(|&s| s >= sensitivity - 1e-9)
    }

    /// The number of positives among the rows.
    pub fn positives(&self) -> u64 {
        self.rows.iter().filter(|(row, _)| row.positive).map(|(_, count)| *count as u64).sum()
    }

    /// The shares of images that pass the exits in use: `used[i]` is the operating point of exit
    /// `i`, or `None` if the exit is not used. Missing entries are unused exits. `individual` is
    /// the operating point of the individual test.
    ///
    /// A positive that was used for training counts as flagged by individual testing, so an exit
    /// that clears it counts as a loss.
    pub fn passage(&self, used: &[Option<usize>], individual: usize) -> Passage {
        let mut sums = [Sums::new(self.exits.len()), Sums::new(self.exits.len())];
        for (row, count) in &self.rows {
            sums[usize::from(row.positive)].add(row, *count, used, individual);
        }
        let [negatives, positives] = sums;
        let in_use = used.iter().any(Option::is_some);
        let flagged = positives.flagged + if in_use { 1.0 } else { 0.0 };
        Passage {
            kept: share(positives.flagged_passed, flagged),
            specificity: 1.0 - share(negatives.measured_flagged_passed, negatives.measured_passed),
            positive: positives.shares(),
            negative: negatives.shares(),
        }
    }
}

/// Counts of positives or of negatives.
struct Sums {
    /// Images that reach each exit, and those that pass all.
    reached: Vec<f64>,
    /// Images that individual testing flags, counting those without a score as flagged.
    flagged: f64,
    flagged_passed: f64,
    measured_passed: f64,
    measured_flagged_passed: f64,
}

impl Sums {
    fn new(exits: usize) -> Self {
        Self {
            reached: vec![0.0; exits + 1],
            flagged: 0.0,
            flagged_passed: 0.0,
            measured_passed: 0.0,
            measured_flagged_passed: 0.0,
        }
    }

    fn add(&mut self, row: &JointRow, count: f64, used: &[Option<usize>], individual: usize) {
        let passes = |exit: usize| {
            let point = used.get(exit).copied().flatten();
            point.is_none_or(|point| usize::from(row.exits[exit]) <= point)
        };
        let stopped = (0..row.exits.len()).find(|&exit| !passes(exit));
        let reached = stopped.unwrap_or(row.exits.len());
        self.reached[..=reached].iter_mut().for_each(|sum| *sum += count);
        let flagged = row.individual.map(|first| usize::from(first) <= individual);
        if flagged != Some(false) {
            self.flagged += count;
        }
        if stopped.is_some() {
            return;
        }
        self.flagged_passed += if flagged != Some(false) { count } else { 0.0 };
        self.measured_passed += if flagged.is_some() { count } else { 0.0 };
        self.measured_flagged_passed += if flagged == Some(true) { count } else { 0.0 };
    }

    fn shares(&self) -> Vec<f64> {
        self.reached.iter().map(|&count| share(count, self.reached[0])).collect()
    }
}

/// `part / whole`, 0 if both are 0.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exits(count: usize) -> Vec<JointExit> {
        let exit = |stage| JointExit {
            part: NetworkPart::Stage(stage),
            sensitivities: vec![0.9, 0.99, 1.0],
        };
        (0..count).map(exit).collect()
    }

    fn rows() -> impl Strategy<Value = Vec<JointRow>> {
        let row = (any::<bool>(), prop::collection::vec(0u8..=3, 2), prop::option::of(0u8..=2))
            .prop_map(|(positive, exits, individual)| JointRow { positive, exits, individual });
        let first = |positive| JointRow { positive, exits: vec![0, 0], individual: Some(0) };
        prop::collection::vec(row, 0..60)
            .prop_map(move |rows| [first(true), first(false)].into_iter().chain(rows).collect())
    }

    proptest! {
        /// The shares are those of walking through the exits row by row. A higher sensitivity
        /// never passes fewer images.
        #[test]
        fn shares_are_those_of_walking_through_the_exits(
            rows in rows(),
            used in prop::collection::vec(prop::option::of(0usize..3), 2),
        ) {
            let scores = JointScores::new(exits(2), vec![0.9, 0.99], rows.clone()).unwrap();
            let passage = scores.passage(&used, 1);
            for (positive, shares) in [(true, &passage.positive), (false, &passage.negative)] {
                let all: Vec<&JointRow> = rows.iter().filter(|r| r.positive == positive).collect();
                let passes = |row: &JointRow, exit: usize| {
                    used[exit].is_none_or(|point| usize::from(row.exits[exit]) <= point)
                };
                for (exit, share) in shares.iter().enumerate() {
                    let reach = |row: &&&JointRow| (0..exit).all(|e| passes(row, e));
                    let wanted = all.iter().filter(reach).count() as f64 / all.len() as f64;
                    prop_assert!((share - wanted).abs() < 1e-12);
                }
            }
            let kept = |used: &[Option<usize>]| scores.passage(used, 1).kept;
            let raised: Vec<Option<usize>> = used.iter().map(|u| u.map(|u| (u + 1).min(2))).collect();
            prop_assert!(kept(&raised) >= kept(&used) - 1e-12 && kept(&[]) == 1.0);
        }
    }

    #[test]
    fn images_of_training_count_for_the_exits_and_not_for_the_individual_test() {
        let row =
            |positive, exit, individual| JointRow { positive, exits: vec![exit, 0], individual };
        let rows = [
            row(true, 0, Some(0)),
            row(true, 0, Some(2)),
            row(true, 2, None),
            row(false, 0, Some(0)),
            row(false, 0, Some(2)),
            row(false, 2, Some(2)),
            row(false, 0, None),
        ];
        let scores = JointScores::new(exits(2), vec![0.9, 0.99], rows).unwrap();
        let passage = scores.passage(&[Some(1)], 1);
        assert_eq!(passage.kept, 1.0 / 3.0, "one of two: the training image is cleared");
        assert_eq!(passage.specificity, 0.5);
        assert_eq!(passage.negative, [1.0, 0.75, 0.75]);
        assert_eq!(scores.positives(), 3);
    }

    #[test]
    fn rows_without_a_measured_class_are_refused() {
        let row = |positive, individual| JointRow { positive, exits: vec![0, 0], individual };
        let error = |rows: Vec<JointRow>| {
            JointScores::new(exits(2), vec![0.9], rows).unwrap_err().to_string()
        };
        assert!(error(vec![row(true, Some(0)), row(false, None)]).contains("calibration image"));
        let short = JointRow { exits: vec![0], ..row(true, Some(0)) };
        assert!(error(vec![short]).contains("one score per exit"));
    }
}
