//! What a score says for and against a positive among those tested: its likelihood ratio (pure).
//!
//! Scores are taken as log odds, ln(s / (1 - s)), in which a network's evidence is nearly additive. The ratio at one arity is that of two
//! densities, each estimated in the way that the data allows:
//!
//! - Positive groups are few. Their log odds are taken as normal with unknown mean and variance; the density of the next one is then
//!   Student's t with n - 1 degrees of freedom, centred on the mean and scaled by s sqrt(1 + 1/n) (A. Gelman et al., "Bayesian Data
//!   Analysis", 3rd ed., 2013, section 3.2). The fewer were measured, the heavier its tails: a low score then says less.
//! - Negative groups are many, and only their upper tail matters. Above their 95 % quantile the excess is taken as exponential with the
//!   measured mean (the peaks-over-threshold method; S. Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001, chapter
//!   4), below it the same curve goes on up to the density between the quartiles.
//!
//! Above the mean of the positive groups the ratio is held, so that it never falls with a rising score.

/// Log odds of scores are cut here: a 32-bit score can't tell 1 from 1 - 10^-8, and what saturates must not widen the distribution.
const MOST_LOG_ODDS: f64 = 12.0;

/// Where the upper tail of the negative groups begins.
const TAIL: f64 = 0.95;

/// Log likelihood ratios of scores at one arity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Positive groups: centre, scale, degrees of freedom and the logarithm of the density at the centre.
    mean: f64,
    scale: f64,
    freedom: f64,
    peak: f64,
    /// Negative groups: log density at `edge`, by how much it falls for each unit above, and its most.
    edge: f64,
    at_edge: f64,
    rate: f64,
    body: f64,
    least: f64,
    most: f64,
}

impl Ratio {
    /// From the scores of groups, 0 to 1, in any order.
    ///
    /// # Errors
    /// Says what is missing: at least two positive groups and twenty negative ones, all scores numbers.
    pub fn from_samples(positive: &[f32], negative: &[f32]) -> Result<Self, String> {
        Self::new(positive, positive.len() as u64, negative, negative.len() as u64)
    }

    /// From quantiles of scores at evenly spaced probabilities from 0 to 1, and how many groups they were measured on.
    ///
    /// A quantile stands for an equal share of the groups. At steps of 1 % this differs from the groups themselves mostly in the outermost
    /// percentile, which makes both distributions a little wider and so the evidence a little weaker.
    ///
    /// # Errors
    /// As [`Ratio::from_samples`].
    pub fn from_quantiles(positive: &[f32], positives: u64, negative: &[f32], negatives: u64) -> Result<Self, String> {
        Self::new(positive, positives, negative, negatives)
    }

    fn new(positive: &[f32], positives: u64, negative: &[f32], negatives: u64) -> Result<Self, String> {
        let (hot, cold) = (positives.min(positive.len() as u64), negatives.min(negative.len() as u64));
        if hot < 2 {
            return Err(format!("{hot} scores of positive groups are no evidence, at least 2 are"));
        }
        if cold < 20 {
            return Err(format!("{cold} scores of negative groups are no evidence, at least 20 are"));
        }
        if let Some(score) = positive.iter().chain(negative).find(|score| !(0.0..=1.0).contains(*score)) {
            return Err(format!("a score is {score}, must be 0 to 1"));
        }
        let (positive, negative) = (sorted_log_odds(positive), sorted_log_odds(negative));
        let edge = quantile(&negative, TAIL);
        let excess: Vec<f64> = negative.iter().filter(|&&x| x > edge).map(|x| x - edge).collect();
        // Scores that are all alike say how sharp the calibration is, not how sharp the network.
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
            peak: ln_gamma_step(freedom / 2.0) - 0.5 * (freedom * std::f64::consts::PI).ln() - scale.ln(),
            edge,
            at_edge: (1.0 - TAIL).ln() - excess.ln(),
            rate: 1.0 / excess,
            body: (0.5 / middle).ln(),
            // No rate below one in n + 1 can be told from n groups.
            least: -(n + 1.0).ln(),
            most: (negatives as f64 + 1.0).ln(),
        })
    }

    /// The natural logarithm of P(score | a positive among them) / P(score | none), never falling with the score. A score that is not a
    /// number counts as the strongest evidence: it is looked into, not cleared.
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

/// Likelihood ratios by arity.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// By rising arity.
    ratios: Vec<(usize, Ratio)>,
}

impl Evidence {
    /// From the ratio of each arity that was calibrated.
    ///
    /// # Errors
    /// Says so if there is none, or two for an arity.
    pub fn new(mut ratios: Vec<(usize, Ratio)>) -> Result<Self, String> {
        ratios.sort_by_key(|&(arity, _)| arity);
        if ratios.is_empty() {
            return Err("evidence needs scores at one arity at least".into());
        }
        match ratios.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(format!("two distributions of scores at arity {}", pair[0].0)),
            None => Ok(Self { ratios }),
        }
    }

    /// The log likelihood ratio of a score of `arity` images together, by the distributions of the next larger arity that was calibrated,
    /// or the largest.
    pub fn log(&self, arity: usize, score: f32) -> f64 {
        let at = self.ratios.partition_point(|&(calibrated, _)| calibrated < arity);
        self.ratios[at.min(self.ratios.len() - 1)].1.log(score)
    }
}

/// ln(s / (1 - s)), cut at 12 on both sides.
pub fn log_odds(score: f32) -> f64 {
    let score = f64::from(score);
    (score.ln() - (-score).ln_1p()).clamp(-MOST_LOG_ODDS, MOST_LOG_ODDS)
}

