//! A policy fitted on one half of a recording and judged on the other, many times (pure).
//!
//! Positive groups and negative ones are halved by chance. All that a policy needs to know of scores and of prevalence comes from the first
//! half; what it finds and costs is counted on the second, which it has not seen.

use super::{Accounting, Algorithm, RecordedPlan, Recording, ReplayError, Row, Summary, TestKind};
use crate::retest::{Cost, Costs, Evidence, Planned, Ratio, log_odds};

/// Individual tests are positive from here on.
const THRESHOLD: f32 = 0.5;

/// What is halved if nothing else is asked for: prevalence in per cent, design and sizes of tests, in the first order of the items.
pub const HALVED: [(f64, &str, &[usize]); 4] = [
    (0.1, "D3", &[16, 8, 4, 1]),
    (0.1, "D2", &[16, 8, 4, 2, 1]),
    (0.05, "D3", &[16, 8, 4, 1]),
    (0.05, "D2", &[16, 8, 4, 2, 1]),
];

/// A policy to fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fitted {
    /// A chain of thresholds: at each size the least score of a positive group, less a margin of so much log odds.
    Margin(f64),
    /// [`Planned`]: what a positive is worth, in individual tests.
    Worth(f64),
}

/// The mean over all halvings.
#[derive(Debug, Clone, PartialEq)]
pub struct Halved {
    /// The policy.
    pub fitted: Fitted,
    /// How many halvings.
    pub halvings: u64,
    /// The plan in words, and sums over the judged halves of all halvings: shares of them are means.
    pub row: Row,
    /// Different positives in the recording, each of which about half of the halvings judge.
    pub positives: u64,
    /// What the same groups would cost if all tests were right, over individual testing.
    pub floor: f64,
}

impl Halved {
    /// The sums over the halves as means over halvings: tests and GMAC of a judged half.
    pub fn per_halving(&self) -> (f64, f64) {
        let n = self.halvings.max(1) as f64;
        (self.row.summary.tests as f64 / n, self.row.summary.gmac / n)
    }
}

/// Fits a policy on half of the groups and judges it on the others, `halvings` times; `seed` says which halves. `kinds` are the sizes of
/// tests from the groups down to 1, answered by `design` where they name none.
///
/// # Errors
/// As [`RecordedPlan::new`]; [`ReplayError::Plan`] if a half has too few groups to fit anything.
pub fn halve(
    recording: &Recording,
    kinds: &[TestKind],
    design: Option<&str>,
    fitted: Fitted,
    accounting: Accounting,
    (halvings, seed): (u64, u64),
) -> Result<Halved, ReplayError> {
    // At any threshold: the chain's sizes and scores are checked, and words for it found, before anything is fitted.
    let chain = RecordedPlan::new(recording, kinds, design, &[THRESHOLD])?;
    let mut row = Row::of(&chain, Summary::none());
    if let Fitted::Worth(_) = fitted {
        row.algorithm = Algorithm::Planned;
    }
    for halving in 0..halvings {
        let (plan, judged) = fit(recording, kinds, design, fitted, seed.wrapping_add(halving))?;
        row.summary.add(&judge(&plan, &judged, accounting)?);
    }
    let positives = recording.items().iter().filter(|item| item.positive).count() as u64;
    let (gmac, individual) = floor(&chain)?;
    Ok(Halved { fitted, halvings, row, positives, floor: gmac / individual })
}

/// One halving: the policy fitted on half of the groups, and the numbers of the others; else as [`halve`].
///
/// # Errors
/// As [`halve`].
pub fn fit<'a>(
    recording: &'a Recording,
    kinds: &[TestKind],
    design: Option<&str>,
    fitted: Fitted,
    seed: u64,
) -> Result<(RecordedPlan<'a>, Vec<usize>), ReplayError> {
    let chain = RecordedPlan::new(recording, kinds, design, &[THRESHOLD])?;
    let (fit, judged) = halves(&chain, seed);
    let plan = match fitted {
        Fitted::Margin(margin) => with_margin(&chain, &fit, margin, kinds, design)?,
        Fitted::Worth(worth) => planned(&chain, &fit, worth)?,
    };
    Ok((plan, judged))
}

/// What a recording would cost with tests that are right, and what testing every item alone costs, in GMAC: all first tests; and for each
/// positive log2 M tests that halve its group, the last of them of one image, and the test that confirms it.
fn floor(chain: &RecordedPlan) -> Result<(f64, f64), ReplayError> {
    let (recording, scores) = (chain.recording(), chain.scores());
    let (first, last) = (scores[0], scores[scores.len() - 1]);
    let positives = recording.items().iter().filter(|item| item.positive).count() as f64;
    let halves = ((first.size as f64).log2() - 1.0).max(0.0);
    let found = if scores.len() > 1 { halves * first.cost.retest + 2.0 * last.cost.full } else { 0.0 };
    let gmac = first.groups.len() as f64 * first.cost.full + positives * found;
    Ok((gmac, recording.individual_gmac()?))
}

