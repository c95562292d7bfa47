//! An estimate of the prevalence from verdicts (pure).

/// An estimate of the prevalence (the share of positives among the items) from verdicts: a Beta
/// posterior with exponential forgetting. An item `memory` items ago weighs 1/e of the newest item.
///
/// Flags are not positives. Of n items at prevalence p, n (p r + (1-p) f) are flagged on average,
/// where r is the recall and f the false positive rate of the plan. (flags - n f) / (r - f) is an
/// unbiased estimate of the number of positives.
///
/// ```
/// use dorfman_core::planner::PrevalenceEstimate;
///
/// let mut estimate = PrevalenceEstimate::new(0.001, 10_000.0);
/// (0..100).for_each(|_| estimate.observe(1000, 20, 1.0, 0.0));
/// assert!((estimate.mean() - 0.02).abs() < 1e-3);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PrevalenceEstimate {
    positives: f64,
    items: f64,
    memory: f64,
}

/// The weight of the first estimate, as a share of the memory.
const PRIOR_WEIGHT: f64 = 0.02;

/// The least prevalence: below it no plan changes, and the posterior mean may be negative.
const LEAST: f64 = 1e-6;

impl PrevalenceEstimate {
    /// An estimate that starts at `prior` (0 to 1) and remembers `memory` items (above 0). The
    /// first estimate weighs as much as 2 % of `memory` items.
    pub fn new(prior: f64, memory: f64) -> Self {
        let items = PRIOR_WEIGHT * memory;
        Self { positives: prior * items, items, memory }
    }

    /// Records the verdicts of `items` items, of which `flagged` were flagged by a plan with this
    /// recall and false positive rate (each 0 to 1). Verdicts of a plan whose recall exceeds its
    /// false positive rate by less than 0.001 are ignored: they carry almost no information.
    pub fn observe(&mut self, items: u64, flagged: u64, recall: f64, fpr: f64) {
        if recall - fpr < 1e-3 {
            return; // Such flags carry no information.
        }
        let items = items as f64;
        let kept = (-items / self.memory).exp();
        let positives = (flagged as f64 - items * fpr) / (recall - fpr);
        self.items = self.items * kept + items;
        // Negatives that are easier than those of the calibration would accumulate a negative
        // count, which would delay the reaction to the next burst. Chance alone gives no lower
        // value than this bound.
        let least = -3.0 * (self.items * fpr).sqrt() / (recall - fpr);
        self.positives = (self.positives * kept + positives).max(least);
    }

    /// The posterior mean, 1e-6 to 1 - 1e-6.
    pub fn mean(&self) -> f64 {
        (self.positives / self.items).clamp(LEAST, 1.0 - LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_estimate_holds_until_there_are_verdicts() {
        let mut p = PrevalenceEstimate::new(0.01, 100_000.0);
        assert!((p.mean() - 0.01).abs() < 1e-12);
        p.observe(100_000, 100, 1.0, 0.0);
        assert!((p.mean() - 0.001).abs() < 0.0002, "{}", p.mean());
    }

    #[test]
    fn flags_are_corrected_for_the_errors_of_tests() {
        let mut p = PrevalenceEstimate::new(0.5, 50_000.0);
        // 2 % are positive; a share of 0.9 of them is flagged, and 1 % of the rest by mistake.
        for _ in 0..1000 {
            p.observe(1000, 28, 0.9, 0.01);
        }
        assert!((p.mean() - 0.018 / 0.89).abs() < 1e-4, "{}", p.mean());
    }

    #[test]
    fn old_verdicts_are_forgotten() {
        let mut p = PrevalenceEstimate::new(0.001, 10_000.0);
        p.observe(100_000, 10_000, 1.0, 0.0);
        for _ in 0..100 {
            p.observe(1000, 0, 1.0, 0.0);
        }
        assert!(p.mean() < 1e-4);
    }

    #[test]
    fn easier_negatives_do_not_delay_the_reaction_to_a_burst() {
        let mut p = PrevalenceEstimate::new(0.001, 100_000.0);
        (0..1000).for_each(|_| p.observe(1000, 0, 0.99, 0.003));
        assert!(p.mean() < 1e-5);
        // A prevalence of 1 % shows within a tenth of the memory.
        (0..10).for_each(|_| p.observe(1000, 13, 0.99, 0.003));
        assert!(p.mean() > 2e-4, "{}", p.mean());
    }

    #[test]
    fn uninformative_tests_do_not_change_the_estimate() {
        let mut p = PrevalenceEstimate::new(0.001, 10_000.0);
        p.observe(100_000, 99_000, 0.99, 0.99);
        assert!((p.mean() - 0.001).abs() < 1e-12);
    }
}
