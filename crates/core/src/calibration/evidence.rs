//! The likelihood ratio of a score: how much it raises or lowers the odds of a positive (pure).
//!
//! Scores are converted to log odds, ln(s / (1 - s)), in which the evidence of a network is nearly
//! additive. The ratio at one arity is the ratio of two densities:
//!
//! - Positive groups are few. Their log odds are modelled as normal with unknown mean and variance.
//!   The predictive density is then Student's t with n - 1 degrees of freedom, centred on the mean
//!   and scaled by s sqrt(1 + 1/n) (A. Gelman et al., "Bayesian Data Analysis", 3rd ed., 2013,
//!   section 3.2). With fewer groups the tails are heavier, so a low score is weaker evidence.
//! - Negative groups are many, and only their upper tail matters. Above their 95 % quantile the
//!   excess is modelled as exponential with the measured mean (the peaks-over-threshold method; S.
//!   Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001, chapter 4). Below
//!   the quantile the same curve continues up to the density between the quartiles.
//!
//! Above the mean of the positive groups the ratio is constant, so it never falls with a rising
//! score.

use super::CalibrationError;

/// Log odds are clamped to this bound. A 32-bit score cannot distinguish 1 from 1 - 10^-8, and
/// saturated scores must not widen the distribution.
const MOST_LOG_ODDS: f64 = 12.0;

/// The quantile at which the upper tail of the negative groups begins.
const TAIL: f64 = 0.95;

/// The likelihood ratio of scores at one arity: the density of a score among positive groups
/// divided by its density among negative groups.
///
/// Both densities are modelled on the log odds of scores ([`log_odds`]). Those of positive groups
/// follow Student's t distribution around their mean (A. Gelman et al., "Bayesian Data Analysis",
/// 3rd ed., 2013, section 3.2). Those of negative groups have an exponential tail above their 95 %
/// quantile (S. Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001, chapter
/// 4). Above the mean of the positive groups the ratio is constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LikelihoodRatio {
    /// Positive groups: centre, scale, degrees of freedom and the logarithm of the density at the
    /// centre.
    mean: f64,
    scale: f64,
    freedom: f64,
    peak: f64,
    /// Negative groups: the log density at `edge`, its decrease per unit above `edge`, and its
    /// maximum.
    edge: f64,
    at_edge: f64,
    rate: f64,
    body: f64,
    least: f64,
    most: f64,
}

impl LikelihoodRatio {
    /// From the scores of positive and of negative groups: one score per group, each 0 to 1, in any
    /// order.
    ///
    /// # Errors
    /// [`CalibrationError::TooFewPositives`] with fewer than 2 positive scores,
    /// [`CalibrationError::TooFewNegatives`] with fewer than 20 negative scores, and
    /// [`CalibrationError::Score`] for a score outside 0 to 1.
    pub fn from_samples(positive: &[f32], negative: &[f32]) -> Result<Self, CalibrationError> {
        Self::new(positive, positive.len() as u64, negative, negative.len() as u64)
    }

    /// From quantiles of the scores of positive and of negative groups. The quantiles (`positive`,
    /// `negative`) are scores, 0 to 1, at evenly spaced probabilities from 0 to 1. `positives` and
    /// `negatives` are the numbers of groups on which they were measured.
    ///
    /// Each quantile represents an equal share of the groups. With steps of 1 % the difference to
    /// the single scores is mostly in the outermost percentile: both distributions become slightly
    /// wider, and the evidence slightly weaker.
    ///
    /// # Errors
    /// As [`LikelihoodRatio::from_samples`], where the number of quantiles and the number of groups
    /// must both be large enough.
    pub fn from_quantiles(
        positive: &[f32],
        positives: u64,
        negative: &[f32],
        negatives: u64,
    ) -> Result<Self, CalibrationError> {
        Self::new(positive, positives, negative, negatives)
    }

