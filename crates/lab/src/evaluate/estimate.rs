//! From the verdicts in the strata to the rates of a stream (pure). The formulas are in the
//! documentation of the module above.

use dorfman_core::interval::wilson;
use serde::Serialize;

/// How often each image was used in a stratum, and how often it was flagged there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tally {
    uses: Vec<u32>,
    flags: Vec<u32>,
}

impl Tally {
    /// A tally of 0 for each of `images` images.
    pub fn new(images: usize) -> Self {
        Self { uses: vec![0; images], flags: vec![0; images] }
    }

    /// Counts a verdict.
    pub fn add(&mut self, image: usize, flagged: bool) {
        self.uses[image] += 1;
        self.flags[image] += u32::from(flagged);
    }

    /// The sums over some images.
    pub fn count<'a>(&self, images: impl IntoIterator<Item = &'a usize>) -> Count {
        let mut count = Count::default();
        for &image in images {
            count.uses += u64::from(self.uses[image]);
            count.flags += u64::from(self.flags[image]);
            count.distinct += u64::from(self.uses[image] > 0);
        }
        count
    }
}

/// Sums over some images of a stratum.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Count {
    /// Verdicts.
    pub uses: u64,
    /// Verdicts that were *flagged*.
    pub flags: u64,
    /// Different images.
    pub distinct: u64,
}

impl Count {
    fn share(self) -> f64 {
        self.flags as f64 / self.uses as f64
    }
}

/// A share with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Rate {
    /// The share, 0 to 1. `None` if nothing was counted.
    pub value: Option<f64>,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
    /// The number of independent trials that the interval assumes.
    pub n: f64,
}

impl Rate {
    /// A share of `n` independent trials.
    pub fn new(value: f64, n: f64) -> Self {
        let [low, high] = wilson(value * n, n);
        Self { value: Some(value), low, high, n }
    }

    /// Nothing was counted.
    pub const NONE: Self = Self { value: None, low: 0.0, high: 1.0, n: 0.0 };

    /// The share in one count. Repeated images do not count as further trials.
    pub fn of(count: Count) -> Self {
        match count.uses {
            0 => Self::NONE,
            _ => Self::new(count.share(), count.distinct as f64),
        }
    }

    /// This share is that of `part` of `whole` images; the other images do not count as hits. The
    /// share of all images. The interval assumes as many trials per image as before.
    pub fn of_part(self, part: usize, whole: usize) -> Self {
        if whole == 0 {
            return Self::NONE;
        }
        let share = part as f64 / whole as f64;
        let per_image = if part > 0 { self.n / part as f64 } else { 1.0 };
        let n = whole as f64 * per_image.min(1.0);
        Self::new(self.value.unwrap_or_default() * share, n.max(1.0))
    }

    /// The weighted share over strata of `images` images in all. `strata` has (weight, count) for
    /// each stratum.
    ///
    /// The interval assumes the least of three numbers of trials: the number of images; Kish's
    /// effective sample size 1 / sum(w^2 / n) (L. Kish, "Survey Sampling", 1965); and the number
    /// that has the variance of a stratified estimate, f (1 - f) / sum(w^2 f_s (1 - f_s) / n_s).
    pub fn weighted(strata: &[(f64, Count)], images: usize) -> Self {
        let used = || strata.iter().filter(|(w, c)| *w > 0.0 && c.uses > 0);
        let total: f64 = used().map(|(w, _)| w).sum();
        if total <= 0.0 {
            return Self::NONE;
        }
        let shares = || used().map(|(w, c)| (w / total, c.share(), c.distinct as f64));
        let value: f64 = shares().map(|(w, share, _)| w * share).sum();
        let kish = 1.0 / shares().map(|(w, _, n)| w * w / n).sum::<f64>();
        let variance: f64 = shares().map(|(w, share, n)| w * w * share * (1.0 - share) / n).sum();
        let matched = if variance > 0.0 { value * (1.0 - value) / variance } else { f64::INFINITY };
        Self::new(value, kish.min(matched).min(images as f64))
    }
}

