//! Audits: a random share of the items that pooling clears is tested alone, to measure what pooling
//! misses.

use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;

use super::{Decision, Members, Outcome, Plan, Policy, Round, Test};

/// A plan with audits: a share of the members that another plan clears without an individual test
/// is tested alone.
///
/// Each such member is chosen independently with the same probability. The share of positives among
/// the chosen members is therefore an unbiased estimate of the share among all of them. A positive
/// audit flags the member; a negative audit clears it. Audits belong to [`Round::Audit`] and cost
/// one individual test each.
///
/// ```
/// use dorfman_core::policy::{Audited, MultiRound, Plan};
///
/// let plan = Audited::new(Box::new(MultiRound::new(&[16, 1])?), 0.01, 7);
/// assert_eq!(plan.describe(), "16 > 1");
/// # Ok::<(), dorfman_core::policy::PlanError>(())
/// ```
pub struct Audited {
    plan: Box<dyn Plan>,
    fraction: f64,
    seed: AtomicU64,
}

impl Audited {
    /// Audits a share of `fraction` (0 to 1) of the members that `plan` clears without an
    /// individual test.
    ///
    /// Each group draws from its own random stream: the first group from `seed`, the next from
    /// `seed + 1`, and so on. Plans with the same `seed` therefore choose the same members if they
    /// make the policies of the same groups in the same order, and outcomes arrive in the same
    /// order.
    pub fn new(plan: Box<dyn Plan>, fraction: f64, seed: u64) -> Self {
        Self { plan, fraction, seed: AtomicU64::new(seed) }
    }

    fn auditing(&self, policy: Box<dyn Policy>) -> Box<dyn Policy> {
        // One random stream per group: the order in which groups end depends on timing.
        let random = Rng::with_seed(self.seed.fetch_add(1, Ordering::Relaxed));
        Box::new(Auditing { policy, fraction: self.fraction, random, alone: Members::NONE })
    }
}

impl Plan for Audited {
    fn group_size(&self) -> usize {
        self.plan.group_size()
    }

    fn policy(&self) -> Box<dyn Policy> {
        self.auditing(self.plan.policy())
    }

    fn policy_for(&self, risks: &[Option<f32>]) -> Box<dyn Policy> {
        self.auditing(self.plan.policy_for(risks))
    }

    fn arities(&self) -> Vec<usize> {
        let mut arities = self.plan.arities();
        if !arities.contains(&1) {
            arities.push(1);
        }
        arities
    }

    fn describe(&self) -> String {
        self.plan.describe()
    }
}

/// The audit of one item alone: a policy for items that something else than a policy would have
/// cleared. It accepts any number of members.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AuditAlone;

impl Policy for AuditAlone {
    fn start(&mut self, size: usize, decision: &mut Decision) {
        (0..size).for_each(|position| decision.test(Members::only(position), Round::Audit));
    }

    fn observe(&mut self, test: Test, outcome: Outcome, decision: &mut Decision) {
        decision.settle(test.members, outcome.positive);
    }
}

struct Auditing {
    policy: Box<dyn Policy>,
    fraction: f64,
    random: Rng,
    /// Members that were tested alone.
    alone: Members,
}

impl Auditing {
    /// Replaces the verdict of some cleared members by an audit.
    fn choose(&mut self, decision: &mut Decision) {
        for position in decision.cleared.without(self.alone).iter() {
            if self.random.f64() < self.fraction {
                let member = Members::only(position);
                decision.cleared = decision.cleared.without(member);
                decision.test(member, Round::Audit);
            }
        }
    }
}

impl Policy for Auditing {
    fn start(&mut self, size: usize, decision: &mut Decision) {
        self.policy.start(size, decision);
        self.choose(decision);
    }

    fn observe(&mut self, test: Test, outcome: Outcome, decision: &mut Decision) {
        if test.round == Round::Audit {
            return decision.settle(test.members, outcome.positive);
        }
        if test.members.len() == 1 {
            self.alone = self.alone.union(test.members);
        }
        self.policy.observe(test, outcome, decision);
        self.choose(decision);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::harness::{resolve, resolve_noisily};
    use crate::policy::{Halving, Individual, MultiRound};

    fn plans() -> impl Strategy<Value = fn() -> Box<dyn Plan>> {
        prop_oneof![
            Just(
                (|| Box::new(MultiRound::new(&[16, 4, 1]).unwrap()) as Box<dyn Plan>)
                    as fn() -> Box<dyn Plan>
            ),
            Just(
                (|| Box::new(Halving::new(13).unwrap()) as Box<dyn Plan>) as fn() -> Box<dyn Plan>
            ),
            Just((|| Box::new(Individual) as Box<dyn Plan>) as fn() -> Box<dyn Plan>),
        ]
    }

    proptest! {
        /// Whatever the outcomes: one verdict per member, and no audit of a member that was tested
        /// alone.
        #[test]
        fn every_member_has_a_verdict_and_at_most_one_individual_test(
            plan in plans(),
            fraction in 0.0f64..=1.0,
            seed: u64,
        ) {
            let plan = Audited::new(plan(), fraction, seed);
            let size = plan.group_size();
            let noisy = resolve_noisily(&plan, size, seed);
            prop_assert_eq!(noisy.flagged.union(noisy.cleared), Members::first(size));
            prop_assert!(noisy.flagged.intersection(noisy.cleared).is_empty());
            for position in 0..size {
                let alone =
                    noisy.tests.iter().filter(|t| t.members == Members::only(position)).count();
                prop_assert!(alone <= 1);
                prop_assert!(fraction < 1.0 || alone == 1, "all are audited");
            }
        }

        /// Without audits the plan is unchanged.
        #[test]
        fn a_fraction_of_0_changes_nothing(plan in plans(), seed: u64) {
            let audited = Audited::new(plan(), 0.0, seed);
            prop_assert_eq!(
                resolve_noisily(&audited, 13, seed),
                resolve_noisily(&*plan(), 13, seed)
            );
        }
    }

    #[test]
    fn the_audited_share_is_the_configured_one() {
        let plan = Audited::new(Box::new(MultiRound::new(&[16, 1]).unwrap()), 0.05, 7);
        let audits: usize = (0..5000).map(|_| resolve(&plan, 16, |_| false).2.len() - 1).sum();
        assert!((f64::from(audits as u32) / 80_000.0 - 0.05).abs() < 0.003, "{audits}");
    }

    #[test]
    fn a_missed_positive_is_flagged_by_its_audit() {
        let plan = Audited::new(Box::new(MultiRound::new(&[16, 1]).unwrap()), 1.0, 7);
        let (flagged, cleared, _) = resolve(&plan, 16, |t| t.members == Members::only(3));
        assert_eq!(
            (flagged, cleared),
            (Members::only(3), Members::first(16).without(Members::only(3)))
        );
    }
}
