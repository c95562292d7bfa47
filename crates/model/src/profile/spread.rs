//! Quantiles of the timings of repeated runs (pure).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Quantiles of timings, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The 10th percentile: 10 % of the runs took less.
    pub p10: f64,
    /// The median: half of the runs took less.
    pub median: f64,
    /// The 90th percentile: 10 % of the runs took more.
    pub p90: f64,
}

impl Spread {
    /// The quantiles of timings, in seconds and in any order. All are 0 if there are no timings.
    pub fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self {
            p10: quantile(&seconds, 0.1),
            median: quantile(&seconds, 0.5),
            p90: quantile(&seconds, 0.9),
        }
    }
}

/// The quantile at `share` (0 to 1) of values in ascending order, interpolated linearly between two
/// values. 0 if there are no values.
fn quantile(rising: &[f64], share: f64) -> f64 {
    let Some(last) = rising.len().checked_sub(1) else { return 0.0 };
    let position = share * last as f64;
    let low = rising[position.floor() as usize];
    let high = rising[position.ceil() as usize];
    low + (high - low) * position.fract()
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
