//! A plan of the worker, its tests answered from a recording (pure).

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::{INDIVIDUAL, Recording, ReplayError, Scores, Spent};
use crate::retest::{Ask, Individual, Members, MultiRound, Outcome, Plan, Step, Thresholds};

/// Which scores answer tests of a size: `16` by whichever design is meant, `d2:4` by this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestKind {
    /// The design, if it is said.
    pub design: Option<String>,
    /// Items in a group.
    pub size: usize,
}

impl FromStr for TestKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (design, size) = match text.split_once(':') {
            Some((design, size)) => (Some(design.to_owned()), size),
            None => (None, text),
        };
        let size = size.parse().map_err(|_| format!("`{size}` is no group size; write 4, or d2:4 to name a design"))?;
        Ok(Self { design, size })
    }
}

/// A plan and the recorded scores that answer its tests.
pub struct RecordedPlan<'a> {
    recording: &'a Recording,
    /// By falling size, one a size of the plan.
    scores: Vec<&'a Scores>,
    plan: Box<dyn Plan>,
    thresholds: Thresholds,
}

/// What came of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// By position, whether the item was flagged; the others were cleared.
    pub flagged: Vec<bool>,
    /// The tests, one a size of the plan.
    pub spent: Vec<Spent>,
}

impl<'a> RecordedPlan<'a> {
    /// The chain of sizes `kinds`, from the groups down to 1; `[1]` is individual testing. `design` is meant where a kind names none, but
    /// for size 1, which is [`INDIVIDUAL`]. A test is positive from its threshold on: one for each size, or one for all.
    ///
    /// # Errors
    /// [`ReplayError::Plan`]: the sizes are no chain, a design is missing, or the thresholds are not as many.
    /// [`ReplayError::NotRecorded`]: the recording has no such scores.
    pub fn new(
        recording: &'a Recording,
        kinds: &[TestKind],
        design: Option<&str>,
        thresholds: &[f32],
    ) -> Result<Self, ReplayError> {
        let sizes: Vec<usize> = kinds.iter().map(|kind| kind.size).collect();
        let plan: Box<dyn Plan> = match sizes[..] {
            [1] => Box::new(Individual),
            _ => Box::new(MultiRound::new(&sizes).map_err(ReplayError::Plan)?),
        };
        let scores = kinds.iter().map(|kind| recorded(recording, kind, design)).collect::<Result<_, _>>()?;
        let thresholds = by_arity(&sizes, thresholds)?;
        Ok(Self { recording, scores, plan, thresholds })
    }

    /// The same recorded scores with another plan, which asks for tests of these sizes only; a test of one image is positive from the
    /// threshold of size 1 on, as before.
    pub fn with_plan(&self, plan: Box<dyn Plan>) -> Self {
        Self { recording: self.recording, scores: self.scores.clone(), plan, thresholds: self.thresholds.clone() }
    }