/// The weights of the strata at a prevalence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weights {
    /// Share of groups without a positive.
    pub cold_groups: f64,
    /// Share of groups with at least one positive: q.
    pub hot_groups: f64,
    /// Share of the negatives that are in groups without a positive.
    pub cold_negatives: f64,
    /// Share of the negatives that are in groups with at least one positive.
    pub hot_negatives: f64,
}

impl Weights {
    /// For groups of `size` at prevalence `p`, between 0 and 1.
    pub fn new(size: usize, p: f64) -> Self {
        // 1 - (1 - p)^M, without cancellation at small p.
        let hot = -f64::exp_m1(size as f64 * f64::ln_1p(-p));
        Self {
            cold_groups: 1.0 - hot,
            hot_groups: hot,
            cold_negatives: (1.0 - hot) / (1.0 - p),
            hot_negatives: ((hot - p) / (1.0 - p)).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_over_strata_is_the_weighted_mean() {
        let count = |uses, flags, distinct| Count { uses, flags, distinct };
        let rate = Rate::weighted(&[(0.9, count(1000, 0, 500)), (0.1, count(200, 20, 150))], 500);
        assert!((rate.value.unwrap() - 0.01).abs() < 1e-12);
        assert!(rate.n <= 500.0 && rate.low < 0.01 && rate.high > 0.01);
        // A stratum without any image of the set does not count.
        let rate = Rate::weighted(&[(0.9, count(100, 5, 100)), (0.1, count(0, 0, 0))], 100);
        assert!((rate.value.unwrap() - 0.05).abs() < 1e-12 && rate.n == 100.0);
        assert_eq!(Rate::weighted(&[], 0), Rate::NONE);
    }

    #[test]
    fn images_that_an_exit_clears_are_not_flagged() {
        let rate = Rate::new(0.5, 20.0).of_part(20, 1000);
        assert!((rate.value.unwrap() - 0.01).abs() < 1e-12 && rate.n == 1000.0);
        let none = Rate::NONE.of_part(0, 50);
        assert_eq!((none.value, none.n), (Some(0.0), 50.0));
        assert_eq!(Rate::NONE.of_part(0, 0), Rate::NONE);
    }

    #[test]
    fn a_small_stratum_with_a_large_weight_widens_the_interval() {
        let large = Count { uses: 10_000, flags: 0, distinct: 10_000 };
        let small = Count { uses: 100, flags: 30, distinct: 100 };
        let rate = Rate::weighted(&[(0.7, large), (0.3, small)], 10_000);
        assert!(rate.n < 1200.0, "{}", rate.n);
    }

    proptest! {
        #[test]
        fn weights_add_up(size in 1usize..=64, p in 1e-6f64..0.9) {
            let w = Weights::new(size, p);
            prop_assert!((w.cold_groups + w.hot_groups - 1.0).abs() < 1e-12);
            prop_assert!((w.cold_negatives + w.hot_negatives - 1.0).abs() < 1e-9);
            prop_assert!((w.hot_groups - (1.0 - (1.0 - p).powi(size as i32))).abs() < 1e-9);
        }

        /// The share lies within its interval, and n is at most the number of images.
        #[test]
        fn rates_lie_in_their_intervals(
            parts in prop::collection::vec((0.0f64..1.0, 1u64..1000, 0.0f64..=1.0), 1..4),
        ) {
            let count = |&(w, n, share): &(f64, u64, f64)| {
                (w, Count { uses: 2 * n, flags: (2.0 * n as f64 * share) as u64, distinct: n })
            };
            let strata: Vec<(f64, Count)> = parts.iter().map(count).collect();
            let images = 500;
            let rate = Rate::weighted(&strata, images);
            prop_assume!(rate.value.is_some());
            let value = rate.value.unwrap();
            prop_assert!(rate.low <= value + 1e-9 && value <= rate.high + 1e-9);
            prop_assert!(rate.n <= images as f64);
        }
    }
}