    fn new(
        positive: &[f32],
        positives: u64,
        negative: &[f32],
        negatives: u64,
    ) -> Result<Self, CalibrationError> {
        let of_positives = positives.min(positive.len() as u64);
        let of_negatives = negatives.min(negative.len() as u64);
        if of_positives < 2 {
            return Err(CalibrationError::TooFewPositives(of_positives));
        }
        if of_negatives < 20 {
            return Err(CalibrationError::TooFewNegatives(of_negatives));
        }
        let invalid = |score: &&f32| !(0.0..=1.0).contains(*score);
        if let Some(&score) = positive.iter().chain(negative).find(invalid) {
            return Err(CalibrationError::Score(score));
        }
        let (positive, negative) = (sorted_log_odds(positive), sorted_log_odds(negative));
        let edge = quantile(&negative, TAIL);
        let excess: Vec<f64> = negative.iter().filter(|&&x| x > edge).map(|x| x - edge).collect();
        // Scores that are all alike reflect the resolution of the calibration, not of the network.
        let excess = mean(&excess).unwrap_or_default().max(0.05);
        let middle = (quantile(&negative, 0.75) - quantile(&negative, 0.25)).max(0.05);
        let n = positives as f64;
        let centre = mean(&positive).unwrap_or_default();
        let spread: Vec<f64> = positive.iter().map(|x| (x - centre).powi(2)).collect();
        let variance = mean(&spread).unwrap_or_default() * n / (n - 1.0);
        let scale = (variance * (1.0 + 1.0 / n)).sqrt().max(excess);
        let freedom = n - 1.0;
        Ok(Self {
            mean: centre,
            scale,
            freedom,
            peak: ln_gamma_step(freedom / 2.0)
                - 0.5 * (freedom * std::f64::consts::PI).ln()
                - scale.ln(),
            edge,
            at_edge: (1.0 - TAIL).ln() - excess.ln(),
            rate: 1.0 / excess,
            body: (0.5 / middle).ln(),
            // A rate below one in n + 1 cannot be measured on n groups.
            least: -(n + 1.0).ln(),
            most: (negatives as f64 + 1.0).ln(),
        })
    }

    /// The natural logarithm of P(score | at least one positive) / P(score | no positive), for a
    /// score of 0 to 1.
    ///
    /// It never falls with a rising score. With n positive and m negative groups it is clamped to
    /// -ln(n + 1) to ln(m + 1). A NaN score counts as the strongest evidence, ln(m + 1), so that
    /// its set is retested.
    pub fn log(&self, score: f32) -> f64 {
        if score.is_nan() {
            return self.most;
        }
        let x = log_odds(score).min(self.mean);
        let z = (x - self.mean) / self.scale;
        let positive = self.peak - 0.5 * (self.freedom + 1.0) * (z * z / self.freedom).ln_1p();
        let negative = (self.at_edge - self.rate * (x - self.edge)).min(self.body);
        (positive - negative).clamp(self.least, self.most)
    }
}

/// Likelihood ratios by arity (items per test): how much the score of a test raises or lowers the
/// odds that its set holds a positive.
///
/// ```
/// use dorfman_core::calibration::{Evidence, LikelihoodRatio};
///
/// let positive = [0.9, 0.95, 0.99];
/// let negative: Vec<f32> = (0..50).map(|i| 0.001 * i as f32).collect();
/// let ratio = LikelihoodRatio::from_samples(&positive, &negative)?;
/// let evidence = Evidence::new(vec![(16, ratio)])?;
/// assert!(evidence.log(16, 0.95) > 0.0 && evidence.log(16, 0.01) < 0.0);
/// # Ok::<(), dorfman_core::calibration::CalibrationError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// By rising arity.
    ratios: Vec<(usize, LikelihoodRatio)>,
}

