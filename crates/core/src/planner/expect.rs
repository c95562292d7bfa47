//! The expected cost and recall of a chain of tests, exactly (pure).
//!
//! A test is positive if at least one of its members triggers it, and members trigger tests
//! independently of each other. The effects of one member at different sizes are correlated: a bag
//! that the test of 16 misses is often missed by the test of 4. For a share of the members, the
//! *coherence*, one latent value decides at every size: such a member that triggers the test of one
//! size triggers that of every size with a higher rate. The other members are independent at every
//! size.
//!
//! Under this model the probability that all of a nested set of tests are negative is a product
//! over members. The probability that all are positive follows by inclusion and exclusion over the
//! tests (2^n terms for n sizes).

use crate::calibration::{MemberRates, OperatingPoint};
use crate::cost::StageCosts;
use crate::engine::NetworkPart;

/// One size of a chain, with the operating point of its tests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChainLink {
    /// Items per test, 1 to [`crate::policy::MAX_GROUP`].
    pub size: usize,
    /// Sensitivity and specificity of the test, each 0 to 1.
    pub point: OperatingPoint,
}

impl ChainLink {
    /// The probability that one member triggers a test of this size.
    pub(crate) fn member_rates(&self) -> MemberRates {
        self.point.member_rates(self.size)
    }
}

/// The share of members whose effect at all sizes follows from one latent value, 0 (independent) to
/// 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coherence {
    /// The share among positive members, 0 to 1.
    pub positive: f64,
    /// The share among negative members, 0 to 1.
    pub negative: f64,
}

impl Default for Coherence {
    /// 0.9 for both. With this value the expected costs of the shipped bundle match the measured
    /// ones: see the table in docs/planning.md.
    fn default() -> Self {
        Self { positive: 0.9, negative: 0.9 }
    }
}

/// The expected cost and results of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// Tests per item at each size of the chain, in the order of the chain. At size s there is at
    /// most one test per s items.
    pub tests: Vec<f64>,
    /// The exits in use, in the order in which an item meets them.
    pub exits: Vec<ExitShare>,
    /// Cost per item, in the unit of the costs.
    pub cost: f64,
    /// Share of positives that are flagged, 0 to 1.
    pub recall: f64,
    /// Share of negatives that are flagged, 0 to 1.
    pub fpr: f64,
}

/// What an exit in use is expected to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExitShare {
    /// The screen, or the stage whose exit it is.
    pub part: NetworkPart,
    /// Share of all items that the exit scores, 0 to 1.
    pub scored: f64,
    /// Share of all items that the exit clears, 0 to `scored`.
    pub cleared: f64,
}

/// The expectation of `chain`, without exits, where each item is positive with probability `prevalence` (0 to 1),
/// independently.
///
/// A test is positive if at least one of its members triggers it. For a share `coherence` of the
/// members, one latent value decides at every size; the others are independent at every size. Under
/// this model the expectation is exact.
///
/// Groups are full. The caller guarantees that the sizes of `chain` fall, that each divides the one
/// before, and that the last is 1. The time and memory grow with 2^n for n sizes.
///
/// ```
/// use dorfman_core::calibration::OperatingPoint;
/// use dorfman_core::cost::StageCosts;
/// use dorfman_core::planner::{ChainLink, Coherence, expected};
///
/// let perfect = OperatingPoint { sensitivity: 1.0, specificity: 1.0 };
/// let chain = [11, 1].map(|size| ChainLink { size, point: perfect });
/// let costs = StageCosts { items: vec![0.0], last: vec![(1, 1.0)], ..StageCosts::default() };
/// let expectation = expected(&chain, 0.01, Coherence::default(), &costs);
/// assert!((expectation.cost - 0.2).abs() < 0.005);
/// ```
///
/// # Panics
/// If `chain` is empty or the span of a tier of `costs` is 0. If the sizes do not fall, it may
/// panic or give meaningless numbers.
pub fn expected(
    chain: &[ChainLink],
    prevalence: f64,
    coherence: Coherence,
    costs: &StageCosts,
) -> Expectation {
    let model = Model::new(chain, prevalence, coherence);
    let size = chain[0].size;
    let mut tests = Vec::with_capacity(chain.len());
    let mut cost = 0.0;
    for (level, link) in chain.iter().enumerate() {
        // A part of the group is tested if all larger tests that contain it were positive.
        let count = model.all_positive(level) / link.size as f64;
        cost += count * if level == 0 { costs.first(size) } else { costs.retest(link.size) };
        tests.push(count);
    }
    let recall = model.flagged(|set| model.positive.silent(set));
    let fpr = model.flagged(|set| model.negative.silent(set));
    Expectation { tests, exits: Vec::new(), cost, recall, fpr }
}

