//! What there is to know of a network and its stream, before any of it is seen.

use super::{Answers, Costs, Evidence};

/// What the policies that look ahead rest on.
#[derive(Debug, Clone)]
pub struct Knowledge {
    /// What scores say, or why they can't be taken as evidence.
    pub evidence: Result<Evidence, String>,
    /// How tests of every calibrated size answer.
    pub answers: Answers,
    /// What tests cost.
    pub costs: Costs,
    /// Share of positives among the items.
    pub prior: f64,
}
