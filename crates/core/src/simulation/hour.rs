//! The sums of one simulated hour (pure).

/// The sums of one simulated hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Hour {
    /// The share of positives in the stream's configuration, 0 to 1.
    pub prevalence: f64,
    /// The estimated prevalence at the end of the hour, 0 to 1. `None` without an adaptive planner.
    pub estimate: Option<f64>,
    /// The plan at the end of the hour, in words.
    pub plan: String,
    /// Number of plan changes.
    pub changes: u64,
    /// Number of items.
    pub items: u64,
    /// Number of positives among the items.
    pub positives: u64,
    /// Number of positives that were flagged.
    pub found: u64,
    /// Number of negatives that were flagged.
    pub false_positives: u64,
    /// Number of tests.
    pub tests: u64,
    /// Cost of all items, in the unit of the costs: the stages before the last, and the tests.
    pub cost: f64,
}

impl Hour {
    /// Sums of 0.
    pub(super) fn new(prevalence: f64) -> Self {
        let (plan, estimate, cost) = (String::new(), None, 0.0);
        let (changes, items, positives, found, false_positives, tests) = (0, 0, 0, 0, 0, 0);
        Self {
            prevalence,
            estimate,
            plan,
            changes,
            items,
            positives,
            found,
            false_positives,
            tests,
            cost,
        }
    }

    /// The sums of this hour and the same hour of another stream. The prevalence is the mean
    /// weighted by items. Plan and estimate are left out.
    pub fn with(&self, other: &Self) -> Self {
        let share = self.items as f64 / (self.items + other.items).max(1) as f64;
        Self {
            changes: self.changes + other.changes,
            items: self.items + other.items,
            positives: self.positives + other.positives,
            found: self.found + other.found,
            false_positives: self.false_positives + other.false_positives,
            tests: self.tests + other.tests,
            cost: self.cost + other.cost,
            ..Self::new(share * self.prevalence + (1.0 - share) * other.prevalence)
        }
    }

    /// The share of positives that were flagged, 0 to 1. `None` without positives.
    pub fn recall(&self) -> Option<f64> {
        (self.positives > 0).then(|| self.found as f64 / self.positives as f64)
    }

    /// The cost per item, in the unit of the costs. 0 without items.
    pub fn cost_per_item(&self) -> f64 {
        self.cost / self.items.max(1) as f64
    }
}
