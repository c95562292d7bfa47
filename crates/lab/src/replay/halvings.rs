//! A policy that is fitted on one half of a recording and tested on the other half, many times
//! (pure).
//!
//! Positive and negative groups are split at random, each into halves. Everything that the policy
//! needs about scores and prevalence is from the first half. Its finds and its cost are counted on
//! the second half, which was not used to fit it.

use dorfman_core::calibration::{CalibrationError, Evidence, LikelihoodRatio, log_odds};
use dorfman_core::cost::{Accounting, TestCost, TestCosts};
use dorfman_core::policy::Planned;

use super::{Algorithm, RecordedPlan, Recording, ReplayError, ReplayRow, ScoreSource, Summary};

/// The threshold of individual tests.
const THRESHOLD: f32 = 0.5;

/// The default chains: prevalence in per cent, design, and sizes of the tests, in the first order
/// of the items.
pub const HALVED: [(f64, &str, &[usize]); 4] = [
    (0.1, "D3", &[16, 8, 4, 1]),
    (0.1, "D2", &[16, 8, 4, 2, 1]),
    (0.05, "D3", &[16, 8, 4, 1]),
    (0.05, "D2", &[16, 8, 4, 2, 1]),
];

/// A policy that is fitted on half of the groups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FittedPolicy {
    /// A chain of thresholds. The threshold of each size is the lowest score of a positive group
    /// minus this margin, in log odds.
    Margin(f64),
    /// [`Planned`], with this worth of a positive in individual tests.
    Worth(f64),
}

/// The mean over all halvings.
#[derive(Debug, Clone, PartialEq)]
pub struct Halved {
    /// The policy.
    pub fitted: FittedPolicy,
    /// The number of halvings.
    pub halvings: u64,
    /// The plan in words, and sums over the tested halves of all halvings. Shares of these sums are
    /// means.
    pub row: ReplayRow,
    /// Different positives in the recording. About half of the halvings test each of them.
    pub positives: u64,
    /// What the same groups would cost with tests that are never wrong, relative to individual
    /// testing.
    pub floor: f64,
}

impl Halved {
    /// The mean over halvings of the tests and of their GMAC, for one tested half.
    pub fn per_halving(&self) -> (f64, f64) {
        let n = self.halvings.max(1) as f64;
        (self.row.summary.tests as f64 / n, self.row.summary.gmac / n)
    }
}

/// Fits a policy on half of the groups and tests it on the other half, `halvings` times. `seed`
/// decides which halves. `sources` are the sizes of tests from the group size down to 1; a source
/// without a design has the scores of `design`.
///
/// # Errors
/// As [`RecordedPlan::new`], and [`ReplayError`] if a half has too few groups to fit the policy.
pub fn halve(
    recording: &Recording,
    sources: &[ScoreSource],
    design: Option<&str>,
    fitted: FittedPolicy,
    accounting: Accounting,
    (halvings, seed): (u64, u64),
) -> Result<Halved, ReplayError> {
    // The threshold is irrelevant here: this checks sizes and scores, and describes the chain,
    // before a policy is fitted.
    let chain = RecordedPlan::new(recording, sources, design, &[THRESHOLD])?;
    let mut row = ReplayRow::of_chain(&chain, Summary::none());
    if let FittedPolicy::Worth(_) = fitted {
        row.algorithm = Algorithm::Planned;
    }
    for halving in 0..halvings {
        let seed = seed.wrapping_add(halving);
        let (plan, tested) = fit(recording, sources, design, fitted, seed)?;
        row.summary.add(&summarise(&plan, &tested, accounting)?);
    }
    let positives = recording.items().iter().filter(|item| item.positive).count() as u64;
    let floor = floor(&chain)? / recording.individual_gmac()?;
    Ok(Halved { fitted, halvings, row, positives, floor })
}