/// Tests of a chain, as bits: bit `k` is the test at level `k`.
type Set = u32;

/// How positive or negative members trigger the tests of a chain.
struct MemberModel {
    rates: Vec<f64>,
    coherence: f64,
}

impl MemberModel {
    /// The probability that a member triggers no test of `set`.
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
    positive: MemberModel,
    negative: MemberModel,
    /// By set of tests: the probability that a random member triggers none of them.
    silent: Vec<f64>,
}

impl Model {
    fn new(chain: &[ChainLink], prevalence: f64, coherence: Coherence) -> Self {
        let rates: Vec<MemberRates> = chain.iter().map(ChainLink::member_rates).collect();
        let of = |rate: fn(&MemberRates) -> f64| rates.iter().map(rate).collect();
        let positive = MemberModel { rates: of(|r| r.positive), coherence: coherence.positive };
        let negative = MemberModel { rates: of(|r| r.negative), coherence: coherence.negative };
        let mix =
            |set| prevalence * positive.silent(set) + (1.0 - prevalence) * negative.silent(set);
        let silent = (0..1 << chain.len()).map(mix).collect();
        Self { sizes: chain.iter().map(|link| link.size).collect(), positive, negative, silent }
    }

    /// The probability that no other member triggers the tests of `set`, which all contain one
    /// member. `gone` members of the innermost level `levels - 1` are left out.
    fn all_silent(&self, set: Set, levels: usize, gone: usize) -> f64 {
        let ring = |level: usize| {
            let inner = if level + 1 < levels { self.sizes[level + 1] } else { gone };
            let within = set & ((2 << level) - 1);
            self.silent[within as usize].powi((self.sizes[level] - inner) as i32)
        };
        (0..levels).map(ring).product()
    }

    /// The probability that the tests of a part at all levels below `levels` are positive.
    fn all_positive(&self, levels: usize) -> f64 {
        let sum: f64 =
            (0..1u32 << levels).map(|set| sign(set) * self.all_silent(set, levels, 0)).sum();
        sum.clamp(0.0, 1.0)
    }

