//! How many of the images are positive, as verdicts come in.

/// A Beta posterior of the prevalence that forgets: what was seen `memory` images ago counts 1/e of what is seen now.
///
/// Flags are not positives: of `n` images at prevalence p, n (p r + (1-p) f) are flagged on average, r being the recall and f the false
/// positive rate of the plan that judged them. (flags - n f) / (r - f) estimates the positives among them without bias, whatever the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Prevalence {
    positives: f64,
    images: f64,
    memory: f64,
}

/// What a first guess weighs, as a share of the memory.
const GUESS: f64 = 0.02;

/// Below it no plan changes, and a posterior may come out below 0.
const LEAST: f64 = 1e-6;

impl Prevalence {
    /// A first guess, and how many images are remembered.
    pub fn new(guess: f64, memory: f64) -> Self {
        let images = GUESS * memory;
        Self { positives: guess * images, images, memory }
    }

    /// Takes in the verdicts of `images` images, of which `flagged` were flagged by a plan of this recall and false positive rate.
    pub fn observe(&mut self, images: u64, flagged: u64, recall: f64, fpr: f64) {
        if recall - fpr < 1e-3 {
            return; // Such flags say nothing.
        }
        let images = images as f64;
        let kept = (-images / self.memory).exp();
        let positives = (flagged as f64 - images * fpr) / (recall - fpr);
        self.images = self.images * kept + images;
        // Cleaner negatives than the calibration's would pile up a debt that the next burst had to pay first: chance alone goes no lower.
        let least = -3.0 * (self.images * fpr).sqrt() / (recall - fpr);
        self.positives = (self.positives * kept + positives).max(least);
    }

    /// The posterior's mean.
    pub fn mean(&self) -> f64 {
        (self.positives / self.images).clamp(LEAST, 1.0 - LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_guess_stands_until_there_is_more() {
        let mut p = Prevalence::new(0.01, 100_000.0);
        assert!((p.mean() - 0.01).abs() < 1e-12);
        p.observe(100_000, 100, 1.0, 0.0);
        assert!((p.mean() - 0.001).abs() < 0.0002, "{}", p.mean());
    }

    #[test]
    fn flags_are_corrected_for_the_errors_of_tests() {
        let mut p = Prevalence::new(0.5, 50_000.0);
        // 2 % of which 0.9 are found, and 1 % of the rest by mistake.
        for _ in 0..1000 {
            p.observe(1000, 28, 0.9, 0.01);
        }
        assert!((p.mean() - 0.018 / 0.89).abs() < 1e-4, "{}", p.mean());
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        let mut p = Prevalence::new(0.001, 10_000.0);
        p.observe(100_000, 10_000, 1.0, 0.0);
        for _ in 0..100 {
            p.observe(1000, 0, 1.0, 0.0);
        }
        assert!(p.mean() < 1e-4);
    }

    #[test]
    fn negatives_that_are_cleaner_than_calibrated_pile_up_no_debt() {
        let mut p = Prevalence::new(0.001, 100_000.0);
        (0..1000).for_each(|_| p.observe(1000, 0, 0.99, 0.003));
        assert!(p.mean() < 1e-5);
        // A hundredth of positives shows within a tenth of the memory.
        (0..10).for_each(|_| p.observe(1000, 13, 0.99, 0.003));
        assert!(p.mean() > 2e-4, "{}", p.mean());
    }

    #[test]
    fn tests_that_tell_nothing_teach_nothing() {
        let mut p = Prevalence::new(0.001, 10_000.0);
        p.observe(100_000, 99_000, 0.99, 0.99);
        assert!((p.mean() - 0.001).abs() < 1e-12);
    }
}