/// One halving: the policy fitted on half of the groups, and the numbers of the other groups. The
/// parameters are those of [`halve`].
///
/// # Errors
/// As [`halve`].
pub fn fit<'a>(
    recording: &'a Recording,
    sources: &[ScoreSource],
    design: Option<&str>,
    fitted: FittedPolicy,
    seed: u64,
) -> Result<(RecordedPlan<'a>, Vec<usize>), ReplayError> {
    let chain = RecordedPlan::new(recording, sources, design, &[THRESHOLD])?;
    let (fit, tested) = split(&chain, seed);
    let plan = match fitted {
        FittedPolicy::Margin(margin) => {
            let thresholds = thresholds(&chain, &fit, margin)?;
            RecordedPlan::new(recording, sources, design, &thresholds)?
        }
        FittedPolicy::Worth(worth) => planned(&chain, &fit, worth)?,
    };
    Ok((plan, tested))
}

/// What a recording would cost with tests that are never wrong, in GMAC: all first tests, and for
/// each positive log2 M tests that halve its group (the last of them an individual test) and the
/// individual test that flags it.
fn floor(chain: &RecordedPlan) -> Result<f64, ReplayError> {
    let (recording, scores) = (chain.recording(), chain.scores());
    let (first, last) = (scores[0], scores[scores.len() - 1]);
    let positives = recording.items().iter().filter(|item| item.positive).count() as f64;
    let halves = ((first.size as f64).log2() - 1.0).max(0.0);
    let per_positive =
        if scores.len() > 1 { halves * first.cost.retest + 2.0 * last.cost.full } else { 0.0 };
    Ok(first.groups.len() as f64 * first.cost.full + positives * per_positive)
}

/// The numbers of the groups to fit on and of the groups to test on: half of the positive and half
/// of the negative groups each.
fn split(chain: &RecordedPlan, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let groups = &chain.scores()[0].groups;
    let (mut fit, mut tested) = (Vec::new(), Vec::new());
    let mut random = fastrand::Rng::with_seed(seed);
    for side in [true, false] {
        let mut side: Vec<usize> =
            (0..groups.len()).filter(|&g| groups[g].positive == side).collect();
        random.shuffle(&mut side);
        let half = side.len() / 2;
        fit.extend(&side[..half]);
        tested.extend(&side[half..]);
    }
    (fit, tested)
}

/// The scores of source `source` for the blocks of some groups: those of positive blocks and those
/// of negative blocks.
fn samples(chain: &RecordedPlan, groups: &[usize], source: usize) -> (Vec<f32>, Vec<f32>) {
    let scores = chain.scores()[source];
    let blocks = chain.scores()[0].size / scores.size;
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    for group in groups {
        let end = ((group + 1) * blocks).min(scores.groups.len());
        for block in &scores.groups[group * blocks..end] {
            if block.positive { &mut positive } else { &mut negative }.push(block.score);
        }
    }
    (positive, negative)
}

/// The threshold of each size: the lowest score of a positive group of `fit` minus the margin. The
/// individual test keeps its threshold.
fn thresholds(chain: &RecordedPlan, fit: &[usize], margin: f64) -> Result<Vec<f32>, ReplayError> {
    let last = chain.scores().len() - 1;
    let pooled = (0..last).map(|source| {
        let lowest = samples(chain, fit, source).0.into_iter().reduce(f32::min);
        let size = chain.scores()[source].size;
        let lowest = lowest.ok_or(ReplayError::NoPositiveGroup { size })?;
        Ok((1.0 / (1.0 + (margin - log_odds(lowest)).exp())) as f32)
    });
    pooled.chain([Ok(THRESHOLD)]).collect()
}