impl Evidence {
    /// From pairs of (calibrated arity, ratio), in any order.
    ///
    /// # Errors
    /// [`CalibrationError::NoDistribution`] if there is no pair, and
    /// [`CalibrationError::TwoDistributions`] for two pairs of one arity.
    pub fn new(mut ratios: Vec<(usize, LikelihoodRatio)>) -> Result<Self, CalibrationError> {
        ratios.sort_by_key(|&(arity, _)| arity);
        if ratios.is_empty() {
            return Err(CalibrationError::NoDistribution);
        }
        match ratios.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(CalibrationError::TwoDistributions(pair[0].0)),
            None => Ok(Self { ratios }),
        }
    }

    /// The natural logarithm of the likelihood ratio of the score (0 to 1, or NaN) of a test of
    /// `arity` items, as [`LikelihoodRatio::log`] gives it. For an arity that was not calibrated
    /// the ratio of the next larger calibrated arity is used, or else that of the largest.
    pub fn log(&self, arity: usize, score: f32) -> f64 {
        let at = self.ratios.partition_point(|&(calibrated, _)| calibrated < arity);
        self.ratios[at.min(self.ratios.len() - 1)].1.log(score)
    }
}

/// The log odds ln(s / (1 - s)) of a score s, 0 to 1, clamped to -12 to 12. NaN for a NaN score or
/// one outside 0 to 1.
pub fn log_odds(score: f32) -> f64 {
    let score = f64::from(score);
    (score.ln() - (-score).ln_1p()).clamp(-MOST_LOG_ODDS, MOST_LOG_ODDS)
}

/// The probability, 0 to 1, after evidence: the odds of `prior` (0 to 1) times the likelihood ratio
/// whose natural logarithm is `log_ratio` (Bayes' theorem).
pub fn posterior(prior: f64, log_ratio: f64) -> f64 {
    let odds = prior.ln() - (-prior).ln_1p() + log_ratio;
    1.0 / (1.0 + (-odds).exp())
}

