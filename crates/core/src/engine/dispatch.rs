//! From decisions to jobs: the tests that a policy requests, and the merges that they need, are
//! queued.

use super::engine::{Engine, EngineError};
use super::group::Group;
use super::item::GroupId;
use super::job_queue::Priority;
use super::network::Network;
use super::scheduler::{MergeJob, TestJob};
use crate::policy::{Decision, Members, Round, Test};

impl<N: Network, T> Engine<N, T> {
    /// Carries out a policy's decision: queues its tests, settles its verdicts, and ends the group
    /// with its last verdict.
    pub(super) fn apply(&mut self, id: GroupId, mut decision: Decision) -> Result<(), EngineError> {
        self.check(id, &decision)?;
        for test in decision.tests.drain(..) {
            self.stats.add_test(test.round);
            let group = &mut self.flight.groups[id];
            group.outstanding += 1;
            for position in test.members.iter() {
                self.flight.items[group.items[position]].outstanding += 1;
            }
            self.dispatch(id, test);
        }
        for position in decision.flagged.union(decision.cleared).iter() {
            self.settle(id, position, decision.flagged.contains(position))?;
        }
        self.decision = decision;
        let group = &self.flight.groups[id];
        if group.outstanding > 0 {
            return Ok(());
        }
        if !group.open.is_empty() {
            return Err(self.policy_error("it stopped before every member had its verdict"));
        }
        for merged in self.flight.groups.remove(id).merged {
            if let Some(slot) = merged.slot {
                self.scheduler.free_slot(merged.level, slot);
            }
        }
        Ok(())
    }

    /// Checks a decision against the contract of [`crate::policy::Policy`].
    fn check(&self, id: GroupId, decision: &Decision) -> Result<(), EngineError> {
        let union = |all: Members, test: &Test| all.union(test.members);
        let tested = decision.tests.iter().fold(Members::NONE, union);
        let verdicts = decision.flagged.union(decision.cleared);
        let open = self.flight.groups[id].open;
        let valid = tested.union(verdicts).without(open).is_empty()
            && tested.intersection(verdicts).is_empty()
            && decision.flagged.intersection(decision.cleared).is_empty();
        if !valid {
            let what =
                "it decided about a member that has its verdict, or gave a member two verdicts";
            return Err(self.policy_error(what));
        }
        if decision.tests.iter().any(|test| test.members.is_empty()) {
            return Err(self.policy_error("it requested a test without members"));
        }
        Ok(())
    }

    /// Queues a test if its slots are computed, or else the merges that it needs.
    fn dispatch(&mut self, id: GroupId, test: Test) {
        let shape = self.executor.network().shape();
        let group = &mut self.flight.groups[id];
        group.require(shape, test.members);
        if group.has_slots(shape, shape.top(), test.members) {
            return self.queue_test(id, test);
        }
        group.blocked.push(test);
        self.queue_merges(id, test.round);
    }

    fn queue_test(&mut self, id: GroupId, test: Test) {
        let shape = self.executor.network().shape();
        let arity = shape.padded(Group::arity(shape, shape.top(), test.members));
        self.scheduler.add_test(arity, TestJob { group: id, test });
    }

    /// Queues the merges of a group whose slots are computed.
    fn queue_merges(&mut self, id: GroupId, round: Round) {
        let shape = self.executor.network().shape();
        let group = &self.flight.groups[id];
        let is_ready = |&at: &usize| {
            let merged = &group.merged[at];
            !merged.queued && group.has_slots(shape, merged.level - 1, merged.members)
        };
        let ready: Vec<usize> = (0..group.merged.len()).filter(is_ready).collect();
        for at in ready {
            let merged = &mut self.flight.groups[id].merged[at];
            merged.queued = true;
            let (level, members) = (merged.level, merged.members);
            let arity = shape.padded(Group::arity(shape, level - 1, members));
            let job = MergeJob { group: id, members };
            self.scheduler.add_merge(level, arity, Priority::Round(round), job);
        }
    }

    /// Queues the tests and merges of a group whose slots have been computed since they were
    /// blocked.
    pub(super) fn unblock(&mut self, id: GroupId) {
        let shape = self.executor.network().shape();
        let group = &mut self.flight.groups[id];
        let blocked = std::mem::take(&mut group.blocked);
        let round = blocked.iter().map(|test| test.round).max().unwrap_or(Round::FIRST);
        let is_ready = |test: &Test| group.has_slots(shape, shape.top(), test.members);
        let (ready, blocked): (Vec<Test>, Vec<Test>) = blocked.into_iter().partition(is_ready);
        group.blocked = blocked;
        ready.into_iter().for_each(|test| self.queue_test(id, test));
        self.queue_merges(id, round);
    }
}
