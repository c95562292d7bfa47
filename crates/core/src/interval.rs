//! Confidence intervals of shares (pure).

/// The Wilson score interval at 95 % of the share `hits / trials`, as `[low, high]`, both 0 to 1.
///
/// `hits` is 0 to `trials`. Both may be fractions, such as effective sample sizes. If `trials` is 0
/// or less, the interval is `[0, 1]`. E. B. Wilson, "Probable Inference, the Law of Succession, and
/// Statistical Inference", J. Amer. Statist. Assoc. 22 (1927).
///
/// ```
/// let [low, high] = dorfman_core::interval::wilson(8.0, 10.0);
/// assert!((low - 0.490).abs() < 0.001 && (high - 0.943).abs() < 0.001);
/// ```
pub fn wilson(hits: f64, trials: f64) -> [f64; 2] {
    if trials <= 0.0 {
        return [0.0, 1.0];
    }
    let z = 1.959_963_985;
    let p = hits / trials;
    let middle = p + z * z / (2.0 * trials);
    let half = z * (p * (1.0 - p) / trials + z * z / (4.0 * trials * trials)).max(0.0).sqrt();
    let scale = 1.0 + z * z / trials;
    [((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_is_as_published() {
        // 50 of 50 has a lower bound of 92.9 %.
        let [low, high] = wilson(50.0, 50.0);
        assert!((low - 0.9287).abs() < 5e-4 && high > 1.0 - 1e-12, "{low} {high}");
        let [low, high] = wilson(8.0, 10.0);
        assert!((low - 0.4902).abs() < 5e-4 && (high - 0.9433).abs() < 5e-4, "{low} {high}");
        assert_eq!(wilson(0.0, 0.0), [0.0, 1.0]);
    }
}
