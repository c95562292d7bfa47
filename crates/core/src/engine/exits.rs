//! Early exits: which items leave the network after an item level, and what becomes of the others.

use fastrand::Rng;

use super::engine::{Engine, EngineError};
use super::item::{ItemId, Verdict};
use super::network::{Network, NetworkPart};
use crate::calibration::{LikelihoodRatio, Thresholds, posterior};

/// What the early exit of one level does with an item. The default clears no item and says nothing
/// about its risk.
#[derive(Debug, Clone, Default)]
pub struct ExitRule {
    /// The exit clears an item if the score of every positive label is below its threshold at arity
    /// 1. `None`: the exit is not used.
    pub thresholds: Option<Thresholds>,
    /// The score column of the positive label, and the likelihood ratio of its scores: the odds
    /// that the item is positive are its prior odds times this ratio. `None`: the exit does not
    /// change the risk of an item.
    pub evidence: Option<(usize, LikelihoodRatio)>,
}

impl ExitRule {
    /// Whether the exit clears an item with `scores`, one per column: `[labels]`. A score that is
    /// not a number never clears an item.
    pub fn clears(&self, scores: &[f32]) -> bool {
        self.thresholds.as_ref().is_some_and(|t| !t.outcome(1, scores).positive)
    }

    /// The risk of an item with `prior` risk, given the exit's `scores`, one per column:
    /// `[labels]`. `None` without evidence.
    pub fn risk(&self, prior: f32, scores: &[f32]) -> Option<f32> {
        let (column, ratio) = self.evidence.as_ref()?;
        Some(posterior(f64::from(prior), ratio.log(scores[*column])) as f32)
    }

    /// The score that a verdict of this exit reports: that of the positive label nearest to its
    /// threshold.
    pub(crate) fn score(&self, scores: &[f32]) -> f32 {
        self.thresholds.as_ref().map_or(f32::NAN, |t| t.outcome(1, scores).score)
    }
}

/// Chooses the items that are audited: tested alone although an exit would clear them.
#[derive(Debug, Clone)]
pub struct AuditSampler {
    fraction: f64,
    random: Rng,
}

impl AuditSampler {
    /// Chooses each item independently with probability `fraction`, 0 to 1.
    pub fn new(fraction: f64, seed: u64) -> Self {
        Self { fraction, random: Rng::with_seed(seed) }
    }

    /// Whether the next item is audited.
    pub fn chooses(&mut self) -> bool {
        self.fraction > 0.0 && self.random.f64() < self.fraction
    }
}

impl<N: Network, T> Engine<N, T> {
    /// Decides what becomes of an item whose slot of item level `level` is computed. `scores` are
    /// those of the level's exit, `[labels]`, or empty without an exit.
    pub(super) fn leave_level(
        &mut self,
        id: ItemId,
        level: usize,
        scores: &[f32],
    ) -> Result<(), EngineError> {
        if !scores.is_empty() && self.flight.items[id].exit.is_none() {
            if self.exit_clears(id, level, scores) {
                self.clear_at_exit(id);
                return Ok(());
            }
            let prior = self.pool_rule.risk(self.flight.items[id].prior.risk);
            if let Some(risk) = self.exits[level].risk(prior, scores) {
                self.flight.items[id].risk = Some(risk);
            }
        }
        if level < self.network().shape().item_top() {
            self.scheduler.add_refinement(level + 1, id);
            return Ok(());
        }
        self.item_stages -= 1;
        self.before_flush -= usize::from(self.flight.items[id].sequence < self.flush_mark);
        if self.flight.items[id].exit.is_some() {
            return self.audit_alone(id);
        }
        self.pool(id)
    }

    /// Whether the exit of `level` clears an item. An item that is audited is not cleared: it is
    /// marked, and no later exit clears it.
    fn exit_clears(&mut self, id: ItemId, level: usize, scores: &[f32]) -> bool {
        let rule = &self.exits[level];
        if rule.thresholds.is_none() {
            return false;
        }
        self.stats.exits[level].scored += 1;
        if !rule.clears(scores) {
            return false;
        }
        self.stats.exits[level].cleared += 1;
        let item = &mut self.flight.items[id];
        item.exit = Some(NetworkPart::Stage(level));
        item.score = rule.score(scores);
        item.arity = 1;
        !self.exit_audits.chooses()
    }

    /// Gives an item the verdict of its exit, and frees its slot.
    fn clear_at_exit(&mut self, id: ItemId) {
        let mut item = self.flight.items.remove(id);
        self.item_stages -= 1;
        self.before_flush -= usize::from(item.sequence < self.flush_mark);
        if let Some(slot) = item.slot.take() {
            self.scheduler.free_slot(item.level, slot);
        }
        self.stats.decided += 1;
        self.finish(item, Verdict::Cleared, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_clears_below_every_threshold_and_never_a_score_that_is_not_a_number() {
        let thresholds = Thresholds::new(vec![0, 1], |_, label| [0.1, 0.3][label]);
        let rule = ExitRule { thresholds: Some(thresholds), evidence: None };
        assert!(rule.clears(&[0.05, 0.2]));
        assert!(!rule.clears(&[0.1, 0.2]) && !rule.clears(&[0.0, f32::NAN]));
        assert!(!ExitRule::default().clears(&[0.0]), "an unused exit");
    }

    #[test]
    fn the_score_of_an_exit_changes_the_odds() {
        let positive: Vec<f32> = (1..100).map(|i| 1.0 - 0.005 * i as f32).collect();
        let negative: Vec<f32> = (1..100).map(|i| 0.002 * i as f32).collect();
        let ratio = LikelihoodRatio::from_samples(&positive, &negative).unwrap();
        let rule = ExitRule { thresholds: None, evidence: Some((0, ratio)) };
        let risk = |score: f32| rule.risk(0.01, &[score]).unwrap();
        assert!(risk(0.01) < 0.01 && risk(0.9) > 0.01, "{} {}", risk(0.01), risk(0.9));
        let odds = f64::from(risk(0.9)) / (1.0 - f64::from(risk(0.9)));
        assert!((odds.ln() - (0.01f64 / 0.99).ln() - ratio.log(0.9)).abs() < 1e-3);
        assert_eq!(ExitRule::default().risk(0.01, &[0.9]), None);
    }
}
