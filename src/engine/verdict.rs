//! The end of an item: the verdict of its group's policy and, where there is a confirm network, its word on what would be flagged.

use super::core::{Engine, EngineError, Item};
use super::network::{Network, Part};
use super::run::Clocks;
use super::{Judged, Verdict};
use crate::message::{Failure, Reason};
use crate::retest::Members;

/// A column of the scores with its score.
type Scored = (usize, f32);

/// The round that confirm tests count as: later than any of a policy.
const LAST: u8 = u8::MAX;

impl<N: Network, T> Engine<N, T> {
    /// Takes a member out of its group and frees its rows; it has its verdict then, or waits for the confirm network.
    pub(super) fn settle(&mut self, id: usize, position: usize, flagged: bool) -> Result<(), EngineError> {
        let group = &mut self.groups[id];
        group.open = group.open.without(Members::only(position));
        // What was merged of settled members alone serves nobody any more.
        let (open, rows) = (group.open, &mut self.rows);
        group.nodes.retain(|node| {
            let settled = node.members.intersection(open).is_empty();
            if let (true, Some(row)) = (settled, node.row) {
                rows[node.level].give(row);
            }
            !settled || node.row.is_none()
        });
        let id = group.items[position];
        let (pools, band) = (&group.positive, group.band);
        let item = &mut self.items[id];
        if item.pending > 0 {
            return Err(self.broken("it gave a verdict while a test of the member was outstanding"));
        }
        if let Some(row) = item.row.take() {
            self.rows[0].give(row);
        }
        if flagged && item.passed.is_empty() && item.arity > 1 {
            (item.passed, item.score) =
                of_pools(pools.iter().filter(|(who, _)| who.contains(position)).map(|(_, passed)| &passed[..]));
        }
        self.stats.settle(band, flagged && !item.audited);
        self.stats.pool_cleared += u64::from(item.audited || (!flagged && item.arity > 1));
        if flagged && self.confirm.is_some() && !item.score.is_nan() {
            self.stats.confirm_tests += 1;
            self.confirms.push(LAST, id);
            return Ok(());
        }
        let mut item = self.items.remove(id);
        let verdict = match flagged {
            true if item.score.is_nan() => not_finite("the network's score is not a number"),
            true => Verdict::Flagged(std::mem::take(&mut item.passed)),
            false => Verdict::Cleared,
        };
        self.judge(item, verdict, None);
        Ok(())
    }

    /// Runs the confirm network on items that wait for it.
    pub(super) fn run_confirm(&mut self) -> Result<(), EngineError> {
        let batch = self.batch(self.confirms.len());
        let ids: Vec<usize> = std::iter::from_fn(|| self.confirms.pop()).take(batch).collect();
        let mut images: Vec<&[f32]> = ids.iter().map(|&id| &self.items[id].image[..]).collect();
        images.resize(batch, images[ids.len() - 1]);
        let mut scores = std::mem::take(&mut self.scores);
        scores.clear();
        let clocks = Clocks::start();
        self.network.confirm(&images, &mut scores)?;
        self.account(Part::Confirm, 1, clocks, ids.len(), batch);
        let labels = self.network.form().labels;
        for (&id, scores) in ids.iter().zip(scores.chunks(labels)) {
            self.conclude(id, scores);
        }
        self.scores = scores;
        Ok(())
    }

    /// Gives an item the verdict that follows from both looks at it.
    fn conclude(&mut self, id: usize, scores: &[f32]) {
        let Some(thresholds) = &self.confirm else { return };
        let score = thresholds.outcome(1, scores).score;
        let passed = thresholds.passed(1, scores);
        let mut item = self.items.remove(id);
        item.tests += 1;
        if score.is_nan() {
            return self.judge(item, not_finite("the confirm network's score is not a number"), None);
        }
        let labels = both(&item.passed, &passed);
        let named = most_suspicious(&labels).or(most_suspicious(&item.passed));
        let score = named.map_or(score, |(column, _)| scores[column]);
        let verdict = match labels.is_empty() {
            true => Verdict::Cleared,
            false => Verdict::Flagged(labels),
        };
        self.stats.confirmed += u64::from(verdict != Verdict::Cleared);
        self.judge(item, verdict, Some(score));
    }

    fn judge(&mut self, item: Item<T>, verdict: Verdict, confirm_score: Option<f32>) {
        let Item { payload, tests, rounds, score, arity, audited, .. } = item;
        self.stats.audits += u64::from(audited);
        if matches!(verdict, Verdict::Flagged(_)) {
            let flags = if audited { &mut self.stats.audits_flagged } else { &mut self.stats.flags };
            *flags += 1;
        }
        self.judged.push(Judged { payload, verdict, tests, rounds, score, arity, audited, confirm_score });
    }
}

fn not_finite(detail: &str) -> Verdict {
    Verdict::Failed(Failure::new(Reason::ScoreNotFinite, detail))
}