fn sorted_log_odds(scores: &[f32]) -> Vec<f64> {
    let mut sorted: Vec<f64> = scores.iter().map(|&score| log_odds(score)).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The quantile at `share` (0 to 1) of sorted values, interpolated linearly.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// ln(G(x + 1/2) / G(x)) of the gamma function G for x > 0: by its asymptotic series from 10 on,
/// and by G(x + 1) = x G(x) below 10.
fn ln_gamma_step(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < 10.0 {
        sum += (x / (x + 0.5)).ln();
        x += 1.0;
    }
    sum + 0.5 * x.ln() - 1.0 / (8.0 * x) + 1.0 / (192.0 * x.powi(3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scores(from: f32, to: f32, n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| 1.0 / (1.0 + (-(from + (to - from) * i as f32 / (n - 1) as f32)).exp()))
            .collect()
    }

    proptest! {
        #[test]
        fn the_ratio_never_falls_with_the_score_and_is_bounded(
            positive in prop::collection::vec(0.0f32..=1.0, 2..60),
            negative in prop::collection::vec(0.0f32..=1.0, 20..200),
            mut scored in prop::collection::vec(0.0f32..=1.0, 2..50),
        ) {
            let ratio = LikelihoodRatio::from_samples(&positive, &negative).unwrap();
            scored.sort_by(f32::total_cmp);
            let logs: Vec<f64> = scored.iter().map(|&score| ratio.log(score)).collect();
            prop_assert!(logs.windows(2).all(|pair| pair[0] <= pair[1]));
            let bounds = -(positive.len() as f64 + 1.0).ln()..=(negative.len() as f64 + 1.0).ln();
            prop_assert!(logs.iter().all(|log| bounds.contains(log)));
        }

        #[test]
        fn the_order_of_samples_makes_no_difference(seed: u64) {
            let (mut positive, mut negative) = (scores(0.0, 8.0, 25), scores(-6.0, 2.0, 300));
            let before = LikelihoodRatio::from_samples(&positive, &negative).unwrap();
            let mut random = fastrand::Rng::with_seed(seed);
            random.shuffle(&mut positive);
            random.shuffle(&mut negative);
            prop_assert_eq!(LikelihoodRatio::from_samples(&positive, &negative).unwrap(), before);
        }
    }

    #[test]
    fn quantiles_give_nearly_the_ratio_of_the_samples() {
        let (positive, negative) = (scores(0.0, 9.0, 1001), scores(-6.0, 2.0, 10_001));
        let every = |all: &[f32], step| all.iter().copied().step_by(step).collect::<Vec<f32>>();
        let samples = LikelihoodRatio::from_samples(&positive, &negative).unwrap();
        let quantiles = LikelihoodRatio::from_quantiles(
            &every(&positive, 10),
            1001,
            &every(&negative, 100),
            10_001,
        )
        .unwrap();
        for score in [0.01, 0.3, 0.6, 0.9, 0.99, 0.999] {
            let (a, b) = (samples.log(score), quantiles.log(score));
            assert!((a - b).abs() < 0.35, "{score}: {a} and {b}");
        }
    }

    #[test]
    fn fewer_positives_make_a_low_score_weaker_evidence() {
        let negative = scores(-6.0, 1.0, 1000);
        let few = LikelihoodRatio::from_samples(&scores(4.0, 8.0, 4), &negative).unwrap();
        let many = LikelihoodRatio::from_samples(&scores(4.0, 8.0, 400), &negative).unwrap();
        assert!(few.log(0.5) > many.log(0.5), "{} and {}", few.log(0.5), many.log(0.5));
    }

    #[test]
    fn the_density_of_the_t_distribution_is_right_at_its_centre() {
        // G(1)/G(1/2) = 1/sqrt(pi), and G(12.5)/G(12) by its factorials.
        assert!((ln_gamma_step(0.5) + 0.5 * std::f64::consts::PI.ln()).abs() < 1e-7);
        let by_products: f64 =
            (0..12).map(|i| ((f64::from(i) + 0.5) / f64::from(i.max(1))).ln()).sum();
        assert!((ln_gamma_step(12.0) - by_products - 0.5 * std::f64::consts::PI.ln()).abs() < 1e-7);
    }

    #[test]
    fn the_posterior_follows_from_the_prior_odds() {
        let at = |prior, ratio: f64| posterior(prior, ratio.ln());
        assert!((at(0.01, 99.0) - 0.5).abs() < 1e-12 && (at(0.25, 1.0) - 0.25).abs() < 1e-12);
        assert_eq!((at(0.0, 99.0), at(1.0, 0.01)), (0.0, 1.0));
    }

    #[test]
    fn nan_is_the_strongest_evidence_and_too_few_scores_are_refused() {
        let (positive, negative) = (scores(2.0, 8.0, 10), scores(-6.0, 1.0, 50));
        let ratio = LikelihoodRatio::from_samples(&positive, &negative).unwrap();
        assert_eq!(ratio.log(f32::NAN), 51f64.ln());
        assert_eq!((ratio.log(1.0), ratio.log(0.0)), (51f64.ln().min(ratio.log(1.0)), -11f64.ln()));
        let error = |positive: &[f32], negative: &[f32]| {
            LikelihoodRatio::from_samples(positive, negative).unwrap_err()
        };
        assert_eq!(error(&positive[..1], &negative), CalibrationError::TooFewPositives(1));
        assert_eq!(error(&positive, &negative[..5]), CalibrationError::TooFewNegatives(5));
        assert!(error(&[f32::NAN, 0.5], &negative).to_string().contains("is NaN"));
    }

    #[test]
    fn an_arity_between_takes_the_next_larger() {
        let ratio = |top| {
            LikelihoodRatio::from_samples(&scores(2.0, top, 10), &scores(-6.0, 1.0, 50)).unwrap()
        };
        let (four, sixteen) = (ratio(8.0), ratio(9.0));
        let evidence = Evidence::new(vec![(16, sixteen), (4, four)]).unwrap();
        let logs = [1, 4, 5, 16, 64].map(|arity| evidence.log(arity, 0.9));
        assert_eq!(logs, [four, four, sixteen, sixteen, sixteen].map(|ratio| ratio.log(0.9)));
        assert_eq!(Evidence::new(vec![]).unwrap_err(), CalibrationError::NoDistribution);
        let twice = Evidence::new(vec![(4, four), (4, sixteen)]).unwrap_err();
        assert_eq!(twice, CalibrationError::TwoDistributions(4));
    }
}
