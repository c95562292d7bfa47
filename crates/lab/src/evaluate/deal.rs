//! Which images make up the groups of a stratum (pure).

use fastrand::Rng;

/// Fewest groups of a hot stratum: with few positives, so that they meet different companions.
const HOT_GROUPS: usize = 64;

/// Fewest images of a cold stratum, and in how many passes over the negatives.
const COLD_IMAGES: usize = 4096;
const COLD_PASSES: usize = 2;

/// A shuffled deck of images that is shuffled again when it runs out: none is dealt a second time before all were dealt once.
#[derive(Debug, Clone)]
pub(super) struct Deck {
    cards: Vec<usize>,
    next: usize,
}

impl Deck {
    /// A deck of images, shuffled at the first deal.
    pub(super) fn new(cards: Vec<usize>) -> Self {
        Self { next: cards.len(), cards }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.cards.len()
    }

    /// Adds `count` images to `hand`, all different from each other and from what is in it, unless the deck is too small for that. An
    /// empty deck deals nothing.
    pub(super) fn deal(&mut self, random: &mut Rng, count: usize, hand: &mut Vec<usize>) {
        let first = hand.len();
        while hand.len() - first < count && !self.cards.is_empty() {
            if self.next == self.cards.len() {
                random.shuffle(&mut self.cards);
                self.next = 0;
            }
            let held = &hand[first..];
            let fresh = (self.next..self.cards.len()).find(|&i| !held.contains(&self.cards[i]));
            match fresh {
                Some(i) => self.cards.swap(self.next, i),
                // Every image is in the hand already: repeats can't be helped.
                None if held.len() >= self.cards.len() => {}
                None => {
                    self.next = self.cards.len();
                    continue;
                }
            }
            hand.push(self.cards[self.next]);
            self.next += 1;
        }
    }
}

/// The number of positives in a group of `size` at prevalence `p`: binomial, or binomial given that there is at least one.
#[derive(Debug, Clone)]
pub(super) struct Positives {
    /// P(k or fewer), for k from `least`.
    cumulative: Vec<f64>,
    least: usize,
}

impl Positives {
    /// Binomial(size, p).
    pub(super) fn any(size: usize, p: f64) -> Self {
        Self::from(0, size, p)
    }

    /// Binomial(size, p) given k >= 1.
    pub(super) fn at_least_one(size: usize, p: f64) -> Self {
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
    pub(super) fn draw(&self, random: &mut Rng) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let at = random.f64() * total;
        self.least + self.cumulative.partition_point(|&sum| sum <= at).min(self.cumulative.len() - 1)
    }
}

/// Deals groups of one size. A stratum is its groups end to end.
#[derive(Debug)]
pub(super) struct Dealer {
    /// Images of a group.
    pub(super) size: usize,
    positives: Deck,
    negatives: Deck,
    random: Rng,
}

impl Dealer {
    /// A dealer over the positives and negatives of a data set.
    pub(super) fn new(size: usize, positives: &[usize], negatives: &[usize], seed: u64) -> Self {
        let (positives, negatives) = (Deck::new(positives.to_vec()), Deck::new(negatives.to_vec()));
        Self { size, positives, negatives, random: Rng::with_seed(seed) }
    }

    /// Groups without a positive: every negative twice and at least [`COLD_IMAGES`] images, but no more than `cap` (and one group).
    pub(super) fn cold(&mut self, cap: usize) -> Vec<usize> {
        let images = (COLD_PASSES * self.negatives.len()).max(COLD_IMAGES).min(cap);
        let mut stratum = Vec::new();
        for _ in 0..images.div_ceil(self.size).max(1) {
            self.group(0, &mut stratum);
        }
        stratum
    }

    /// Groups with at least one positive, at prevalence `p`, until every positive was in one; no more than `cap` images (and one group).
    pub(super) fn hot(&mut self, p: f64, cap: usize) -> Vec<usize> {
        let draw = Positives::at_least_one(self.size, p);
        let (mut stratum, mut dealt) = (Vec::new(), 0);
        for group in 0..(cap / self.size).max(1) {
            if dealt >= self.positives.len() && group >= HOT_GROUPS {
                break;
            }
            let k = draw.draw(&mut self.random);
            self.group(k, &mut stratum);
            dealt += k;
        }
        stratum
    }