    /// The probability that a member is flagged by the whole chain. `silent(set)` is the
    /// probability that the member triggers no test of `set`.
    fn flagged(&self, silent: impl Fn(Set) -> f64) -> f64 {
        let pools = self.sizes.len() - 1;
        let alone: Set = 1 << pools;
        // The member triggers its individual test and no test of `set`.
        let term = |set: Set| {
            sign(set) * (silent(set) - silent(set | alone)) * self.all_silent(set, pools, 1)
        };
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
    use crate::cost::TierCost;

    /// The first stage costs 1 per item, and a test 1.
    fn feature() -> StageCosts {
        StageCosts { items: vec![1.0], last: vec![(1, 1.0)], ..StageCosts::default() }
    }

    fn link(size: usize, sensitivity: f64, specificity: f64) -> ChainLink {
        ChainLink { size, point: OperatingPoint { sensitivity, specificity } }
    }

    #[test]
    fn perfect_tests_cost_what_dorfman_computed() {
        let costs = StageCosts { items: vec![], ..feature() };
        let chain = [link(11, 1.0, 1.0), link(1, 1.0, 1.0)];
        let e = expected(&chain, 0.01, Coherence::default(), &costs);
        // The table of Dorfman (1943): groups of 11 at 1 % cost 20 % of the tests.
        assert!(
            (e.cost - (1.0 / 11.0 + 1.0 - 0.99f64.powi(11))).abs() < 1e-12
                && (e.cost - 0.2).abs() < 0.005
        );
        assert!((e.recall - 1.0).abs() < 1e-12 && e.fpr.abs() < 1e-12);
    }

    #[test]
    fn individual_testing_is_a_chain_of_one() {
        let costs = StageCosts {
            items: vec![2.0],
            tiers: vec![TierCost { span: 2, row: 3.0 }],
            last: vec![(1, 5.0)],
            ..StageCosts::default()
        };
        let e = expected(&[link(1, 0.98, 0.99)], 0.3, Coherence::default(), &costs);
        assert_eq!((e.tests, e.cost), (vec![1.0], 10.0));
        assert!((e.recall - 0.98).abs() < 1e-12 && (e.fpr - 0.01).abs() < 1e-12);
    }

    /// Draws groups member by member, by the model at the top of this file.
    fn drawn(
        chain: &[ChainLink],
        prevalence: f64,
        coherence: Coherence,
        groups: usize,
    ) -> (Vec<f64>, f64, f64) {
        let mut rng = fastrand::Rng::with_seed(1);
        let rates: Vec<MemberRates> = chain.iter().map(ChainLink::member_rates).collect();
        let size = chain[0].size;
        let mut tests = vec![0.0; chain.len()];
        let (mut found, mut alarms, mut positives) = (0.0, 0.0, 0.0);
        for _ in 0..groups {
            let members: Vec<(bool, Vec<bool>)> = (0..size)
                .map(|_| {
                    let positive = rng.f64() < prevalence;
                    let coherent =
                        rng.f64() < if positive { coherence.positive } else { coherence.negative };
                    let latent = rng.f64();
                    let rate = |r: &MemberRates| if positive { r.positive } else { r.negative };
                    let mut triggers =
                        |r: &MemberRates| (if coherent { latent } else { rng.f64() }) < rate(r);
                    (positive, rates.iter().map(&mut triggers).collect())
                })
                .collect();
            let outcome = |level: usize, part: usize| {
                let size = chain[level].size;
                members[part * size..(part + 1) * size].iter().any(|(_, triggers)| triggers[level])
            };
            for level in 0..chain.len() {
                for part in 0..size / chain[level].size {
                    let first = part * chain[level].size;
                    if (0..level).all(|above| outcome(above, first / chain[above].size)) {
                        tests[level] += 1.0;
                    }
                }
            }
            for (i, (positive, _)) in members.iter().enumerate() {
                let flagged = (0..chain.len()).all(|level| outcome(level, i / chain[level].size));
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
        let costs = feature();
        let chain =
            [link(8, 0.9, 0.8), link(4, 0.95, 0.85), link(2, 0.9, 0.9), link(1, 0.93, 0.95)];
        for coherence in [0.0, 0.6, 1.0].map(|c| Coherence { positive: c, negative: 1.0 - c / 2.0 })
        {
            let e = expected(&chain, 0.05, coherence, &costs);
            let (tests, recall, fpr) = drawn(&chain, 0.05, coherence, 100_000);
            for (a, b) in e.tests.iter().zip(&tests) {
                assert!((a - b).abs() < 0.003, "{:?} {tests:?}", e.tests);
            }
            assert!(
                (e.recall - recall).abs() < 0.01 && (e.fpr - fpr).abs() < 0.001,
                "{e:?} {recall} {fpr}"
            );
        }
    }

    proptest! {
        /// No share leaves its range, and no round tests an item twice.
        #[test]
        fn shares_stay_shares(
            points in prop::collection::vec((0.5f64..1.0, 0.0f64..1.0), 6),
            p in 0.0f64..1.0,
            a in 0.0f64..1.0,
            b in 0.0f64..1.0,
        ) {
            let chain: Vec<ChainLink> = points
                .iter()
                .zip([32, 16, 8, 4, 2, 1])
                .map(|(&(se, sp), m)| link(m, se, sp))
                .collect();
            let costs = feature();
            let e = expected(&chain, p, Coherence { positive: a, negative: b }, &costs);
            prop_assert!((0.0..=1.0).contains(&e.recall) && (0.0..=1.0).contains(&e.fpr));
            prop_assert!(
                e.tests
                    .iter()
                    .zip(&chain)
                    .all(|(t, l)| (0.0..=1.0 + 1e-9).contains(&(t * l.size as f64)))
            );
            // An item takes part in a test only after all larger tests.
            let part: Vec<f64> =
                e.tests.iter().zip(&chain).map(|(t, l)| t * l.size as f64).collect();
            prop_assert!(part.windows(2).all(|w| w[1] <= w[0] + 1e-9));
        }
    }
}