    /// The recording that answers.
    pub fn recording(&self) -> &'a Recording {
        self.recording
    }

    /// The scores that answer, by falling size.
    pub fn scores(&self) -> &[&'a Scores] {
        &self.scores
    }

    /// The plan and what its tests are judged by, for an engine that has the scores from elsewhere.
    pub fn into_parts(self) -> (Box<dyn Plan>, Thresholds) {
        (self.plan, self.thresholds)
    }

    /// What answers a test of exactly the items at these positions, and its score; none if no group of them was recorded.
    pub fn answer(&self, positions: &Range<usize>) -> Option<(&'a Scores, f32)> {
        let (kind, row) = self.find(positions)?;
        Some((self.scores[kind], self.scores[kind].groups[row].score))
    }

    /// Resolves every group of the recording.
    ///
    /// # Errors
    /// [`ReplayError::Plan`]: a test was asked for that is no recorded group, or an item got no verdict.
    pub fn replay(&self) -> Result<Replayed, ReplayError> {
        self.replay_groups(0..self.recording.items().len().div_ceil(self.plan.group_size()))
    }

    /// Resolves some groups, given by their numbers; the items of others are not flagged.
    ///
    /// # Errors
    /// As [`RecordedPlan::replay`].
    pub fn replay_groups(&self, groups: impl IntoIterator<Item = usize>) -> Result<Replayed, ReplayError> {
        let (items, size) = (self.recording.items().len(), self.plan.group_size());
        let spent = self.scores.iter().map(|s| Spent::none(s.cost)).collect();
        let mut replayed = Replayed { flagged: vec![false; items], spent };
        for start in groups.into_iter().map(|group| group * size) {
            self.resolve(start, size.min(items - start), &mut replayed)?;
        }
        Ok(replayed)
    }

    /// Resolves the group of `size` items from position `start` on.
    fn resolve(&self, start: usize, size: usize, replayed: &mut Replayed) -> Result<(), ReplayError> {
        let mut policy = self.plan.policy();
        let (mut step, mut waiting) = (Step::default(), Vec::new());
        let mut cleared = Members::NONE;
        let mut flagged = Members::NONE;
        // For each kind of test, whose features its checkpoint has computed; kinds of one design share the first one's.
        let mut computed = vec![Members::NONE; self.scores.len()];
        policy.start(size, &mut step);
        loop {
            flagged = flagged.union(step.flagged);
            cleared = cleared.union(step.cleared);
            waiting.append(&mut step.tests);
            step.reset();
            // Which of the waiting tests comes first makes no difference: what they could re-use was computed in an earlier round.
            let Some(test) = waiting.pop() else { break };
            let (kind, row) = self.find_test(start, test)?;
            let checkpoint = self.checkpoint(kind);
            count(&mut replayed.spent[kind], test, computed[checkpoint]);
            computed[checkpoint] = computed[checkpoint].union(test.members);
            policy.observe(test, self.outcome(test, kind, row), &mut step);
        }
        if flagged.union(cleared) != Members::first(size) {
            return Err(ReplayError::Plan(format!("a bug: no verdict on some of the {size} items from {start} on")));
        }
        flagged.iter().for_each(|member| replayed.flagged[start + member] = true);
        Ok(())
    }

    /// The kind of test and the recorded group that is exactly the members of `test`.
    fn find_test(&self, start: usize, test: Ask) -> Result<(usize, usize), ReplayError> {
        let first = start + test.members.0.trailing_zeros() as usize;
        let after = start + (u64::BITS - test.members.0.leading_zeros()) as usize;
        let together = after.saturating_sub(first) == test.members.len();
        let found = together.then(|| self.find(&(first..after))).flatten();
        found.ok_or_else(|| {
            ReplayError::Plan(format!(
                "the plan {} asks in round {} for a test of {} items between positions {first} and {}, which is no recorded group: \
                 a recorded group of M starts at a multiple of M, so each size must divide the one before it",
                self,
                test.round,
                test.members.len(),
                after.saturating_sub(1),
            ))
        })
    }

    /// The kind of test and the recorded group that is exactly the items at these positions.
    fn find(&self, positions: &Range<usize>) -> Option<(usize, usize)> {
        let items = self.recording.items().len();
        // Smallest first: a single item at the very end is a test of one image, not a group that was cut short.
        let fits = |s: &&Scores| {
            positions.start.is_multiple_of(s.size) && positions.end == items.min(positions.start + s.size)
        };
        let kind = self.scores.iter().rposition(fits)?;
        Some((kind, positions.start / self.scores[kind].size))
    }

    /// The first kind of the same design.
    fn checkpoint(&self, kind: usize) -> usize {
        self.scores.iter().position(|s| s.design == self.scores[kind].design).unwrap_or(kind)
    }

    fn outcome(&self, test: Ask, kind: usize, row: usize) -> Outcome {
        self.thresholds.outcome(test.members.len(), &[self.scores[kind].groups[row].score])
    }
}

impl fmt::Display for RecordedPlan<'_> {
    /// Such as `D3 16 > 8 > D2 4 > 1`: a design is named where it changes, and at size 1 unless it is the plain network.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.scores[..]
            && only.design == INDIVIDUAL
        {
            return f.write_str(INDIVIDUAL);
        }
        let mut last = INDIVIDUAL;
        for (i, scores) in self.scores.iter().enumerate() {
            let arrow = if i == 0 { "" } else { " > " };
            match scores.design == INDIVIDUAL || (scores.design == last && scores.size > 1) {
                true => write!(f, "{arrow}{}", scores.size)?,
                false => write!(f, "{arrow}{} {}", scores.design, scores.size)?,
            }
            last = &scores.design;
        }
        Ok(())
    }
}

fn recorded<'a>(recording: &'a Recording, kind: &TestKind, design: Option<&str>) -> Result<&'a Scores, ReplayError> {
    let meant = if kind.size == 1 { Some(INDIVIDUAL) } else { design };
    match kind.design.as_deref().or(meant) {
        Some(design) => recording.scores(design, kind.size),
        None => Err(ReplayError::Plan(format!("whose scores answer tests of {0}? Name a design", kind.size))),
    }
}

/// A threshold at every arity: that of the smallest size that holds so many.
fn by_arity(sizes: &[usize], thresholds: &[f32]) -> Result<Thresholds, ReplayError> {
    let threshold = |kind: usize| if thresholds.len() == 1 { thresholds[0] } else { thresholds[kind] };
    if thresholds.len() != 1 && thresholds.len() != sizes.len() {
        let (sizes, given) = (sizes.len(), thresholds.len());
        return Err(ReplayError::Plan(format!("{sizes} sizes need one threshold or {sizes}, not {given}")));
    }
    Ok(Thresholds::new(vec![0], |arity, _| threshold(sizes.iter().rposition(|&s| s >= arity).unwrap_or(0))))
}

fn count(spent: &mut Spent, test: Ask, computed: Members) {
    if test.round == 1 {
        spent.first += 1;
    } else if test.members.without(computed).is_empty() {
        spent.cached += 1;
    } else {
        spent.uncached += 1;
    }
}