fn planned<'a>(
    chain: &RecordedPlan<'a>,
    fit: &[usize],
    worth: f64,
) -> Result<RecordedPlan<'a>, ReplayError> {
    let scores = chain.scores();
    let ratio = |source: usize| {
        let (size, (positive, negative)) = (scores[source].size, samples(chain, fit, source));
        let ratio = LikelihoodRatio::from_samples(&positive, &negative);
        ratio.map(|ratio| (size, ratio)).map_err(|source| ReplayError::Fit { size, source })
    };
    let ratios = (0..scores.len()).map(ratio).collect::<Result<Vec<_>, _>>()?;
    let (positive, negative) = samples(chain, fit, scores.len() - 1);
    let prior = positive.len() as f64 / (positive.len() + negative.len()) as f64;
    let sizes: Vec<usize> = scores.iter().map(|s| s.size).collect();
    let plan = Planned::new(&sizes, Evidence::new(ratios)?, costs(chain)?, prior, worth)?;
    Ok(chain.with_plan(Box::new(plan)))
}

/// The costs of tests. A retest costs the layers after the last merge if a larger test of the same
/// design came before, and the whole test if the design is another one.
fn costs(chain: &RecordedPlan) -> Result<TestCosts, CalibrationError> {
    let scores = chain.scores();
    let costs = TestCosts::new(|arity| {
        let at = scores.iter().rposition(|s| s.size >= arity).unwrap_or(0);
        let cached = scores[..at].iter().any(|before| before.design == scores[at].design);
        let TestCost { full, retest } = scores[at].cost;
        TestCost { full, retest: if cached { retest } else { full } }
    });
    Ok(costs?)
}

/// Counts what a plan finds and what it costs on the groups with these numbers.
///
/// # Errors
/// As [`RecordedPlan::replay`]; [`ReplayError::NotRecorded`] if the recording has no individual
/// tests to compare with.
pub fn summarise(
    plan: &RecordedPlan,
    groups: &[usize],
    accounting: Accounting,
) -> Result<Summary, ReplayError> {
    let replayed = plan.replay_groups(groups.iter().copied())?;
    let (items, size) = (plan.recording().items(), plan.scores()[0].size);
    let (mut tested, mut flagged) = (Vec::new(), Vec::new());
    for group in groups {
        let range = group * size..((group + 1) * size).min(items.len());
        tested.extend_from_slice(&items[range.clone()]);
        flagged.extend_from_slice(&replayed.flagged[range]);
    }
    let individual = plan.recording().individual_gmac()? * tested.len() as f64 / items.len() as f64;
    Ok(Summary::new(&tested, &flagged, &replayed.tests, accounting, individual))
}

impl Summary {
    /// Counts of 0.
    fn none() -> Self {
        Summary::new(&[], &[], &[], Accounting::Honest, 0.0)
    }

