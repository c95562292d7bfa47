//! A plan of the worker whose tests have recorded scores (pure).

use std::fmt;
use std::num::ParseIntError;
use std::ops::Range;
use std::str::FromStr;

use dorfman_core::calibration::Thresholds;
use dorfman_core::cost::TestCount;
use dorfman_core::policy::{Decision, Individual, Members, MultiRound, Outcome, Plan, Round, Test};

use super::{INDIVIDUAL, Recording, ReplayError, Scores};

/// The scores that tests of one size have: `16` by the design of the plan, `d2:4` by the named
/// design.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreSource {
    /// The design. `None`: the design of the plan.
    pub design: Option<String>,
    /// Items per group.
    pub size: usize,
}

/// A text that is not a [`ScoreSource`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a group size; write 4, or d2:4 to name a design")]
pub struct ScoreSourceError {
    /// The text in place of the size.
    pub text: String,
    /// The error.
    pub source: ParseIntError,
}

impl FromStr for ScoreSource {
    type Err = ScoreSourceError;

    fn from_str(text: &str) -> Result<Self, ScoreSourceError> {
        let (design, size) = match text.split_once(':') {
            Some((design, size)) => (Some(design.to_owned()), size),
            None => (None, text),
        };
        let wrong = |source| ScoreSourceError { text: size.to_owned(), source };
        Ok(Self { design, size: size.parse().map_err(wrong)? })
    }
}

/// A plan with the recorded scores of its tests.
pub struct RecordedPlan<'a> {
    recording: &'a Recording,
    /// By falling size, one entry per size of the plan.
    scores: Vec<&'a Scores>,
    plan: Box<dyn Plan>,
    thresholds: Thresholds,
}

/// The result of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// By position, whether the item was flagged. All other items were cleared.
    pub flagged: Vec<bool>,
    /// The tests, one entry per size of the plan.
    pub tests: Vec<TestCount>,
}

impl<'a> RecordedPlan<'a> {
    /// A chain with the sizes of `sources`, from the group size down to 1; `[1]` is individual
    /// testing. A source without a design has the scores of `design`, except at size 1, where it
    /// has those of [`INDIVIDUAL`]. A test is positive from its threshold (0 to 1) on. There is one
    /// threshold per size, or one for all.
    ///
    /// # Errors
    /// [`ReplayError`] if the sizes are not a chain, if a design is missing, if the number of
    /// thresholds is wrong, or if the recording has no such scores.
    pub fn new(
        recording: &'a Recording,
        sources: &[ScoreSource],
        design: Option<&str>,
        thresholds: &[f32],
    ) -> Result<Self, ReplayError> {
        let sizes: Vec<usize> = sources.iter().map(|source| source.size).collect();
        let plan: Box<dyn Plan> = match sizes[..] {
            [1] => Box::new(Individual),
            _ => Box::new(MultiRound::new(&sizes)?),
        };
        let scores = sources.iter().map(|source| recorded(recording, source, design));
        let scores = scores.collect::<Result<_, _>>()?;
        let thresholds = by_arity(&sizes, thresholds)?;
        Ok(Self { recording, scores, plan, thresholds })
    }

    /// The same recorded scores with another plan, which may request only tests of these sizes. An
    /// individual test is still positive from the threshold of size 1 on.
    pub fn with_plan(&self, plan: Box<dyn Plan>) -> Self {
        let (scores, thresholds) = (self.scores.clone(), self.thresholds.clone());
        Self { recording: self.recording, scores, plan, thresholds }
    }

