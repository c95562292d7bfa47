//! Looks at some of what pooling clears: what does it miss?

use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;

use super::{AUDIT, Ask, Members, Outcome, Plan, Policy, Step};

/// Another plan, of whose cleared items a share is tested alone all the same.
///
/// Each item that would be cleared without a test of its own is chosen with the same probability and independently, so that among the
/// chosen ones the share of positives is an unbiased estimate of that among all of them. A positive audit flags the item; any other clears
/// it. Audits are of round [`AUDIT`] and cost a test each on top of the plan's.
pub struct Audited {
    plan: Box<dyn Plan>,
    fraction: f64,
    seed: AtomicU64,
}

impl Audited {
    /// Audits a share of `fraction` (0 to 1) of what `plan` clears without an individual test; `seed` says which.
    pub fn new(plan: Box<dyn Plan>, fraction: f64, seed: u64) -> Self {
        Self { plan, fraction, seed: AtomicU64::new(seed) }
    }

    fn auditing(&self, policy: Box<dyn Policy>) -> Box<dyn Policy> {
        // A random stream a group: groups end in an order that nobody can foresee.
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

struct Auditing {
    policy: Box<dyn Policy>,
    fraction: f64,
    random: Rng,
    /// Who was tested alone.
    alone: Members,
}

impl Auditing {
    /// Takes some of those that the policy clears out of its step and asks for their audit.
    fn choose(&mut self, step: &mut Step) {
        for position in step.cleared.without(self.alone).iter() {
            if self.random.f64() < self.fraction {
                let member = Members::only(position);
                step.cleared = step.cleared.without(member);
                step.test(member, AUDIT);
            }
        }
    }
}

impl Policy for Auditing {
    fn start(&mut self, size: usize, step: &mut Step) {
        self.policy.start(size, step);
        self.choose(step);
    }

    fn observe(&mut self, test: Ask, outcome: Outcome, step: &mut Step) {
        if test.round == AUDIT {
            let verdicts = if outcome.positive { &mut step.flagged } else { &mut step.cleared };
            *verdicts = verdicts.union(test.members);
            return;
        }
        if test.members.len() == 1 {
            self.alone = self.alone.union(test.members);
        }
        self.policy.observe(test, outcome, step);
        self.choose(step);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::retest::harness::{resolve, resolve_noisily};
    use crate::retest::{Halving, Individual, MultiRound};

    fn plans() -> impl Strategy<Value = fn() -> Box<dyn Plan>> {
        prop_oneof![
            Just((|| Box::new(MultiRound::new(&[16, 4, 1]).unwrap()) as Box<dyn Plan>) as fn() -> Box<dyn Plan>),
            Just((|| Box::new(Halving::new(13).unwrap()) as Box<dyn Plan>) as fn() -> Box<dyn Plan>),
            Just((|| Box::new(Individual) as Box<dyn Plan>) as fn() -> Box<dyn Plan>),
        ]
    }

    proptest! {
        /// Whatever the tests say: a verdict each, and audits of nobody who was tested alone.
        #[test]
        fn everyone_has_a_verdict_and_one_individual_test_at_most(plan in plans(), fraction in 0.0f64..=1.0, seed: u64) {
            let plan = Audited::new(plan(), fraction, seed);
            let size = plan.group_size();
            let noisy = resolve_noisily(&plan, size, seed);
            prop_assert_eq!(noisy.flagged.union(noisy.cleared), Members::first(size));
            prop_assert!(noisy.flagged.intersection(noisy.cleared).is_empty());
            for position in 0..size {
                let alone = noisy.tests.iter().filter(|t| t.members == Members::only(position)).count();
                prop_assert!(alone <= 1);
                prop_assert!(fraction < 1.0 || alone == 1, "all are audited");
            }
        }

        /// Without audits it is the plan itself.
        #[test]
        fn a_fraction_of_nothing_changes_nothing(plan in plans(), seed: u64) {
            let audited = Audited::new(plan(), 0.0, seed);
            prop_assert_eq!(resolve_noisily(&audited, 13, seed), resolve_noisily(&*plan(), 13, seed));
        }
    }

    #[test]
    fn the_chosen_share_is_what_was_asked_for() {
        let plan = Audited::new(Box::new(MultiRound::new(&[16, 1]).unwrap()), 0.05, 7);
        let audits: usize = (0..5000).map(|_| resolve(&plan, 16, |_| false).2.len() - 1).sum();
        assert!((f64::from(audits as u32) / 80_000.0 - 0.05).abs() < 0.003, "{audits}");
    }

    #[test]
    fn a_missed_positive_is_flagged_by_its_audit() {
        let plan = Audited::new(Box::new(MultiRound::new(&[16, 1]).unwrap()), 1.0, 7);
        let (flagged, cleared, _) = resolve(&plan, 16, |t| t.members == Members::only(3));
        assert_eq!((flagged, cleared), (Members::only(3), Members::first(16).without(Members::only(3))));
    }
}
