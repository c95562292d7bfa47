//! Which images make up the groups of a stratum (pure).

use fastrand::Rng;

/// The least number of groups of a hot stratum. With few positives, it makes each of them share
/// groups with different negatives.
const HOT_GROUPS: usize = 64;

/// The least number of images of a cold stratum, and how often it uses every negative.
const COLD_IMAGES: usize = 4096;
const COLD_PASSES: usize = 2;

/// Items in random order. When all were drawn they are shuffled again, so that no item is drawn a
/// second time before all were drawn once.
#[derive(Debug, Clone)]
pub(super) struct ShuffledItems {
    items: Vec<usize>,
    next: usize,
}

impl ShuffledItems {
    /// Items that are shuffled at the first draw.
    pub fn new(items: Vec<usize>) -> Self {
        Self { next: items.len(), items }
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Adds `count` items to `drawn`, all different from each other unless there are too few items.
    /// Without items, adds none.
    pub fn draw(&mut self, random: &mut Rng, count: usize, drawn: &mut Vec<usize>) {
        let first = drawn.len();
        while drawn.len() - first < count && !self.items.is_empty() {
            if self.next == self.items.len() {
                random.shuffle(&mut self.items);
                self.next = 0;
            }
            let so_far = &drawn[first..];
            let new = (self.next..self.items.len()).find(|&i| !so_far.contains(&self.items[i]));
            match new {
                Some(i) => self.items.swap(self.next, i),
                // All items are in `drawn` already, so an item must be repeated.
                None if so_far.len() >= self.items.len() => {}
                None => {
                    self.next = self.items.len();
                    continue;
                }
            }
            drawn.push(self.items[self.next]);
            self.next += 1;
        }
    }
}

/// The distribution of the number of positives in a group of `size` at prevalence `p`.
#[derive(Debug, Clone)]
pub(super) struct Positives {
    /// P(k or fewer), for k from `least`.
    cumulative: Vec<f64>,
    least: usize,
}

impl Positives {
    /// Binomial(size, p).
    pub fn any(size: usize, p: f64) -> Self {
        Self::from(0, size, p)
    }

    /// Binomial(size, p) given k >= 1.
    pub fn at_least_one(size: usize, p: f64) -> Self {
        Self::from(1, size, p)
    }

    fn from(least: usize, size: usize, p: f64) -> Self {
        let mut cumulative = Vec::with_capacity(size + 1);
        let (mut choose, mut sum) = (1.0, 0.0);
        for k in 0..=size {
            if k >= least {
                sum += choose * p.powi(k as i32) * (1.0 - p).powi((size - k) as i32);
                cumulative.push(sum);
            }
            choose *= (size - k) as f64 / (k + 1) as f64;
        }
        Self { cumulative, least }
    }

    /// Draws a number.
    pub fn draw(&self, random: &mut Rng) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let at = random.f64() * total;
        let index = self.cumulative.partition_point(|&sum| sum <= at);
        self.least + index.min(self.cumulative.len() - 1)
    }
}

/// Draws groups of one size. A stratum is returned as its groups, one after another.
#[derive(Debug)]
pub(super) struct GroupSampler {
    /// Images per group.
    size: usize,
    positives: ShuffledItems,
    negatives: ShuffledItems,
    random: Rng,
}

impl GroupSampler {
    /// A sampler of the positives and negatives of a data set.
    pub fn new(size: usize, positives: &[usize], negatives: &[usize], seed: u64) -> Self {
        let positives = ShuffledItems::new(positives.to_vec());
        let negatives = ShuffledItems::new(negatives.to_vec());
        Self { size, positives, negatives, random: Rng::with_seed(seed) }
    }

    /// Groups without a positive: every negative twice and at least [`COLD_IMAGES`] images, but at
    /// most `cap` images. At least one group. Groups of one image have every negative once, because
    /// a repeated image has the same verdict.
    pub fn cold(&mut self, cap: usize) -> Vec<usize> {
        let images = match self.size {
            1 => self.negatives.len(),
            _ => (COLD_PASSES * self.negatives.len()).max(COLD_IMAGES),
        };
        let images = images.min(cap);
        let mut stratum = Vec::new();
        for _ in 0..images.div_ceil(self.size).max(1) {
            self.group(0, &mut stratum);
        }
        stratum
    }