    /// The recording.
    pub fn recording(&self) -> &'a Recording {
        self.recording
    }

    /// The scores of the tests, by falling size.
    pub fn scores(&self) -> &[&'a Scores] {
        &self.scores
    }

    /// The plan and the thresholds of its tests, for an engine that has the scores from elsewhere.
    pub fn into_parts(self) -> (Box<dyn Plan>, Thresholds) {
        (self.plan, self.thresholds)
    }

    /// The recorded score of a test of exactly the items at these positions. `None` if no such
    /// group was recorded.
    pub fn score(&self, positions: &Range<usize>) -> Option<f32> {
        let (source, group) = self.find(positions)?;
        Some(self.scores[source].groups[group].score)
    }

    /// Resolves every group of the recording.
    ///
    /// # Errors
    /// [`ReplayError::NoSuchGroup`] if the plan requests a test that is not a recorded group.
    pub fn replay(&self) -> Result<Replayed, ReplayError> {
        self.replay_groups(0..self.recording.items().len().div_ceil(self.plan.group_size()))
    }

    /// Resolves the groups with these numbers. The items of other groups are not flagged.
    ///
    /// # Errors
    /// As [`RecordedPlan::replay`].
    pub fn replay_groups(
        &self,
        groups: impl IntoIterator<Item = usize>,
    ) -> Result<Replayed, ReplayError> {
        let (items, size) = (self.recording.items().len(), self.plan.group_size());
        let tests = self.scores.iter().map(|s| TestCount::none(s.cost)).collect();
        let mut replayed = Replayed { flagged: vec![false; items], tests };
        for start in groups.into_iter().map(|group| group * size) {
            self.resolve(start, size.min(items - start), &mut replayed)?;
        }
        Ok(replayed)
    }

    /// Resolves the group of `size` items from position `start` on.
    fn resolve(
        &self,
        start: usize,
        size: usize,
        replayed: &mut Replayed,
    ) -> Result<(), ReplayError> {
        let mut policy = self.plan.policy();
        let (mut decision, mut waiting) = (Decision::default(), Vec::new());
        let (mut flagged, mut cleared) = (Members::NONE, Members::NONE);
        // By source: the members whose features its checkpoint has computed. Sources with the same
        // design share the entry of the first one.
        let mut computed = vec![Members::NONE; self.scores.len()];
        policy.start(size, &mut decision);
        loop {
            flagged = flagged.union(decision.flagged);
            cleared = cleared.union(decision.cleared);
            waiting.append(&mut decision.tests);
            decision.reset();
            // The order of the waiting tests makes no difference: the features that they could
            // reuse were computed in an earlier round.
            let Some(test) = waiting.pop() else { break };
            let (source, group) = self.find_test(start, test)?;
            let checkpoint = self.checkpoint(source);
            count(&mut replayed.tests[source], test, computed[checkpoint]);
            computed[checkpoint] = computed[checkpoint].union(test.members);
            policy.observe(test, self.outcome(test, source, group), &mut decision);
        }
        if flagged.union(cleared) != Members::first(size) {
            return Err(ReplayError::NoVerdict { size, start });
        }
        flagged.iter().for_each(|member| replayed.flagged[start + member] = true);
        Ok(())
    }

    /// The source, and the recorded group that has exactly the members of `test`.
    fn find_test(&self, start: usize, test: Test) -> Result<(usize, usize), ReplayError> {
        let first = start + test.members.0.trailing_zeros() as usize;
        let after = start + (u64::BITS - test.members.0.leading_zeros()) as usize;
        let adjacent = after.saturating_sub(first) == test.members.len();
        let found = if adjacent { self.find(&(first..after)) } else { None };
        found.ok_or_else(|| ReplayError::NoSuchGroup {
            plan: self.to_string(),
            round: test.round.number().unwrap_or_default(),
            items: test.members.len(),
            first,
            last: after.saturating_sub(1),
        })
    }

    /// The source, and the recorded group that has exactly the items at these positions.
    fn find(&self, positions: &Range<usize>) -> Option<(usize, usize)> {
        let items = self.recording.items().len();
        // Smallest first: a single item at the very end is an individual test, not a group that was
        // cut short.
        let fits = |s: &&Scores| {
            positions.start.is_multiple_of(s.size)
                && positions.end == items.min(positions.start + s.size)
        };
        let source = self.scores.iter().rposition(fits)?;
        Some((source, positions.start / self.scores[source].size))
    }

    /// The first source with the same design.
    fn checkpoint(&self, source: usize) -> usize {
        let design = &self.scores[source].design;
        self.scores.iter().position(|s| s.design == *design).unwrap_or(source)
    }

    fn outcome(&self, test: Test, source: usize, group: usize) -> Outcome {
        self.thresholds.outcome(test.members.len(), &[self.scores[source].groups[group].score])
    }
}

impl fmt::Display for RecordedPlan<'_> {
    /// Such as `D3 16 > 8 > D2 4 > 1`. A design is named where it changes, and at size 1 unless it
    /// is the plain network.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.scores[..]
            && only.design == INDIVIDUAL
        {
            return f.write_str(INDIVIDUAL);
        }
        let mut last = INDIVIDUAL;
        for (i, scores) in self.scores.iter().enumerate() {
            let arrow = if i == 0 { "" } else { " > " };
            let same = scores.design == last && scores.size > 1;
            if scores.design == INDIVIDUAL || same {
                write!(f, "{arrow}{}", scores.size)?;
            } else {
                write!(f, "{arrow}{} {}", scores.design, scores.size)?;
            }
            last = &scores.design;
        }
        Ok(())
    }
}

fn recorded<'a>(
    recording: &'a Recording,
    source: &ScoreSource,
    design: Option<&str>,
) -> Result<&'a Scores, ReplayError> {
    let default = if source.size == 1 { Some(INDIVIDUAL) } else { design };
    match source.design.as_deref().or(default) {
        Some(design) => recording.scores(design, source.size),
        None => Err(ReplayError::NoDesign { size: source.size }),
    }
}

/// A threshold for every arity: that of the smallest size that is at least the arity.
fn by_arity(sizes: &[usize], thresholds: &[f32]) -> Result<Thresholds, ReplayError> {
    if thresholds.len() != 1 && thresholds.len() != sizes.len() {
        let (sizes, thresholds) = (sizes.len(), thresholds.len());
        return Err(ReplayError::Thresholds { sizes, thresholds });
    }
    let of_source = |source: usize| thresholds[source.min(thresholds.len() - 1)];
    let source = |arity| sizes.iter().rposition(|&size| size >= arity).unwrap_or(0);
    Ok(Thresholds::new(vec![0], |arity, _| of_source(source(arity))))
}

fn count(tests: &mut TestCount, test: Test, computed: Members) {
    if test.round == Round::FIRST {
        tests.first += 1;
    } else if test.members.without(computed).is_empty() {
        tests.cached += 1;
    } else {
        tests.uncached += 1;
    }
}
