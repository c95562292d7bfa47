//! The result of a replay (pure).

use dorfman_core::cost::{Accounting, TestCount};

use super::{INDIVIDUAL, RecordedItem, RecordedPlan, ReplayError, Replayed};

/// How positive groups are resolved. The paper numbers its algorithms from 1 to 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Every image alone.
    Individual,
    /// Algorithm 1: a positive group's members one by one.
    TwoRound,
    /// Algorithm 2: smaller groups in between.
    MultiRound,
    /// Algorithm 3: each image in two groups, no retests.
    OneRound,
    /// Scores as evidence ([`dorfman_core::policy::Planned`]). The paper has no such algorithm.
    Planned,
}

/// Counts and costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Positives among the items.
    pub positives: u64,
    /// Positives that were flagged.
    pub found: u64,
    /// Negatives among the items.
    pub negatives: u64,
    /// Negatives that were flagged.
    pub false_flags: u64,
    /// Tests of any size.
    pub tests: u64,
    /// The cost of the tests, in GMAC (10^9 multiply-adds).
    pub gmac: f64,
    /// The cost of testing every item alone, in GMAC.
    pub individual_gmac: f64,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayRow {
    /// How positive groups are resolved.
    pub algorithm: Algorithm,
    /// The design of the groups' network. `None` for the plain network.
    pub design: Option<String>,
    /// Items per group.
    pub size: usize,
    /// The plan in words.
    pub plan: String,
    /// Counts and costs.
    pub summary: Summary,
}

impl Summary {
    /// Sums up flags by position, and tests.
    pub fn new(
        items: &[RecordedItem],
        flagged: &[bool],
        tests: &[TestCount],
        accounting: Accounting,
        individual_gmac: f64,
    ) -> Self {
        let verdicts = || items.iter().map(|item| item.positive).zip(flagged.iter().copied());
        let count =
            |of: &dyn Fn((bool, bool)) -> bool| verdicts().filter(|&v| of(v)).count() as u64;
        Self {
            positives: count(&|(positive, _)| positive),
            found: count(&|(positive, flagged)| positive && flagged),
            negatives: count(&|(positive, _)| !positive),
            false_flags: count(&|(positive, flagged)| !positive && flagged),
            tests: tests.iter().map(TestCount::tests).sum(),
            gmac: tests.iter().map(|count| count.total(accounting)).sum(),
            individual_gmac,
        }
    }

    /// The share of positives that were flagged, 0 to 1. NaN without positives.
    pub fn recall(&self) -> f64 {
        self.found as f64 / self.positives as f64
    }

    /// The share of negatives that were flagged, 0 to 1. NaN without negatives.
    pub fn fpr(&self) -> f64 {
        self.false_flags as f64 / self.negatives as f64
    }

    /// The cost of the tests, in TMAC (10^12 multiply-adds).
    pub fn tmac(&self) -> f64 {
        self.gmac / 1e3
    }

    /// The cost of the tests relative to testing every item alone.
    pub fn relative(&self) -> f64 {
        self.gmac / self.individual_gmac
    }
}

impl ReplayRow {
    /// Replays a plan.
    ///
    /// # Errors
    /// As [`RecordedPlan::replay`]; [`ReplayError::NotRecorded`] if the recording has no individual
    /// tests to compare with.
    pub fn replay(plan: &RecordedPlan, accounting: Accounting) -> Result<Self, ReplayError> {
        let (recording, replayed) = (plan.recording(), plan.replay()?);
        let individual = recording.individual_gmac()?;
        let Replayed { flagged, tests } = &replayed;
        let summary = Summary::new(recording.items(), flagged, tests, accounting, individual);
        Ok(Self::of_chain(plan, summary))
    }

    /// The row of a chain with known counts.
    pub(super) fn of_chain(plan: &RecordedPlan, summary: Summary) -> Self {
        let first = plan.scores()[0];
        let algorithm = match plan.scores().len() {
            1 => Algorithm::Individual,
            2 => Algorithm::TwoRound,
            _ => Algorithm::MultiRound,
        };
        let design = (first.design != INDIVIDUAL).then(|| first.design.clone());
        Self { algorithm, design, size: first.size, plan: plan.to_string(), summary }
    }
}