/// The numbers of the groups to fit on and of those to judge on: half of the positive and half of the negative ones each.
fn halves(chain: &RecordedPlan, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let groups = &chain.scores()[0].groups;
    let (mut fit, mut judged) = (Vec::new(), Vec::new());
    let mut random = fastrand::Rng::with_seed(seed);
    for side in [true, false] {
        let mut side: Vec<usize> = (0..groups.len()).filter(|&g| groups[g].positive == side).collect();
        random.shuffle(&mut side);
        let half = side.len() / 2;
        fit.extend(&side[..half]);
        judged.extend(&side[half..]);
    }
    (fit, judged)
}

/// The scores of kind `kind` for the parts of some groups: of positive and of negative parts.
fn samples(chain: &RecordedPlan, groups: &[usize], kind: usize) -> (Vec<f32>, Vec<f32>) {
    let (scores, parts) = (chain.scores()[kind], chain.scores()[0].size / chain.scores()[kind].size);
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    for group in groups {
        let end = ((group + 1) * parts).min(scores.groups.len());
        for part in &scores.groups[group * parts..end] {
            if part.positive { &mut positive } else { &mut negative }.push(part.score);
        }
    }
    (positive, negative)
}

fn with_margin<'a>(
    chain: &RecordedPlan<'a>,
    fit: &[usize],
    margin: f64,
    kinds: &[TestKind],
    design: Option<&str>,
) -> Result<RecordedPlan<'a>, ReplayError> {
    let last = chain.scores().len() - 1;
    let threshold = |kind: usize| {
        if kind == last {
            return Ok(THRESHOLD);
        }
        let least = samples(chain, fit, kind).0.into_iter().reduce(f32::min).ok_or_else(|| {
            ReplayError::Plan(format!(
                "groups of {}: none is positive to fit a threshold on",
                chain.scores()[kind].size
            ))
        })?;
        Ok((1.0 / (1.0 + (margin - log_odds(least)).exp())) as f32)
    };
    let thresholds: Vec<f32> = (0..=last).map(threshold).collect::<Result<_, ReplayError>>()?;
    RecordedPlan::new(chain.recording(), kinds, design, &thresholds)
}

fn planned<'a>(chain: &RecordedPlan<'a>, fit: &[usize], worth: f64) -> Result<RecordedPlan<'a>, ReplayError> {
    let scores = chain.scores();
    let ratio = |kind: usize| {
        let (positive, negative) = samples(chain, fit, kind);
        let ratio = Ratio::from_samples(&positive, &negative);
        ratio.map(|ratio| (scores[kind].size, ratio)).map_err(|what| format!("groups of {}: {what}", scores[kind].size))
    };
    let (positive, negative) = samples(chain, fit, scores.len() - 1);
    let prior = positive.len() as f64 / (positive.len() + negative.len()) as f64;
    let plan = (0..scores.len()).map(ratio).collect::<Result<Vec<_>, _>>().and_then(Evidence::new);
    let sizes: Vec<usize> = scores.iter().map(|s| s.size).collect();
    let plan = plan.and_then(|evidence| Planned::new(&sizes, evidence, costs(chain)?, prior, worth));
    Ok(chain.with_plan(Box::new(plan.map_err(ReplayError::Plan)?)))
}

/// A retest costs its head where the design has seen the group, and the whole test where another design answers.
fn costs(chain: &RecordedPlan) -> Result<Costs, String> {
    let scores = chain.scores();
    Costs::new(|arity| {
        let at = scores.iter().rposition(|s| s.size >= arity).unwrap_or(0);
        let seen = scores[..at].iter().any(|before| before.design == scores[at].design);
        let cost = scores[at].cost;
        Cost { full: cost.full, cached: if seen { cost.retest } else { cost.full } }
    })
}

/// Counts what a plan finds and spends on some groups, given by their numbers.
///
/// # Errors
/// As [`RecordedPlan::replay`]; [`ReplayError::NotRecorded`] if the recording has no individual tests to compare with.
pub fn judge(plan: &RecordedPlan, groups: &[usize], accounting: Accounting) -> Result<Summary, ReplayError> {
    let replayed = plan.replay_groups(groups.iter().copied())?;
    let (items, size) = (plan.recording().items(), plan.scores()[0].size);
    let (mut judged, mut flagged) = (Vec::new(), Vec::new());
    for group in groups {
        let range = group * size..((group + 1) * size).min(items.len());
        judged.extend_from_slice(&items[range.clone()]);
        flagged.extend_from_slice(&replayed.flagged[range]);
    }
    let individual = plan.recording().individual_gmac()? * judged.len() as f64 / items.len() as f64;
    Ok(Summary::new(&judged, &flagged, &replayed.spent, accounting, individual))
}

impl Summary {
    /// Nothing counted yet.
    fn none() -> Self {
        Summary::new(&[], &[], &[], Accounting::Honest, 0.0)
    }

    /// Adds what was counted elsewhere.
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
    use crate::replay::{Group, INDIVIDUAL, Item, Scores, TestCost};

