//! The end of an item: the verdict of its group's policy and, where it is used, of the confirm
//! network.

use super::engine::{Engine, EngineError};
use super::item::{GroupId, Item, ItemId, ItemVerdict, NotFinite, ScoredLabel, Verdict};
use super::network::Network;
use crate::policy::Members;

impl<N: Network, T> Engine<N, T> {
    /// Removes a member from its group and frees its slots. The item then has its verdict, or waits
    /// for the confirm network.
    pub(super) fn settle(
        &mut self,
        group: GroupId,
        position: usize,
        flagged: bool,
    ) -> Result<(), EngineError> {
        let id = self.leave_group(group, position);
        let group = &self.flight.groups[group];
        let item = &mut self.flight.items[id];
        if item.outstanding > 0 {
            let what = "it gave a verdict while a test of the member was outstanding";
            return Err(self.policy_error(what));
        }
        if flagged && item.passed.is_empty() && item.arity > 1 {
            let tests = group.positive.iter().filter(|(members, _)| members.contains(position));
            (item.passed, item.score) =
                labels_of_pooled_tests(tests.map(|(_, passed)| &passed[..]));
        }
        if item.exit.is_some() {
            self.stats.decided += 1;
        } else {
            self.stats.add_decision(group.band, flagged && !item.audited);
            self.stats.pool_cleared += u64::from(item.audited || (!flagged && item.arity > 1));
        }
        if flagged && self.confirm.is_some() && !item.score.is_nan() {
            self.stats.confirm_tests += 1;
            self.scheduler.add_confirmation(id);
            return Ok(());
        }
        let mut item = self.flight.items.remove(id);
        let verdict = if !flagged {
            Verdict::Cleared
        } else if item.score.is_nan() {
            Verdict::Failed(NotFinite::Network)
        } else {
            Verdict::Flagged(std::mem::take(&mut item.passed))
        };
        self.finish(item, verdict, None);
        Ok(())
    }

    /// Removes a member from the open members of its group, and frees the slots that no open member
    /// needs.
    fn leave_group(&mut self, group: GroupId, position: usize) -> ItemId {
        let group = &mut self.flight.groups[group];
        group.open = group.open.without(Members::only(position));
        let (open, scheduler) = (group.open, &mut self.scheduler);
        group.merged.retain(|merged| {
            let Some(slot) = merged.slot else { return true };
            let needed = !merged.members.intersection(open).is_empty();
            if !needed {
                scheduler.free_slot(merged.level, slot);
            }
            needed
        });
        let id = group.items[position];
        if let Some(slot) = self.flight.items[id].slot.take() {
            scheduler.free_slot(self.flight.items[id].level, slot);
        }
        id
    }

    /// Gives an item the verdict that follows from its individual test and the confirm network's
    /// `scores`.
    pub(super) fn conclude(&mut self, id: ItemId, scores: &[f32]) {
        let Some(thresholds) = &self.confirm else { return };
        let score = thresholds.outcome(1, scores).score;
        let confirmed = thresholds.passed(1, scores);
        let mut item = self.flight.items.remove(id);
        item.tests += 1;
        let labels = in_both(&item.passed, &confirmed);
        let unknown = item.passed.iter().any(|&(column, _)| scores[column].is_nan());
        if score.is_nan() || (labels.is_empty() && unknown) {
            return self.finish(item, Verdict::Failed(NotFinite::Confirm), None);
        }
        let named = highest(&labels).or(highest(&item.passed));
        let score = named.map_or(score, |(column, _)| scores[column]);
        self.stats.confirmed += u64::from(!labels.is_empty());
        let cleared = labels.is_empty();
        let verdict = if cleared { Verdict::Cleared } else { Verdict::Flagged(labels) };
        self.finish(item, verdict, Some(score));
    }

    pub(super) fn finish(&mut self, item: Item<T>, verdict: Verdict, confirm_score: Option<f32>) {
        let Item { payload, tests, rounds, score, arity, audited, exit, .. } = item;
        self.stats.add_verdict(exit, audited, matches!(verdict, Verdict::Flagged(_)));
        self.verdicts.push(ItemVerdict {
            payload,
            verdict,
            tests,
            rounds,
            score,
            arity,
            audited,
            exit,
            confirm_score,
        });
    }
}

/// The labels of an item without an individual test, from the labels of its positive tests: those
/// that all tests have in common, each with its lowest score, or else all labels of any test. The
/// score is the highest of the labels' scores, or NaN if the score of a test was NaN.
fn labels_of_pooled_tests<'a>(
    tests: impl Iterator<Item = &'a [ScoredLabel]> + Clone,
) -> (Vec<ScoredLabel>, f32) {
    if tests.clone().any(<[ScoredLabel]>::is_empty) {
        return (Vec::new(), f32::NAN);
    }
    let lower = |a: ScoredLabel, b: ScoredLabel| if b.1 < a.1 { b } else { a };
    let common = tests.clone().map(<[ScoredLabel]>::to_vec).reduce(|all, next| {
        let in_next = |&first: &ScoredLabel| {
            Some(lower(first, *next.iter().find(|label| label.0 == first.0)?))
        };
        all.iter().filter_map(in_next).collect()
    });
    let labels = common.filter(|common| !common.is_empty()).unwrap_or_else(|| {
        let mut any: Vec<ScoredLabel> = tests.flatten().copied().collect();
        any.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        any.dedup_by_key(|label| label.0);
        any
    });
    let score = highest(&labels).map_or(f32::NAN, |(_, score)| score);
    (labels, score)
}

/// The labels of `first` that are also in `second`, with the scores of `first`.
fn in_both(first: &[ScoredLabel], second: &[ScoredLabel]) -> Vec<ScoredLabel> {
    let confirmed = |&&(column, _): &&ScoredLabel| second.iter().any(|&(c, _)| c == column);
    first.iter().filter(confirmed).copied().collect()
}

/// The label with the highest score; the first of equals.
fn highest(labels: &[ScoredLabel]) -> Option<ScoredLabel> {
    labels.iter().copied().reduce(|best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_must_pass_both_networks() {
        let first = [(0, 0.7), (2, 0.9)];
        assert_eq!(in_both(&first, &[(0, 0.6), (1, 0.9)]), [(0, 0.7)]);
        assert_eq!(in_both(&first, &[(1, 0.9)]), []);
        assert_eq!(highest(&[(0, 0.7), (2, 0.9), (3, 0.9)]), Some((2, 0.9)));
    }

    #[test]
    fn a_flag_without_an_individual_test_has_the_labels_that_its_tests_have_in_common() {
        let of = |tests: &[&[ScoredLabel]]| labels_of_pooled_tests(tests.iter().copied());
        let common = of(&[&[(0, 0.7), (1, 0.9)], &[(1, 0.8), (2, 0.95)]]);
        assert_eq!(common, (vec![(1, 0.8)], 0.8));
        assert_eq!(of(&[&[(2, 0.7)], &[(1, 0.8)]]), (vec![(1, 0.8), (2, 0.7)], 0.8));
        assert!(of(&[&[(2, 0.7)], &[]]).1.is_nan());
    }
}
