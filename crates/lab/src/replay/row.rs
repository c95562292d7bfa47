//! What a replay comes to (pure).

use super::{Accounting, INDIVIDUAL, Item, RecordedPlan, ReplayError, Spent};

/// How positive groups are resolved, in the paper's words.
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
    /// No algorithm of the paper: scores are evidence ([`crate::retest::Planned`]).
    Planned,
}

/// Counts and costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Positives among the items.
    pub positives: u64,
    /// Those of them that were flagged.
    pub found: u64,
    /// Negatives among the items.
    pub negatives: u64,
    /// Those of them that were flagged.
    pub false_flags: u64,
    /// Tests of any size.
    pub tests: u64,
    /// What the tests cost, in GMAC.
    pub gmac: f64,
    /// What testing every item alone costs, in GMAC.
    pub individual_gmac: f64,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// How positive groups are resolved.
    pub algorithm: Algorithm,
    /// The design of the groups' network; none for the plain one.
    pub design: Option<String>,
    /// Items in a group.
    pub size: usize,
    /// The plan in words.
    pub plan: String,
    /// Counts and costs.
    pub summary: Summary,
}

impl Summary {
    /// Sums up flags by position, and tests.
    pub fn new(
        items: &[Item],
        flagged: &[bool],
        spent: &[Spent],
        accounting: Accounting,
        individual_gmac: f64,
    ) -> Self {
        let count = |side: bool, flags: bool| {
            let counted = items.iter().zip(flagged).filter(|(item, flag)| item.positive == side && (**flag || !flags));
            counted.count() as u64
        };
        Self {
            positives: count(true, false),
            found: count(true, true),
            negatives: count(false, false),
            false_flags: count(false, true),
            tests: spent.iter().map(Spent::tests).sum(),
            gmac: spent.iter().map(|s| s.gmac(accounting)).sum(),
            individual_gmac,
        }
    }

    /// Share of the positives that were flagged; not a number if there are none.
    pub fn recall(&self) -> f64 {
        self.found as f64 / self.positives as f64
    }

    /// Share of the negatives that were flagged; not a number if there are none.
    pub fn fpr(&self) -> f64 {
        self.false_flags as f64 / self.negatives as f64
    }

    /// What the tests cost, in TMAC (10^12 multiply-adds).
    pub fn tmac(&self) -> f64 {
        self.gmac / 1e3
    }

    /// What the tests cost over testing every item alone.
    pub fn relative(&self) -> f64 {
        self.gmac / self.individual_gmac
    }
}

impl Row {
    /// Replays a plan.
    ///
    /// # Errors
    /// As [`RecordedPlan::replay`]; [`ReplayError::NotRecorded`] if the recording has no individual tests to compare with.
    pub fn replay(plan: &RecordedPlan, accounting: Accounting) -> Result<Self, ReplayError> {
        let (recording, replayed) = (plan.recording(), plan.replay()?);
        let individual = recording.individual_gmac()?;
        let summary = Summary::new(recording.items(), &replayed.flagged, &replayed.spent, accounting, individual);
        Ok(Self::of(plan, summary))
    }

    /// The row of a chain of which the counts are known.
    pub(super) fn of(plan: &RecordedPlan, summary: Summary) -> Self {
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
