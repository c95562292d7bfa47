//! Which tests of a chain each member triggers (pure).

use fastrand::Rng;

use crate::calibration::MemberRates;
use crate::planner::{ChainLink, Coherence};

/// The levels of a chain whose test a member triggers, as bits: bit 0 is the first and largest
/// size.
pub(super) type Levels = u32;

/// How positive or negative members trigger the tests of a chain.
#[derive(Debug, Clone)]
struct MemberModel {
    rates: Vec<f64>,
    coherence: f64,
}

impl MemberModel {
    /// Draws the levels that a member triggers. `first` says whether it triggers the largest size,
    /// if that is known.
    fn draw(&self, first: Option<bool>, rng: &mut Rng) -> Levels {
        let rate = self.rates[0];
        // The latent value of a coherent member, drawn from the range that `first` leaves.
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

/// The members of a group in the tests of one chain.
#[derive(Debug, Clone)]
pub(super) struct GroupModel {
    positive: MemberModel,
    negative: MemberModel,
    /// The probability that the first test of a group without a positive is negative.
    specificity: f64,
}

impl GroupModel {
    pub(super) fn new(chain: &[ChainLink], coherence: Coherence) -> Self {
        let rates: Vec<MemberRates> = chain.iter().map(ChainLink::member_rates).collect();
        let of = |rate: fn(&MemberRates) -> f64| rates.iter().map(rate).collect();
        let positive = MemberModel { rates: of(|r| r.positive), coherence: coherence.positive };
        let negative = MemberModel { rates: of(|r| r.negative), coherence: coherence.negative };
        let specificity = (1.0 - negative.rates[0]).powi(chain[0].size as i32);
        Self { positive, negative, specificity }
    }

    /// Draws the levels of a group's members, in order. Returns false if the group has no positive
    /// and its first test is negative.
    pub(super) fn draw(
        &self,
        size: usize,
        positives: &[usize],
        rng: &mut Rng,
        out: &mut Vec<Levels>,
    ) -> bool {
        out.clear();
        if positives.is_empty() {
            if rng.f64() < self.specificity {
                return false;
            }
            return self.false_positive(size, rng, out);
        }
        self.draw_all(size, positives, rng, out);
        true
    }

    /// Draws the levels of a group's members, in order.
    pub(super) fn draw_all(
        &self,
        size: usize,
        positives: &[usize],
        rng: &mut Rng,
        out: &mut Vec<Levels>,
    ) {
        out.clear();
        out.extend((0..size).map(|_| self.negative.draw(None, rng)));
        for &place in positives {
            out[place] = self.positive.draw(None, rng);
        }
    }

    /// Draws a group without a positive in which at least one member triggers the first test.
    fn false_positive(&self, size: usize, rng: &mut Rng, out: &mut Vec<Levels>) -> bool {
        let silent = 1.0 - self.negative.rates[0];
        let mut before = 1.0; // the probability that no member before triggers it
        let target = rng.f64() * (1.0 - self.specificity);
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
    use crate::calibration::OperatingPoint;

    fn chain() -> Vec<ChainLink> {
        let link = |size, sensitivity, specificity| ChainLink {
            size,
            point: OperatingPoint { sensitivity, specificity },
        };
        vec![link(8, 0.95, 0.7), link(2, 0.9, 0.9), link(1, 0.9, 0.97)]
    }

    /// The share of groups in which a member triggers each level.
    fn shares(positives: &[usize]) -> [f64; 3] {
        let chain = chain();
        let members = GroupModel::new(&chain, Coherence { positive: 0.5, negative: 0.8 });
        let (mut rng, mut out) = (Rng::with_seed(3), Vec::new());
        let mut counts = [0u32; 3];
        let groups = 200_000;
        for _ in 0..groups {
            members.draw(8, positives, &mut rng, &mut out);
            let whole = out.iter().fold(0, |all, levels| all | levels);
            counts[0] += whole & 1;
            // The first pair and the first member, regardless of the larger tests.
            counts[1] += u32::from(out.iter().take(2).any(|l| l & 2 != 0));
            counts[2] += out.first().map_or(0, |l| l >> 2 & 1);
        }
        counts.map(|c| f64::from(c) / f64::from(groups))
    }

    #[test]
    fn groups_with_a_positive_follow_the_operating_points() {
        let [whole, pair, alone] = shares(&[1]);
        assert!((whole - 0.95).abs() < 0.003 && (pair - 0.9).abs() < 0.003, "{whole} {pair}");
        assert!((alone - 0.03).abs() < 0.003, "{alone}");
    }

    #[test]
    fn clean_groups_are_skipped_or_false_positives() {
        let [whole, ..] = shares(&[]);
        assert!((whole - 0.3).abs() < 0.004, "{whole}");
        // The parts of false positives are distributed as if all groups were drawn in full and the
        // negative ones dropped.
        let (chain, coherence) = (chain(), Coherence { positive: 0.5, negative: 0.8 });
        let members = GroupModel::new(&chain, coherence);
        let (mut rng, mut out) = (Rng::with_seed(4), Vec::new());
        let (mut fast, mut slow) = ([0u32; 2], [0u32; 2]);
        while fast[0] < 60_000 {
            if members.draw(8, &[], &mut rng, &mut out) {
                fast[0] += 1;
                fast[1] += u32::from(out[4..6].iter().any(|l| l & 2 != 0));
            }
        }
        while slow[0] < 60_000 {
            let drawn: Vec<Levels> =
                (0..8).map(|_| members.negative.draw(None, &mut rng)).collect();
            if drawn.iter().any(|l| l & 1 != 0) {
                slow[0] += 1;
                slow[1] += u32::from(drawn[4..6].iter().any(|l| l & 2 != 0));
            }
        }
        let share = |[all, some]: [u32; 2]| f64::from(some) / f64::from(all);
        assert!((share(fast) - share(slow)).abs() < 0.007, "{} {}", share(fast), share(slow));
    }
}
