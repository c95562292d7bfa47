//! From results to decisions: the slots and scores of a run are given to the groups and policies.

use std::ops::Range;

use super::engine::{Engine, EngineError};
use super::item::ItemId;
use super::network::Network;
use super::scheduler::{MergeJob, Run, TestJob};
use crate::policy::Round;

impl<N: Network, T> Engine<N, T> {
    /// Takes in the results of a run.
    pub(super) fn update(&mut self, run: Run) -> Result<(), EngineError> {
        match run {
            Run::Embed { items, slots, .. } => return self.computed(0, &items, slots),
            Run::Refine { level, items, slots, .. } => return self.computed(level, &items, slots),
            Run::Merge { level, jobs, slots, .. } => self.merged(level, &jobs, slots),
            Run::Test { jobs, .. } => return self.tested(&jobs),
            Run::Confirm { items, .. } => self.confirmed(&items),
        }
        Ok(())
    }

    /// Takes in the slots of item level `level` and the scores of its exit.
    fn computed(
        &mut self,
        level: usize,
        items: &[ItemId],
        slots: Range<usize>,
    ) -> Result<(), EngineError> {
        let shape = self.network().shape();
        let width = if shape.levels[level].exit { shape.labels } else { 0 };
        let scores = self.executor.take_scores();
        for (i, (&id, slot)) in items.iter().zip(slots).enumerate() {
            let item = &mut self.flight.items[id];
            let before = item.slot.replace(slot);
            if let Some(before) = before {
                self.scheduler.free_slot(item.level, before);
            }
            item.level = level;
            if self.confirm.is_none() {
                item.image = Vec::new();
            }
            self.leave_level(id, level, &scores[i * width..(i + 1) * width])?;
        }
        self.executor.return_scores(scores);
        Ok(())
    }

    fn merged(&mut self, level: usize, jobs: &[MergeJob], slots: Range<usize>) {
        for (job, slot) in jobs.iter().zip(slots) {
            let mut merged = self.flight.groups[job.group].merged.iter_mut();
            if let Some(merged) = merged.find(|m| m.level == level && m.members == job.members) {
                merged.slot = Some(slot);
            }
            self.unblock(job.group);
        }
    }

    fn tested(&mut self, jobs: &[TestJob]) -> Result<(), EngineError> {
        let labels = self.network().shape().labels;
        let scores = self.executor.take_scores();
        for (&job, scores) in jobs.iter().zip(scores.chunks(labels)) {
            self.observe(job, scores)?;
        }
        self.executor.return_scores(scores);
        Ok(())
    }

    /// Gives the outcome of a test to its group's policy, and applies the decision that follows.
    fn observe(&mut self, job: TestJob, scores: &[f32]) -> Result<(), EngineError> {
        let TestJob { group: id, test } = job;
        let arity = test.members.len();
        let group = &mut self.flight.groups[id];
        let outcome = group.thresholds.outcome(arity, scores);
        group.outstanding -= 1;
        for position in test.members.iter() {
            let item = &mut self.flight.items[group.items[position]];
            item.outstanding -= 1;
            item.tests += 1;
            match test.round {
                Round::Audit => item.audited = true,
                Round::Number(number) => item.rounds = number,
            }
            item.score = outcome.score;
            item.arity = arity as u8;
        }
        if outcome.positive {
            self.stats.add_positive_test(test.round);
            let passed = group.thresholds.passed(arity, scores);
            match test.members.iter().next() {
                Some(position) if arity == 1 => {
                    self.flight.items[group.items[position]].passed = passed;
                }
                _ => group.positive.push((test.members, passed)),
            }
        }
        let mut decision = std::mem::take(&mut self.decision);
        decision.reset();
        group.policy.observe(test, outcome, &mut decision);
        self.apply(id, decision)
    }

    fn confirmed(&mut self, items: &[ItemId]) {
        let labels = self.network().shape().labels;
        let scores = self.executor.take_scores();
        for (&id, scores) in items.iter().zip(scores.chunks(labels)) {
            self.conclude(id, scores);
        }
        self.executor.return_scores(scores);
    }
}