    /// A plain random stream of at least `images` images (whole groups) at prevalence `p`.
    pub(super) fn stream(&mut self, p: f64, images: usize) -> Vec<usize> {
        let draw = Positives::any(self.size, p);
        let mut stratum = Vec::new();
        for _ in 0..images.div_ceil(self.size).max(1) {
            let k = draw.draw(&mut self.random);
            self.group(k, &mut stratum);
        }
        stratum
    }

    /// A group with `k` positives, in random order.
    fn group(&mut self, k: usize, stratum: &mut Vec<usize>) {
        let first = stratum.len();
        self.positives.deal(&mut self.random, k, stratum);
        self.negatives.deal(&mut self.random, self.size - k, stratum);
        self.random.shuffle(&mut stratum[first..]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn positives_are_drawn_as_the_binomial_says() {
        let (size, p, draws) = (16, 0.05_f64, 40_000);
        let mut random = fastrand::Rng::with_seed(1);
        let q = 1.0 - (1.0 - p).powi(size);
        let mean =
            |d: &Positives, r: &mut fastrand::Rng| (0..draws).map(|_| d.draw(r)).sum::<usize>() as f64 / draws as f64;
        let any = mean(&Positives::any(size as usize, p), &mut random);
        let some = mean(&Positives::at_least_one(size as usize, p), &mut random);
        assert!((any - 0.8).abs() < 0.02, "{any}");
        assert!((some - 0.8 / q).abs() < 0.02, "{some}");
    }

    proptest! {
        /// Any window of a deck's length deals every card, and no group holds an image twice if the deck is large enough.
        #[test]
        fn a_deck_is_fair(cards in 1usize..60, hand in 1usize..16, hands in 1usize..40, seed: u64) {
            let mut deck = Deck::new((0..cards).collect());
            let mut random = fastrand::Rng::with_seed(seed);
            let mut dealt = Vec::new();
            for _ in 0..hands {
                let first = dealt.len();
                deck.deal(&mut random, hand, &mut dealt);
                prop_assert_eq!(dealt.len() - first, hand);
                let distinct: BTreeSet<usize> = dealt[first..].iter().copied().collect();
                prop_assert_eq!(distinct.len(), hand.min(cards));
            }
            let distinct: BTreeSet<usize> = dealt.iter().copied().collect();
            prop_assert_eq!(distinct.len(), dealt.len().min(cards));
        }

        /// Strata hold whole groups; the cold one no positive, each hot group at least one, and together every image.
        #[test]
        fn strata_are_what_they_should_be(size in 2usize..=64, positives in 1usize..200, negatives in 1usize..3000, p in 0.0005f64..0.2, seed: u64) {
            let (hits, others): (Vec<usize>, Vec<usize>) = ((0..positives).collect(), (positives..positives + negatives).collect());
            let mut dealer = Dealer::new(size, &hits, &others, seed);
            let cold = dealer.cold(usize::MAX);
            prop_assert_eq!(cold.len() % size, 0);
            prop_assert!(cold.len() >= COLD_IMAGES.max(2 * negatives) && cold.iter().all(|&i| i >= positives));
            prop_assert_eq!(cold.iter().collect::<BTreeSet<_>>().len(), negatives);
            let hot = dealer.hot(p, usize::MAX);
            prop_assert!(hot.chunks(size).all(|g| g.len() == size && g.iter().any(|&i| i < positives)));
            prop_assert_eq!(hot.iter().filter(|&&i| i < positives).collect::<BTreeSet<_>>().len(), positives);
            prop_assert!(dealer.hot(p, 1000).len() <= 1000);
            prop_assert_eq!(dealer.stream(p, 1000).len(), 1000usize.div_ceil(size) * size);
        }
    }
}