fn sorted_log_odds(scores: &[f32]) -> Vec<f64> {
    let mut sorted: Vec<f64> = scores.iter().map(|&score| log_odds(score)).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Between the sorted values, linearly.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// ln(G(x + 1/2) / G(x)) of the gamma function, x > 0: by its asymptotic series from 10 on, and by G(x + 1) = x G(x) down to x.
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
        (0..n).map(|i| 1.0 / (1.0 + (-(from + (to - from) * i as f32 / (n - 1) as f32)).exp())).collect()
    }

    proptest! {
        #[test]
        fn a_higher_score_never_says_less_and_all_are_bounded(
            positive in prop::collection::vec(0.0f32..=1.0, 2..60),
            negative in prop::collection::vec(0.0f32..=1.0, 20..200),
            mut asked in prop::collection::vec(0.0f32..=1.0, 2..50),
        ) {
            let ratio = Ratio::from_samples(&positive, &negative).unwrap();
            asked.sort_by(f32::total_cmp);
            let said: Vec<f64> = asked.iter().map(|&score| ratio.log(score)).collect();
            prop_assert!(said.windows(2).all(|pair| pair[0] <= pair[1]));
            let bounds = -(positive.len() as f64 + 1.0).ln()..=(negative.len() as f64 + 1.0).ln();
            prop_assert!(said.iter().all(|log| bounds.contains(log)));
        }

        #[test]
        fn the_order_of_samples_makes_no_difference(seed: u64) {
            let (mut positive, mut negative) = (scores(0.0, 8.0, 25), scores(-6.0, 2.0, 300));
            let before = Ratio::from_samples(&positive, &negative).unwrap();
            let mut random = fastrand::Rng::with_seed(seed);
            random.shuffle(&mut positive);
            random.shuffle(&mut negative);
            prop_assert_eq!(Ratio::from_samples(&positive, &negative).unwrap(), before);
        }
    }

    #[test]
    fn quantiles_say_nearly_what_the_samples_say() {
        let (positive, negative) = (scores(0.0, 9.0, 1001), scores(-6.0, 2.0, 10_001));
        let every = |all: &[f32], step| all.iter().copied().step_by(step).collect::<Vec<f32>>();
        let samples = Ratio::from_samples(&positive, &negative).unwrap();
        let quantiles = Ratio::from_quantiles(&every(&positive, 10), 1001, &every(&negative, 100), 10_001).unwrap();
        for score in [0.01, 0.3, 0.6, 0.9, 0.99, 0.999] {
            let (a, b) = (samples.log(score), quantiles.log(score));
            assert!((a - b).abs() < 0.35, "{score}: {a} and {b}");
        }
    }

    #[test]
    fn fewer_positives_make_a_low_score_weaker_evidence() {
        let negative = scores(-6.0, 1.0, 1000);
        let few = Ratio::from_samples(&scores(4.0, 8.0, 4), &negative).unwrap();
        let many = Ratio::from_samples(&scores(4.0, 8.0, 400), &negative).unwrap();
        assert!(few.log(0.5) > many.log(0.5), "{} and {}", few.log(0.5), many.log(0.5));
    }

    #[test]
    fn the_density_of_the_t_distribution_is_right_at_its_centre() {
        // G(1)/G(1/2) = 1/sqrt(pi), and G(12.5)/G(12) by its factorials.
        assert!((ln_gamma_step(0.5) + 0.5 * std::f64::consts::PI.ln()).abs() < 1e-7);
        let by_products: f64 = (0..12).map(|i| ((f64::from(i) + 0.5) / f64::from(i.max(1))).ln()).sum();
        assert!((ln_gamma_step(12.0) - by_products - 0.5 * std::f64::consts::PI.ln()).abs() < 1e-7);
    }

    #[test]
    fn what_is_no_number_is_looked_into_and_what_is_no_evidence_refused() {
        let (positive, negative) = (scores(2.0, 8.0, 10), scores(-6.0, 1.0, 50));
        let ratio = Ratio::from_samples(&positive, &negative).unwrap();
        assert_eq!(ratio.log(f32::NAN), 51f64.ln());
        assert_eq!((ratio.log(1.0), ratio.log(0.0)), (51f64.ln().min(ratio.log(1.0)), -11f64.ln()));
        assert!(Ratio::from_samples(&positive[..1], &negative).unwrap_err().contains("1 scores of positive"));
        assert!(Ratio::from_samples(&positive, &negative[..5]).unwrap_err().contains("5 scores of negative"));
        assert!(Ratio::from_samples(&[f32::NAN, 0.5], &negative).unwrap_err().contains("is NaN"));
    }

    #[test]
    fn an_arity_between_takes_the_next_larger() {
        let ratio = |top| Ratio::from_samples(&scores(2.0, top, 10), &scores(-6.0, 1.0, 50)).unwrap();
        let (four, sixteen) = (ratio(8.0), ratio(9.0));
        let evidence = Evidence::new(vec![(16, sixteen), (4, four)]).unwrap();
        let said = [1, 4, 5, 16, 64].map(|arity| evidence.log(arity, 0.9));
        assert_eq!(said, [four, four, sixteen, sixteen, sixteen].map(|ratio| ratio.log(0.9)));
        assert!(Evidence::new(vec![]).unwrap_err().contains("one arity"));
        assert!(Evidence::new(vec![(4, four), (4, sixteen)]).unwrap_err().contains("arity 4"));
    }
}
