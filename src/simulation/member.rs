//! What one image does in tests of each size of a chain.

use fastrand::Rng;

use crate::planner::{Coherence, Link};

/// Levels of the chain whose test an image sets off, as bits: bit 0 is the first, largest size.
pub(super) type Levels = u32;

/// One kind of image, positive or negative.
#[derive(Debug, Clone)]
struct Kind {
    rates: Vec<f64>,
    coherence: f64,
}

impl Kind {
    /// An image of which nothing is known (`first` is none), or whether it sets off the largest size.
    fn draw(&self, first: Option<bool>, rng: &mut Rng) -> Levels {
        let rate = self.rates[0];
        // The latent of a coherent image, where it must lie.
        let latent = match first {
            None => rng.f64(),
            Some(true) => rate * rng.f64(),
            Some(false) => rate + (1.0 - rate) * rng.f64(),
        };
        let coherent = rng.f64() < self.coherence;
        let mut levels = Levels::from(latent < rate);
        for (level, rate) in self.rates.iter().enumerate().skip(1) {
            let drawn = if coherent { latent } else { rng.f64() };
            levels |= Levels::from(drawn < *rate) << level;
        }
        levels
    }
}

/// Images in the tests of one chain.
#[derive(Debug, Clone)]
pub(super) struct Members {
    positive: Kind,
    negative: Kind,
    /// The probability that a clean group is negative.
    quiet: f64,
}

impl Members {
    pub(super) fn new(chain: &[Link], coherence: Coherence) -> Self {
        let rates: Vec<(f64, f64)> = chain.iter().map(Link::rates).collect();
        let kind = |of: fn(&(f64, f64)) -> f64, coherence| Kind { rates: rates.iter().map(of).collect(), coherence };
        let (positive, negative) = (kind(|r| r.0, coherence.positive), kind(|r| r.1, coherence.negative));
        let quiet = (1.0 - negative.rates[0]).powi(chain[0].size as i32);
        Self { positive, negative, quiet }
    }

    /// What a group's images do, in order, or false if all its images are negative and its first test too.
    pub(super) fn draw(&self, size: usize, positives: &[usize], rng: &mut Rng, out: &mut Vec<Levels>) -> bool {
        out.clear();
        if positives.is_empty() {
            if rng.f64() < self.quiet {
                return false;
            }
            return self.alarm(size, rng, out);
        }
        self.draw_all(size, positives, rng, out);
        true
    }

    /// What a group's images do, in order.
    pub(super) fn draw_all(&self, size: usize, positives: &[usize], rng: &mut Rng, out: &mut Vec<Levels>) {
        out.clear();
        out.extend((0..size).map(|_| self.negative.draw(None, rng)));
        for &place in positives {
            out[place] = self.positive.draw(None, rng);
        }
    }

    /// A clean group of which at least one image sets off the first test.
    fn alarm(&self, size: usize, rng: &mut Rng, out: &mut Vec<Levels>) -> bool {
        let silent = 1.0 - self.negative.rates[0];
        let mut before = 1.0; // that none before sets it off
        let target = rng.f64() * (1.0 - self.quiet);
        let mut first = None;
        for place in 0..size {
            let culprit = first.is_none() && (1.0 - before * silent > target || place + 1 == size);
            let known = match first {
                None if culprit => Some(true),
                None => Some(false),
                Some(()) => None,
            };
            if culprit {
                first = Some(());
            }
            before *= silent;
            out.push(self.negative.draw(known, rng));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retest::Point;

    fn chain() -> Vec<Link> {
        let link = |size, sensitivity, specificity| Link { size, point: Point { sensitivity, specificity } };
        vec![link(8, 0.95, 0.7), link(2, 0.9, 0.9), link(1, 0.9, 0.97)]
    }

    /// The share of groups in which each level is set off by a member, and members by number of groups drawn.
    fn shares(positives: &[usize]) -> [f64; 3] {
        let chain = chain();
        let members = Members::new(&chain, Coherence { positive: 0.5, negative: 0.8 });
        let (mut rng, mut out) = (Rng::with_seed(3), Vec::new());
        let mut counts = [0u32; 3];
        let groups = 200_000;
        for _ in 0..groups {
            members.draw(8, positives, &mut rng, &mut out);
            let whole = out.iter().fold(0, |all, levels| all | levels);
            counts[0] += whole & 1;
            // The first pair, and the first image, whatever the tests above say.
            counts[1] += u32::from(out.iter().take(2).any(|l| l & 2 != 0));
            counts[2] += out.first().map_or(0, |l| l >> 2 & 1);
        }
        counts.map(|c| f64::from(c) / f64::from(groups))
    }

    #[test]
    fn groups_with_a_positive_answer_as_calibrated() {
        let [whole, pair, alone] = shares(&[1]);
        assert!((whole - 0.95).abs() < 0.003 && (pair - 0.9).abs() < 0.003, "{whole} {pair}");
        assert!((alone - 0.03).abs() < 0.003, "{alone}");
    }

    #[test]
    fn clean_groups_are_mostly_dropped_and_the_rest_are_alarms() {
        let [whole, ..] = shares(&[]);
        assert!((whole - 0.3).abs() < 0.004, "{whole}");
        // Given an alarm, what the parts do is as if all groups had been drawn in full and the quiet ones dropped.
        let (chain, coherence) = (chain(), Coherence { positive: 0.5, negative: 0.8 });
        let members = Members::new(&chain, coherence);
        let (mut rng, mut out) = (Rng::with_seed(4), Vec::new());
        let (mut fast, mut slow) = ([0u32; 2], [0u32; 2]);
        while fast[0] < 60_000 {
            if members.draw(8, &[], &mut rng, &mut out) {
                fast[0] += 1;
                fast[1] += u32::from(out[4..6].iter().any(|l| l & 2 != 0));
            }
        }
        while slow[0] < 60_000 {
            let drawn: Vec<Levels> = (0..8).map(|_| members.negative.draw(None, &mut rng)).collect();
            if drawn.iter().any(|l| l & 1 != 0) {
                slow[0] += 1;
                slow[1] += u32::from(drawn[4..6].iter().any(|l| l & 2 != 0));
            }
        }
        let share = |[all, some]: [u32; 2]| f64::from(some) / f64::from(all);
        assert!((share(fast) - share(slow)).abs() < 0.007, "{} {}", share(fast), share(slow));
    }
}