    /// Adds the counts of other groups.
    fn add(&mut self, other: &Summary) {
        self.positives += other.positives;
        self.found += other.found;
        self.negatives += other.negatives;
        self.false_flags += other.false_flags;
        self.tests += other.tests;
        self.gmac += other.gmac;
        self.individual_gmac += other.individual_gmac;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::{INDIVIDUAL, RecordedGroup, RecordedItem, Scores};

    const SIZES: [usize; 3] = [8, 4, 1];

    /// 800 groups of eight, every tenth with one positive; positives score above 0.9, negatives
    /// below 0.6.
    fn recording() -> Recording {
        let mut random = fastrand::Rng::with_seed(5);
        let items: Vec<RecordedItem> =
            (0..6400).map(|id| RecordedItem { id, positive: id % 80 == id / 80 % 8 }).collect();
        let scores = SIZES.map(|size| {
            let mut score = |positive: bool| {
                if positive { 0.9 + 0.1 * random.f32() } else { 0.6 * random.f32() }
            };
            let positive = |group: &[RecordedItem]| group.iter().any(|item| item.positive);
            let groups = items
                .chunks(size)
                .map(positive)
                .map(|positive| RecordedGroup { score: score(positive), positive })
                .collect();
            let design = if size == 1 { INDIVIDUAL } else { "A" };
            let cost = TestCost { full: 1.0 + 0.1 * (size - 1) as f64, retest: 0.8 };
            Scores { design: design.to_owned(), size, cost, groups }
        });
        Recording::new("made up", items, scores.into()).unwrap()
    }

    fn kinds() -> Vec<ScoreSource> {
        SIZES.map(|size| ScoreSource { design: None, size }).into()
    }

    fn halved(fitted: FittedPolicy, draws: (u64, u64)) -> Halved {
        halve(&recording(), &kinds(), Some("A"), fitted, Accounting::Honest, draws).unwrap()
    }

    #[test]
    fn halves_share_no_group_and_have_equally_many_positive_ones() {
        let recording = recording();
        let chain = RecordedPlan::new(&recording, &kinds(), Some("A"), &[0.5]).unwrap();
        let (fit, tested) = split(&chain, 3);
        let mut all = [&fit[..], &tested[..]].concat();
        all.sort_unstable();
        assert_eq!(all, (0..800).collect::<Vec<_>>());
        for half in [&fit, &tested] {
            assert_eq!(half.iter().filter(|&&g| chain.scores()[0].groups[g].positive).count(), 40);
        }
        assert_eq!(split(&chain, 3).0, fit);
        assert_ne!(split(&chain, 4).0, fit);
    }

    #[test]
    fn samples_are_the_scores_of_the_blocks_of_the_groups() {
        let recording = recording();
        let chain = RecordedPlan::new(&recording, &kinds(), Some("A"), &[0.5]).unwrap();
        // Group 0 has its positive at 0: one positive block of four and one negative block.
        let fours = &chain.scores()[1].groups;
        assert_eq!(samples(&chain, &[0], 1), (vec![fours[0].score], vec![fours[1].score]));
        assert_eq!(samples(&chain, &[799], 2).1.len(), 8);
    }

    #[test]
    fn separate_scores_cost_little_more_than_the_floor() {
        for fitted in [FittedPolicy::Margin(0.5), FittedPolicy::Worth(100.0)] {
            let halved = halved(fitted, (4, 1));
            let s = &halved.row.summary;
            assert_eq!((s.positives, s.negatives), (4 * 40, 4 * (3200 - 40)), "{fitted:?}");
            assert!(s.recall() > 0.99 && s.fpr() < 0.02, "{fitted:?}: {s:?}");
            // 800 first tests of 1.7; per positive two retests of 0.8 and two individual tests.
            assert!(
                (halved.floor - (800.0 * 1.7 + 80.0 * (2.0 * 0.8 + 2.0)) / 6400.0).abs() < 1e-12
            );
            assert!(
                s.relative() > 0.2125 && s.relative() < halved.floor + 0.03,
                "{fitted:?}: {}",
                s.relative()
            );
        }
        assert_eq!(halved(FittedPolicy::Worth(100.0), (1, 1)).row.algorithm, Algorithm::Planned);
    }

    #[test]
    fn the_same_halvings_give_the_same_figures() {
        let run = |seed| halved(FittedPolicy::Worth(50.0), (3, seed));
        assert_eq!(run(1), run(1));
        assert_eq!(run(1).halvings, 3);
    }

    #[test]
    fn an_error_names_why_a_policy_cannot_be_fitted() {
        let draws = (1, 1);
        let run = |recording: &Recording, fitted| {
            halve(recording, &kinds(), Some("A"), fitted, Accounting::Honest, draws)
                .unwrap_err()
                .to_string()
        };
        assert!(run(&recording(), FittedPolicy::Worth(0.0)).contains("worth 0"));
        let items = vec![RecordedItem { id: 0, positive: false }; 8];
        let scores = recording().scores("A", 8).unwrap().clone();
        let of = |size: usize, design: &str| Scores {
            design: design.to_owned(),
            size,
            groups: vec![RecordedGroup { score: 0.1, positive: false }; 8 / size],
            ..scores.clone()
        };
        let none =
            Recording::new("none", items, vec![of(8, "A"), of(4, "A"), of(1, INDIVIDUAL)]).unwrap();
        assert!(
            run(&none, FittedPolicy::Worth(1.0))
                .contains("groups of 8: 0 scores of positive groups")
        );
        assert!(run(&none, FittedPolicy::Margin(1.0)).contains("groups of 8: none is positive"));
    }
}
