//! What a chain of tests is expected to cost and to find, exactly.
//!
//! A test is positive if any of its members sets it off, and members do so independently of each other. What one member does at different
//! sizes hangs together: an odd-looking bag is missed by the test of 16 and by that of 4. A share of the members, their *coherence*,
//! answers at every size by one and the same latent (they set off a test of one size if they set off that of every size with a higher
//! rate), the rest independently at every size.
//!
//! With that, the probability that all of a nested set of tests are negative is a product over members, and the probability that all
//! are positive follows by inclusion and exclusion over the tests (2^n terms for n sizes).

use super::stage_costs::StageCosts;
use crate::retest::{Point, Rates};

/// A size of a chain and how its tests answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Images of a test.
    pub size: usize,
    /// How it answers.
    pub point: Point,
}

impl Link {
    /// How often a member sets off a test of this size: a positive, and a negative.
    pub(crate) fn rates(&self) -> (f64, f64) {
        let rates = self.point.rates(self.size);
        (rates.positive, rates.negative)
    }
}

/// Which share of members answers at all sizes by one latent, 0 (independently) to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coherence {
    /// Of positives.
    pub positive: f64,
    /// Of negatives.
    pub negative: f64,
}

impl Default for Coherence {
    /// With this, the shipped bundle's tests come out as they were measured: the table in docs/planning.md.
    fn default() -> Self {
        Self { positive: 0.9, negative: 0.9 }
    }
}

/// What is expected of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Tests an image at each size of the chain.
    pub tests: Vec<f64>,
    /// Cost an image, in the unit of the costs.
    pub cost: f64,
    /// Share of positives that are flagged.
    pub recall: f64,
    /// Share of negatives that are flagged.
    pub fpr: f64,
}

/// What is expected of `chain` where a share `prevalence` of the images is positive, each independently.
///
/// The sizes must fall, each dividing the one before, and end in 1; that is the caller's to see to. Groups are full.
pub fn expected(chain: &[Link], prevalence: f64, coherence: Coherence, costs: &StageCosts) -> Expected {
    let model = Model::new(chain, prevalence, coherence);
    let size = chain[0].size;
    let mut tests = Vec::with_capacity(chain.len());
    let mut cost = 0.0;
    for (level, link) in chain.iter().enumerate() {
        // One test of every part of the group, if everything it lies in was positive.
        let count = model.all_positive(level) / link.size as f64;
        cost += count * if level == 0 { costs.first(size) } else { costs.retest(link.size) };
        tests.push(count);
    }
    let recall = model.flagged(|set| model.positive.silent(set));
    let fpr = model.flagged(|set| model.negative.silent(set));
    Expected { tests, cost, recall, fpr }
}

/// Tests of a chain, as bits: bit `k` is the test at level `k`.
type Set = u32;

/// How one kind of member answers at the levels of a chain.
struct Kind {
    rates: Vec<f64>,
    coherence: f64,
}

impl Kind {
    /// The probability that a member sets off none of `set`.
    fn silent(&self, set: Set) -> f64 {
        let (mut least, mut product) = (1.0f64, 1.0);
        for (level, rate) in self.rates.iter().enumerate() {
            if set & (1 << level) != 0 {
                least = least.min(1.0 - rate);
                product *= 1.0 - rate;
            }
        }
        self.coherence * least + (1.0 - self.coherence) * product
    }
}

struct Model {
    sizes: Vec<usize>,
    positive: Kind,
    negative: Kind,
    /// By set: the probability that a member of unknown kind sets off none of it.
    silent: Vec<f64>,
}

impl Model {
    fn new(chain: &[Link], prevalence: f64, coherence: Coherence) -> Self {
        let rates: Vec<Rates> = chain.iter().map(|link| link.point.rates(link.size)).collect();
        let positive = Kind { rates: rates.iter().map(|r| r.positive).collect(), coherence: coherence.positive };
        let negative = Kind { rates: rates.iter().map(|r| r.negative).collect(), coherence: coherence.negative };
        let mix = |set| prevalence * positive.silent(set) + (1.0 - prevalence) * negative.silent(set);
        let silent = (0..1 << chain.len()).map(mix).collect();
        Self { sizes: chain.iter().map(|link| link.size).collect(), positive, negative, silent }
    }

    /// The probability that the tests of `set`, all of which one member lies in, are negative as far as the other members go, of which
    /// `gone` of the innermost are left out. Level `levels - 1` is the innermost there is.
    fn quiet(&self, set: Set, levels: usize, gone: usize) -> f64 {
        let ring = |level: usize| {
            let inner = if level + 1 < levels { self.sizes[level + 1] } else { gone };
            let within = set & ((2 << level) - 1);
            self.silent[within as usize].powi((self.sizes[level] - inner) as i32)
        };
        (0..levels).map(ring).product()
    }

    /// The probability that a part's tests at the levels before `levels` are all positive.
    fn all_positive(&self, levels: usize) -> f64 {
        let sum: f64 = (0..1u32 << levels).map(|set| sign(set) * self.quiet(set, levels, 0)).sum();
        sum.clamp(0.0, 1.0)
    }

    /// The probability that a member passes the whole chain; `silent` gives that it sets off none of a set.
    fn flagged(&self, silent: impl Fn(Set) -> f64) -> f64 {
        let pools = self.sizes.len() - 1;
        let alone: Set = 1 << pools;
        // It sets off its individual test, and none of `set`.
        let term = |set: Set| sign(set) * (silent(set) - silent(set | alone)) * self.quiet(set, pools, 1);
        let sum: f64 = (0..1u32 << pools).map(term).sum();
        sum.clamp(0.0, 1.0)
    }
}