    /// Groups with at least one positive, at prevalence `p`, until every positive was used, but at
    /// most `cap` images. At least one group.
    pub fn hot(&mut self, p: f64, cap: usize) -> Vec<usize> {
        let positives = Positives::at_least_one(self.size, p);
        let (mut stratum, mut used) = (Vec::new(), 0);
        for group in 0..(cap / self.size).max(1) {
            if used >= self.positives.len() && group >= HOT_GROUPS {
                break;
            }
            let k = positives.draw(&mut self.random);
            self.group(k, &mut stratum);
            used += k;
        }
        stratum
    }

    /// A plain random stream of whole groups at prevalence `p`, with at least `images` images.
    pub fn stream(&mut self, p: f64, images: usize) -> Vec<usize> {
        let positives = Positives::any(self.size, p);
        let mut stream = Vec::new();
        for _ in 0..images.div_ceil(self.size).max(1) {
            let k = positives.draw(&mut self.random);
            self.group(k, &mut stream);
        }
        stream
    }

    /// Adds a group with `k` positives, in random order.
    fn group(&mut self, k: usize, stratum: &mut Vec<usize>) {
        let first = stratum.len();
        self.positives.draw(&mut self.random, k, stratum);
        self.negatives.draw(&mut self.random, self.size - k, stratum);
        self.random.shuffle(&mut stratum[first..]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_positives_are_binomial() {
        let (size, p, draws) = (16, 0.05_f64, 40_000);
        let mut random = fastrand::Rng::with_seed(1);
        let q = 1.0 - (1.0 - p).powi(size);
        let mean = |d: &Positives, r: &mut fastrand::Rng| {
            (0..draws).map(|_| d.draw(r)).sum::<usize>() as f64 / draws as f64
        };
        let any = mean(&Positives::any(size as usize, p), &mut random);
        let some = mean(&Positives::at_least_one(size as usize, p), &mut random);
        assert!((any - 0.8).abs() < 0.02, "{any}");
        assert!((some - 0.8 / q).abs() < 0.02, "{some}");
    }

    proptest! {
        /// No item is drawn twice before all were drawn, and no draw has an item twice if there are
        /// enough items.
        #[test]
        fn draws_are_balanced(
            items in 1usize..60,
            size in 1usize..16,
            draws in 1usize..40,
            seed: u64,
        ) {
            let count = items;
            let mut items = ShuffledItems::new((0..count).collect());
            let mut random = fastrand::Rng::with_seed(seed);
            let mut drawn = Vec::new();
            for _ in 0..draws {
                let first = drawn.len();
                items.draw(&mut random, size, &mut drawn);
                prop_assert_eq!(drawn.len() - first, size);
                let distinct: BTreeSet<usize> = drawn[first..].iter().copied().collect();
                prop_assert_eq!(distinct.len(), size.min(count));
            }
            let distinct: BTreeSet<usize> = drawn.iter().copied().collect();
            prop_assert_eq!(distinct.len(), drawn.len().min(count));
        }

        /// Strata have whole groups. The cold stratum has no positive, each hot group has at least
        /// one, and together they have every image.
        #[test]
        fn strata_have_whole_groups_and_every_image(
            size in 2usize..=64,
            positives in 1usize..200,
            negatives in 1usize..3000,
            p in 0.0005f64..0.2,
            seed: u64,
        ) {
            let (hits, others): (Vec<usize>, Vec<usize>) =
                ((0..positives).collect(), (positives..positives + negatives).collect());
            let mut sampler = GroupSampler::new(size, &hits, &others, seed);
            let cold = sampler.cold(usize::MAX);
            prop_assert_eq!(cold.len() % size, 0);
            let least = if size == 1 { negatives } else { COLD_IMAGES.max(2 * negatives) };
            prop_assert!(cold.len() >= least && cold.iter().all(|&i| i >= positives));
            prop_assert_eq!(cold.iter().collect::<BTreeSet<_>>().len(), negatives);
            let hot = sampler.hot(p, usize::MAX);
            prop_assert!(
                hot.chunks(size).all(|g| g.len() == size && g.iter().any(|&i| i < positives))
            );
            prop_assert_eq!(
                hot.iter().filter(|&&i| i < positives).collect::<BTreeSet<_>>().len(),
                positives
            );
            prop_assert!(sampler.hot(p, 1000).len() <= 1000);
            prop_assert_eq!(sampler.stream(p, 1000).len(), 1000usize.div_ceil(size) * size);
        }
    }
}
