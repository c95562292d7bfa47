//! Between a group's policy and the network: what the policy wants is queued, what tests show is told to it.

use super::core::{Engine, EngineError};
use super::group::Group;
use super::network::Network;
use super::stats::Stats;
use crate::retest::{AUDIT, Ask, Members, Step};

impl<N: Network, T> Engine<N, T> {
    /// Carries out what a policy wants.
    pub(super) fn apply(&mut self, id: usize, mut step: Step) -> Result<(), EngineError> {
        let asked = step.tests.iter().fold(Members::NONE, |all, ask| all.union(ask.members));
        let verdicts = step.flagged.union(step.cleared);
        let open = self.groups[id].open;
        if !asked.union(verdicts).without(open).is_empty()
            || !asked.intersection(verdicts).is_empty()
            || !step.flagged.intersection(step.cleared).is_empty()
        {
            return Err(self.broken("it spoke of a member that has its verdict, or gave two"));
        }
        for ask in step.tests.drain(..) {
            if ask.members.is_empty() {
                return Err(self.broken("it asked for a test of nobody"));
            }
            if ask.round != AUDIT {
                Stats::count(&mut self.stats.tests_by_round, ask.round);
            }
            for position in ask.members.iter() {
                self.items[self.groups[id].items[position]].pending += 1;
            }
            self.groups[id].running += 1;
            self.dispatch(id, ask);
        }
        for position in verdicts.iter() {
            self.settle(id, position, !step.flagged.intersection(Members::only(position)).is_empty())?;
        }
        self.step = step;
        let group = &self.groups[id];
        if group.running > 0 {
            return Ok(());
        }
        if !group.open.is_empty() {
            return Err(self.broken("it stopped before every member had its verdict"));
        }
        for node in self.groups.remove(id).nodes {
            if let Some(row) = node.row {
                self.rows[node.level].give(row);
            }
        }
        Ok(())
    }

    /// Queues a test if its rows are there, or else what it waits for.
    fn dispatch(&mut self, id: usize, ask: Ask) {
        let form = self.network.form();
        let group = &mut self.groups[id];
        group.want(form, ask.members);
        if group.has_rows(form, form.top(), ask.members) {
            let lane = form.padded(Group::arity(form, form.top(), ask.members));
            self.tests[lane].push(ask.round, (id, ask));
            return;
        }
        group.blocked.push(ask);
        self.queue_merges(id, ask.round);
    }

    /// Queues the merges of a group whose rows are there.
    fn queue_merges(&mut self, id: usize, round: u8) {
        let form = self.network.form();
        let group = &mut self.groups[id];
        let ready: Vec<usize> = (0..group.nodes.len())
            .filter(|&n| {
                !group.nodes[n].queued && group.has_rows(form, group.nodes[n].level - 1, group.nodes[n].members)
            })
            .collect();
        for n in ready {
            let node = &mut group.nodes[n];
            node.queued = true;
            let (level, members) = (node.level, node.members);
            let lane = form.padded(Group::arity(form, level - 1, members));
            self.merges[level][lane].push(round, (id, members));
        }
    }

    /// Looks again at what a group's tests waited for.
    pub(super) fn unblock(&mut self, id: usize) {
        let form = self.network.form();
        let group = &mut self.groups[id];
        let blocked = std::mem::take(&mut group.blocked);
        let round = blocked.iter().map(|a| a.round).max().unwrap_or(1);
        let (ready, blocked): (Vec<Ask>, Vec<Ask>) =
            blocked.into_iter().partition(|ask| group.has_rows(form, form.top(), ask.members));
        group.blocked = blocked;
        for ask in ready {
            let lane = form.padded(Group::arity(form, form.top(), ask.members));
            self.tests[lane].push(ask.round, (id, ask));
        }
        self.queue_merges(id, round);
    }

    /// Tells a group's policy what a test showed.
    pub(super) fn observe(&mut self, id: usize, ask: Ask, scores: &[f32]) -> Result<(), EngineError> {
        let arity = ask.members.len();
        let group = &mut self.groups[id];
        let outcome = group.thresholds.outcome(arity, scores);
        group.running -= 1;
        for position in ask.members.iter() {
            let item = &mut self.items[group.items[position]];
            item.pending -= 1;
            item.tests += 1;
            match ask.round {
                AUDIT => item.audited = true,
                round => item.rounds = round,
            }
            item.score = outcome.score;
            item.arity = arity as u8;
        }
        if outcome.positive {
            if ask.round != AUDIT {
                Stats::count(&mut self.stats.positives_by_round, ask.round);
            }
            let passed = group.thresholds.passed(arity, scores);
            match (arity, ask.members.iter().next()) {
                (1, Some(position)) => self.items[group.items[position]].passed = passed,
                _ => group.positive.push((ask.members, passed)),
            }
        }
        let mut step = std::mem::take(&mut self.step);
        step.reset();
        self.groups[id].policy.observe(ask, outcome, &mut step);
        self.apply(id, step)
    }

    pub(super) fn broken(&self, what: &'static str) -> EngineError {
        let plans: Vec<String> = self.courses.iter().map(|course| course.plan.describe()).collect();
        EngineError::Policy { policy: plans.join(", "), what }
    }
}
