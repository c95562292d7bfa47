//! How much timings of the same run vary (pure).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The middle of many timings and how far they lie apart, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// A tenth of the runs took less.
    pub p10: f64,
    /// Half of the runs took less.
    pub median: f64,
    /// A tenth of the runs took more.
    pub p90: f64,
}

impl Spread {
    /// The spread of timings in seconds, in any order.
    pub fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self {
            p10: quantile(&seconds, 0.1),
            median: quantile(&seconds, 0.5),
            p90: quantile(&seconds, 0.9),
        }
    }
}

/// The quantile of rising values, on the line between the two that it falls between; 0 of none.
fn quantile(rising: &[f64], share: f64) -> f64 {
    let Some(last) = rising.len().checked_sub(1) else { return 0.0 };
    let place = share * last as f64;
    let (low, high) = (rising[place.floor() as usize], rising[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_does_not_move_the_median() {
        let spread = Spread::of(vec![100.0, 2.0, 1.0, 4.0, 3.0]);
        assert_eq!(spread.median, 3.0);
        assert!((spread.p10 - 1.4).abs() < 1e-12 && spread.p90 > 60.0, "{spread:?}");
        assert_eq!(Spread::of(vec![2.0]), Spread { p10: 2.0, median: 2.0, p90: 2.0 });
    }
}
