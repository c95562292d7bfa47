//! How tests of each size answer, at each sensitivity that the calibration knows.

/// What a test of one size does at one threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Share of groups with exactly one positive that are found positive.
    pub sensitivity: f64,
    /// Share of groups without a positive that are found negative.
    pub specificity: f64,
}

/// Tests of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeAnswers {
    /// How many images share the test.
    pub arity: usize,
    /// By rising sensitivity, at least one.
    pub points: Vec<Point>,
}

/// Tests of every calibrated size.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    sizes: Vec<SizeAnswers>,
}

impl Answers {
    /// From sizes in any order.
    ///
    /// # Errors
    /// Says what is missing: size 1, or a point of some size.
    pub fn new(mut sizes: Vec<SizeAnswers>) -> Result<Self, String> {
        sizes.sort_by_key(|size| size.arity);
        for size in &mut sizes {
            size.points.sort_by(|a, b| a.sensitivity.total_cmp(&b.sensitivity));
            if size.points.is_empty() {
                return Err(format!("no operating point is known of tests of {}", size.arity));
            }
        }
        match sizes.first() {
            Some(first) if first.arity == 1 => Ok(Self { sizes }),
            _ => Err("nothing is known of tests of one image".into()),
        }
    }

    /// The sizes, rising; the first is 1.
    pub fn sizes(&self) -> &[SizeAnswers] {
        &self.sizes
    }

    /// Tests of one size, if it was calibrated.
    pub fn of(&self, arity: usize) -> Option<&SizeAnswers> {
        self.sizes.iter().find(|size| size.arity == arity)
    }

    /// The point of a size that has the smallest sensitivity of at least `wanted`.
    pub fn at(&self, arity: usize, wanted: f64) -> Option<Point> {
        self.of(arity)?.points.iter().copied().find(|point| point.sensitivity >= wanted - 1e-9)
    }
}

/// How often one member makes a test positive, whatever the others do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rates {
    /// A positive member.
    pub(crate) positive: f64,
    /// A negative member.
    pub(crate) negative: f64,
}

impl Point {
    /// Splits a group's answer among its members: it is positive if any member sets it off, and they do so independently. So a clean
    /// group of m is negative with (1-f)^m, and one with a positive with (1-s)(1-f)^(m-1).
    pub(crate) fn rates(self, arity: usize) -> Rates {
        let quiet = self.specificity.max(0.0).powf(1.0 / arity as f64);
        let others = quiet.powi(arity as i32 - 1);
        let missed = if others > 0.0 { ((1.0 - self.sensitivity) / others).clamp(0.0, 1.0) } else { 0.0 };
        Rates { positive: 1.0 - missed, negative: 1.0 - quiet }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Members' rates put together again give the group's.
        #[test]
        fn rates_give_the_point_back(arity in 1usize..=64, specificity in 0.3f64..1.0, share in 0.0f64..1.0) {
            let floor = 1.0 - specificity.powf((arity as f64 - 1.0) / arity as f64);
            let sensitivity = floor + share * (1.0 - floor);
            let rates = Point { sensitivity, specificity }.rates(arity);
            let clean = (1.0 - rates.negative).powi(arity as i32);
            let missed = (1.0 - rates.positive) * (1.0 - rates.negative).powi(arity as i32 - 1);
            prop_assert!((clean - specificity).abs() < 1e-9 && (1.0 - missed - sensitivity).abs() < 1e-9);
        }
    }

    #[test]
    fn size_1_must_be_known() {
        let point = Point { sensitivity: 0.99, specificity: 0.9 };
        let size = |arity| SizeAnswers { arity, points: vec![point] };
        assert!(Answers::new(vec![size(4)]).unwrap_err().contains("one image"));
        assert!(Answers::new(vec![size(1), SizeAnswers { arity: 4, points: vec![] }]).unwrap_err().contains("of 4"));
        let answers = Answers::new(vec![size(4), size(1)]).unwrap();
        assert_eq!(answers.sizes().iter().map(|s| s.arity).collect::<Vec<_>>(), [1, 4]);
        assert_eq!((answers.at(4, 0.99), answers.at(4, 0.995), answers.at(2, 0.9)), (Some(point), None, None));
    }
}