/// What the positive tests of an item say of it that had no test of its own: the labels that all of them have, each with its least score,
/// or where they have none in common all that any of them has; and the score of the most suspicious of these. The score is not a number
/// if that of a test was none.
fn of_pools<'a>(tests: impl Iterator<Item = &'a [Scored]> + Clone) -> (Vec<Scored>, f32) {
    if tests.clone().any(<[Scored]>::is_empty) {
        return (Vec::new(), f32::NAN);
    }
    let least = |a: Scored, b: Scored| if b.1 < a.1 { b } else { a };
    let common = tests.clone().map(<[Scored]>::to_vec).reduce(|all, next| {
        let in_next = |&first: &Scored| Some(least(first, *next.iter().find(|label| label.0 == first.0)?));
        all.iter().filter_map(in_next).collect()
    });
    let labels = common.filter(|common| !common.is_empty()).unwrap_or_else(|| {
        let mut any: Vec<Scored> = tests.flatten().copied().collect();
        any.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        any.dedup_by_key(|label| label.0);
        any
    });
    let score = most_suspicious(&labels).map_or(f32::NAN, |(_, score)| score);
    (labels, score)
}

/// The labels that passed both looks, with the first one's scores.
fn both(first: &[Scored], second: &[Scored]) -> Vec<Scored> {
    first.iter().copied().filter(|&(column, _)| second.iter().any(|&(c, _)| c == column)).collect()
}

/// The label with the highest score, the first of equals.
fn most_suspicious(labels: &[Scored]) -> Option<Scored> {
    labels.iter().copied().reduce(|best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::{Form, ScriptedNetwork, Settings, single_label_form};
    use crate::retest::{MultiRound, Thresholds};

    #[test]
    fn a_label_must_pass_both_looks() {
        let first = [(0, 0.7), (2, 0.9)];
        assert_eq!(both(&first, &[(0, 0.6), (1, 0.9)]), [(0, 0.7)]);
        assert_eq!(both(&first, &[(1, 0.9)]), []);
        assert_eq!(most_suspicious(&[(0, 0.7), (2, 0.9), (3, 0.9)]), Some((2, 0.9)));
    }

    #[test]
    fn a_flag_without_a_test_of_its_own_is_of_what_its_tests_have_in_common() {
        let of = |tests: &[&[Scored]]| of_pools(tests.iter().copied());
        assert_eq!(of(&[&[(0, 0.7), (1, 0.9)], &[(1, 0.8), (2, 0.95)]]), (vec![(1, 0.8)], 0.8));
        assert_eq!(of(&[&[(2, 0.7)], &[(1, 0.8)]]), (vec![(1, 0.8), (2, 0.7)], 0.8));
        assert!(of(&[&[(2, 0.7)], &[]]).1.is_nan());
    }

    fn engine() -> Engine<ScriptedNetwork, usize> {
        let form = Form { confirm_macs: Some(1), ..single_label_form(8, 1, 1) };
        let settings =
            Settings { max_batch: 8, preferred_batch: 8, buckets: vec![], max_wait: Duration::from_millis(1) };
        let plan = MultiRound::new(&[4, 1]).unwrap();
        Engine::new(ScriptedNetwork::new(form), Box::new(plan), Thresholds::constant(0.5), settings)
    }

    fn held(engine: &Engine<ScriptedNetwork, usize>) -> usize {
        engine.items.iter().filter(|(_, item)| !item.image.is_empty()).count()
    }

    /// Offers a clean group, then one with a positive; gives how many images are held after each step.
    fn images_held(mut engine: Engine<ScriptedNetwork, usize>) -> Vec<usize> {
        for i in 0..8 {
            engine.offer(vec![if i == 5 { 0.9 } else { 0.1 }], i, Instant::now()).unwrap();
        }
        let steps = std::iter::from_fn(|| engine.step().unwrap().then(|| held(&engine)));
        steps.collect()
    }

    #[test]
    fn pixels_are_kept_until_the_verdict_and_no_longer() {
        let confirmed = engine().with_confirm(Thresholds::constant(0.5));
        let (after_embed, first_round, second_round, confirm) = (8, 4, 1, 0);
        assert_eq!(images_held(confirmed), [after_embed, first_round, second_round, confirm]);
    }

    #[test]
    fn without_a_confirm_network_pixels_go_with_stage_0() {
        assert_eq!(images_held(engine()), [0, 0, 0]);
    }

    #[test]
    fn an_item_that_waits_for_the_confirm_network_holds_no_row() {
        let mut engine = engine().with_confirm(Thresholds::constant(0.5));
        engine.offer(vec![0.9], 0, Instant::now()).unwrap();
        engine.flush().unwrap();
        while engine.confirms.len() == 0 {
            assert!(engine.step().unwrap());
        }
        assert_eq!((engine.rows[0].available(), engine.groups.len(), engine.in_flight()), (8, 0, 1));
    }
}
