//! Sensitivity and specificity of tests of each arity, at each calibrated threshold (pure).

use super::CalibrationError;

/// How often a test of one arity is right at one threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatingPoint {
    /// Share of groups with exactly one positive whose test is positive, 0 to 1.
    pub sensitivity: f64,
    /// Share of groups without a positive whose test is negative, 0 to 1.
    pub specificity: f64,
}

/// The operating points of tests of one arity.
#[derive(Debug, Clone, PartialEq)]
pub struct ArityPoints {
    /// Items per test, at least 1.
    pub arity: usize,
    /// One operating point per calibrated threshold, at least one. [`OperatingPoints::new`] sorts
    /// them by rising sensitivity.
    pub points: Vec<OperatingPoint>,
}

/// The operating points of tests of every calibrated arity.
///
/// ```
/// use dorfman_core::calibration::{ArityPoints, OperatingPoint, OperatingPoints};
///
/// let point = |sensitivity, specificity| OperatingPoint { sensitivity, specificity };
/// let points = OperatingPoints::new(vec![
///     ArityPoints { arity: 1, points: vec![point(0.99, 0.999)] },
///     ArityPoints { arity: 16, points: vec![point(0.98, 0.95), point(0.99, 0.9)] },
/// ])?;
/// assert_eq!(points.at(16, 0.985), Some(point(0.99, 0.9)));
/// # Ok::<(), dorfman_core::calibration::CalibrationError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct OperatingPoints {
    arities: Vec<ArityPoints>,
}

impl OperatingPoints {
    /// From the points of each arity, in any order. The arities must differ: of two entries for one
    /// arity, lookups use the first.
    ///
    /// # Errors
    /// [`CalibrationError::NoIndividualTest`] if arity 1 is missing (or there is an arity of 0),
    /// and [`CalibrationError::NoOperatingPoint`] if an arity has no points.
    pub fn new(mut arities: Vec<ArityPoints>) -> Result<Self, CalibrationError> {
        arities.sort_by_key(|entry| entry.arity);
        for entry in &mut arities {
            entry.points.sort_by(|a, b| a.sensitivity.total_cmp(&b.sensitivity));
            if entry.points.is_empty() {
                return Err(CalibrationError::NoOperatingPoint(entry.arity));
            }
        }
        match arities.first() {
            Some(first) if first.arity == 1 => Ok(Self { arities }),
            _ => Err(CalibrationError::NoIndividualTest),
        }
    }

    /// The points of every calibrated arity, by rising arity. The first arity is 1.
    pub fn arities(&self) -> &[ArityPoints] {
        &self.arities
    }

    /// The points of one arity, by rising sensitivity. `None` if the arity was not calibrated.
    pub fn of(&self, arity: usize) -> Option<&ArityPoints> {
        self.arities.iter().find(|entry| entry.arity == arity)
    }

    /// The point of `arity` with the smallest sensitivity of at least `sensitivity` (0 to 1, with a
    /// tolerance of 1e-9). `None` if the arity was not calibrated, or no point reaches this
    /// sensitivity.
    pub fn at(&self, arity: usize, sensitivity: f64) -> Option<OperatingPoint> {
        let points = &self.of(arity)?.points;
        points.iter().copied().find(|point| point.sensitivity >= sensitivity - 1e-9)
    }
}

/// The probability that one member makes a test positive, independently of the other members.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MemberRates {
    /// Of a positive member.
    pub(crate) positive: f64,
    /// Of a negative member.
    pub(crate) negative: f64,
}

impl OperatingPoint {
    /// Splits the rates of a group of `arity` among its members, each of which makes the test
    /// positive independently: with s and f the rates of a positive and a negative member, a group
    /// of m without a positive is negative with probability (1-f)^m, and one with a positive with
    /// (1-s)(1-f)^(m-1).
    pub(crate) fn member_rates(self, arity: usize) -> MemberRates {
        let quiet = self.specificity.max(0.0).powf(1.0 / arity as f64);
        let others = quiet.powi(arity as i32 - 1);
        let missed =
            if others > 0.0 { ((1.0 - self.sensitivity) / others).clamp(0.0, 1.0) } else { 0.0 };
        MemberRates { positive: 1.0 - missed, negative: 1.0 - quiet }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The members' rates combined give the group's rates.
        #[test]
        fn member_rates_give_the_point_back(
            arity in 1usize..=64,
            specificity in 0.3f64..1.0,
            share in 0.0f64..1.0,
        ) {
            let floor = 1.0 - specificity.powf((arity as f64 - 1.0) / arity as f64);
            let sensitivity = floor + share * (1.0 - floor);
            let rates = OperatingPoint { sensitivity, specificity }.member_rates(arity);
            let clean = (1.0 - rates.negative).powi(arity as i32);
            let missed = (1.0 - rates.positive) * (1.0 - rates.negative).powi(arity as i32 - 1);
            prop_assert!(
                (clean - specificity).abs() < 1e-9 && (1.0 - missed - sensitivity).abs() < 1e-9
            );
        }
    }

    #[test]
    fn arity_1_must_be_calibrated() {
        let point = OperatingPoint { sensitivity: 0.99, specificity: 0.9 };
        let entry = |arity| ArityPoints { arity, points: vec![point] };
        let error = |arities| OperatingPoints::new(arities).unwrap_err();
        assert_eq!(error(vec![entry(4)]), CalibrationError::NoIndividualTest);
        let empty = ArityPoints { arity: 4, points: vec![] };
        assert_eq!(error(vec![entry(1), empty]), CalibrationError::NoOperatingPoint(4));
        let points = OperatingPoints::new(vec![entry(4), entry(1)]).unwrap();
        assert_eq!(points.arities().iter().map(|s| s.arity).collect::<Vec<_>>(), [1, 4]);
        let found = (points.at(4, 0.99), points.at(4, 0.995), points.at(2, 0.9));
        assert_eq!(found, (Some(point), None, None));
    }
}