fn sign(set: Set) -> f64 {
    if set.count_ones().is_multiple_of(2) { 1.0 } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::planner::stage_costs::Tier;

    const FEATURE: StageCosts = StageCosts { item: 1.0, tiers: vec![], score: vec![] };

    fn link(size: usize, sensitivity: f64, specificity: f64) -> Link {
        Link { size, point: Point { sensitivity, specificity } }
    }

    #[test]
    fn perfect_tests_cost_what_dorfman_says() {
        let costs = StageCosts { score: vec![(1, 1.0)], item: 0.0, ..FEATURE };
        let chain = [link(11, 1.0, 1.0), link(1, 1.0, 1.0)];
        let e = expected(&chain, 0.01, Coherence::default(), &costs);
        // The table of Dorfman (1943): groups of 11 at 1 % cost 20 % of the tests.
        assert!((e.cost - (1.0 / 11.0 + 1.0 - 0.99f64.powi(11))).abs() < 1e-12 && (e.cost - 0.2).abs() < 0.005);
        assert!((e.recall - 1.0).abs() < 1e-12 && e.fpr.abs() < 1e-12);
    }

    #[test]
    fn individual_testing_is_a_chain_of_one() {
        let costs = StageCosts { item: 2.0, tiers: vec![Tier { span: 2, row: 3.0 }], score: vec![(1, 5.0)] };
        let e = expected(&[link(1, 0.98, 0.99)], 0.3, Coherence::default(), &costs);
        assert_eq!((e.tests, e.cost), (vec![1.0], 10.0));
        assert!((e.recall - 0.98).abs() < 1e-12 && (e.fpr - 0.01).abs() < 1e-12);
    }

    /// Draws groups member by member, as the words at the top of the file have it.
    fn drawn(chain: &[Link], prevalence: f64, coherence: Coherence, groups: usize) -> (Vec<f64>, f64, f64) {
        let mut rng = fastrand::Rng::with_seed(1);
        let rates: Vec<Rates> = chain.iter().map(|l| l.point.rates(l.size)).collect();
        let size = chain[0].size;
        let mut tests = vec![0.0; chain.len()];
        let (mut found, mut alarms, mut positives) = (0.0, 0.0, 0.0);
        for _ in 0..groups {
            let members: Vec<(bool, Vec<bool>)> = (0..size)
                .map(|_| {
                    let positive = rng.f64() < prevalence;
                    let coherent = rng.f64() < if positive { coherence.positive } else { coherence.negative };
                    let latent = rng.f64();
                    let rate = |r: &Rates| if positive { r.positive } else { r.negative };
                    let mut sets_off = |r: &Rates| (if coherent { latent } else { rng.f64() }) < rate(r);
                    (positive, rates.iter().map(&mut sets_off).collect())
                })
                .collect();
            let answer = |level: usize, part: usize| {
                let size = chain[level].size;
                members[part * size..(part + 1) * size].iter().any(|(_, sets_off)| sets_off[level])
            };
            for level in 0..chain.len() {
                for part in 0..size / chain[level].size {
                    let first = part * chain[level].size;
                    if (0..level).all(|above| answer(above, first / chain[above].size)) {
                        tests[level] += 1.0;
                    }
                }
            }
            for (i, (positive, _)) in members.iter().enumerate() {
                let flagged = (0..chain.len()).all(|level| answer(level, i / chain[level].size));
                positives += f64::from(*positive);
                found += f64::from(*positive && flagged);
                alarms += f64::from(!positive && flagged);
            }
        }
        let items = (groups * size) as f64;
        (tests.iter().map(|t| t / items).collect(), found / positives, alarms / (items - positives))
    }

    #[test]
    fn the_expectation_is_that_of_drawing_member_by_member() {
        let costs = StageCosts { score: vec![(1, 1.0)], ..FEATURE };
        let chain = [link(8, 0.9, 0.8), link(4, 0.95, 0.85), link(2, 0.9, 0.9), link(1, 0.93, 0.95)];
        for coherence in [0.0, 0.6, 1.0].map(|c| Coherence { positive: c, negative: 1.0 - c / 2.0 }) {
            let e = expected(&chain, 0.05, coherence, &costs);
            let (tests, recall, fpr) = drawn(&chain, 0.05, coherence, 100_000);
            for (a, b) in e.tests.iter().zip(&tests) {
                assert!((a - b).abs() < 0.003, "{:?} {tests:?}", e.tests);
            }
            assert!((e.recall - recall).abs() < 0.01 && (e.fpr - fpr).abs() < 0.001, "{e:?} {recall} {fpr}");
        }
    }

    proptest! {
        /// Nothing leaves its range, and each round tests no image twice.
        #[test]
        fn shares_stay_shares(
            points in prop::collection::vec((0.5f64..1.0, 0.0f64..1.0), 6), p in 0.0f64..1.0, a in 0.0f64..1.0, b in 0.0f64..1.0,
        ) {
            let chain: Vec<Link> = points.iter().zip([32, 16, 8, 4, 2, 1]).map(|(&(se, sp), m)| link(m, se, sp)).collect();
            let costs = StageCosts { score: vec![(1, 1.0)], ..FEATURE };
            let e = expected(&chain, p, Coherence { positive: a, negative: b }, &costs);
            prop_assert!((0.0..=1.0).contains(&e.recall) && (0.0..=1.0).contains(&e.fpr));
            prop_assert!(e.tests.iter().zip(&chain).all(|(t, l)| (0.0..=1.0 + 1e-9).contains(&(t * l.size as f64))));
            // An image takes part in a test only after all those above.
            let part: Vec<f64> = e.tests.iter().zip(&chain).map(|(t, l)| t * l.size as f64).collect();
            prop_assert!(part.windows(2).all(|w| w[1] <= w[0] + 1e-9));
        }
    }
}