    const SIZES: [usize; 3] = [8, 4, 1];

    /// 800 groups of eight, every tenth with one positive; positives score above 0.9, negatives below 0.6.
    fn recording() -> Recording {
        let mut random = fastrand::Rng::with_seed(5);
        let items: Vec<Item> = (0..6400).map(|id| Item { id, positive: id % 80 == id / 80 % 8 }).collect();
        let scores = SIZES.map(|size| {
            let mut score = |positive: bool| if positive { 0.9 + 0.1 * random.f32() } else { 0.6 * random.f32() };
            let positive = |group: &[Item]| group.iter().any(|item| item.positive);
            let groups =
                items.chunks(size).map(positive).map(|positive| Group { score: score(positive), positive }).collect();
            let design = if size == 1 { INDIVIDUAL } else { "A" };
            let cost = TestCost { full: 1.0 + 0.1 * (size - 1) as f64, retest: 0.8 };
            Scores { design: design.to_owned(), size, cost, groups }
        });
        Recording::new("made up", items, scores.into()).unwrap()
    }

    fn kinds() -> Vec<TestKind> {
        SIZES.map(|size| TestKind { design: None, size }).into()
    }

    fn halved(fitted: Fitted, draws: (u64, u64)) -> Halved {
        halve(&recording(), &kinds(), Some("A"), fitted, Accounting::Honest, draws).unwrap()
    }

    #[test]
    fn halves_share_no_group_and_have_positives_alike() {
        let recording = recording();
        let chain = RecordedPlan::new(&recording, &kinds(), Some("A"), &[0.5]).unwrap();
        let (fit, judged) = halves(&chain, 3);
        let mut all = [&fit[..], &judged[..]].concat();
        all.sort_unstable();
        assert_eq!(all, (0..800).collect::<Vec<_>>());
        for half in [&fit, &judged] {
            assert_eq!(half.iter().filter(|&&g| chain.scores()[0].groups[g].positive).count(), 40);
        }
        assert_eq!(halves(&chain, 3).0, fit);
        assert_ne!(halves(&chain, 4).0, fit);
    }

    #[test]
    fn samples_are_the_parts_of_the_groups() {
        let recording = recording();
        let chain = RecordedPlan::new(&recording, &kinds(), Some("A"), &[0.5]).unwrap();
        // Group 0 has its positive at 0, so one positive four and one negative.
        let fours = &chain.scores()[1].groups;
        assert_eq!(samples(&chain, &[0], 1), (vec![fours[0].score], vec![fours[1].score]));
        assert_eq!(samples(&chain, &[799], 2).1.len(), 8);
    }

    #[test]
    fn scores_apart_are_told_apart_at_little_more_than_the_floor() {
        for fitted in [Fitted::Margin(0.5), Fitted::Worth(100.0)] {
            let halved = halved(fitted, (4, 1));
            let s = &halved.row.summary;
            assert_eq!((s.positives, s.negatives), (4 * 40, 4 * (3200 - 40)), "{fitted:?}");
            assert!(s.recall() > 0.99 && s.fpr() < 0.02, "{fitted:?}: {s:?}");
            // 800 first tests of 1.7, 80 positives with two retests, a single test and the flag's own, over 6400.
            assert!((halved.floor - (800.0 * 1.7 + 80.0 * (2.0 * 0.8 + 2.0)) / 6400.0).abs() < 1e-12);
            assert!(s.relative() > 0.2125 && s.relative() < halved.floor + 0.03, "{fitted:?}: {}", s.relative());
        }
        assert_eq!(halved(Fitted::Worth(100.0), (1, 1)).row.algorithm, Algorithm::Planned);
    }

    #[test]
    fn the_same_halvings_give_the_same_figures() {
        let run = |seed| halved(Fitted::Worth(50.0), (3, seed));
        assert_eq!(run(1), run(1));
        assert_eq!(run(1).halvings, 3);
    }

    #[test]
    fn what_can_not_be_fitted_says_why() {
        let draws = (1, 1);
        let run = |recording: &Recording, fitted| {
            halve(recording, &kinds(), Some("A"), fitted, Accounting::Honest, draws).unwrap_err().to_string()
        };
        assert!(run(&recording(), Fitted::Worth(0.0)).contains("worth 0"));
        let items = vec![Item { id: 0, positive: false }; 8];
        let scores = recording().scores("A", 8).unwrap().clone();
        let of = |size: usize, design: &str| Scores {
            design: design.to_owned(),
            size,
            groups: vec![Group { score: 0.1, positive: false }; 8 / size],
            ..scores.clone()
        };
        let none = Recording::new("none", items, vec![of(8, "A"), of(4, "A"), of(1, INDIVIDUAL)]).unwrap();
        assert!(run(&none, Fitted::Worth(1.0)).contains("groups of 8: 0 scores of positive groups"));
        assert!(run(&none, Fitted::Margin(1.0)).contains("groups of 8: none is positive"));
    }
}
