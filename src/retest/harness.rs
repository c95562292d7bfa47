//! What the tests of every policy need: a policy run to its end, and tests that err.

use super::{Ask, Members, Outcome, Plan, Step};

/// Runs a policy to its end, each test's outcome taken from `positive`; gives flagged, cleared and the tests in order.
pub(super) fn resolve(
    plan: &dyn Plan,
    size: usize,
    mut positive: impl FnMut(Ask) -> bool,
) -> (Members, Members, Vec<Ask>) {
    resolve_scored(plan, size, |test| Outcome { positive: positive(test), score: 0.5 })
}

/// The same for policies that look at scores.
pub(super) fn resolve_scored(
    plan: &dyn Plan,
    size: usize,
    mut outcome: impl FnMut(Ask) -> Outcome,
) -> (Members, Members, Vec<Ask>) {
    let mut policy = plan.policy();
    let (mut step, mut queue, mut tests) = (Step::default(), Vec::new(), Vec::new());
    let (mut flagged, mut cleared) = (Members::NONE, Members::NONE);
    policy.start(size, &mut step);
    loop {
        assert!(flagged.union(cleared).intersection(step.flagged.union(step.cleared)).is_empty(), "two verdicts");
        flagged = flagged.union(step.flagged);
        cleared = cleared.union(step.cleared);
        queue.append(&mut step.tests);
        step.reset();
        let Some(test) = queue.pop() else { return (flagged, cleared, tests) };
        tests.push(test);
        policy.observe(test, outcome(test), &mut step);
    }
}

/// What a policy came to whose tests were positive or negative by chance.
#[derive(Debug, PartialEq)]
pub(super) struct Noisy {
    pub flagged: Members,
    pub cleared: Members,
    pub tests: Vec<Ask>,
    /// Whose individual test was positive.
    pub alone: Members,
    /// Who was in a negative test.
    pub denied: Members,
}

/// Runs a policy to its end, half of the tests positive, whoever is in them.
pub(super) fn resolve_noisily(plan: &dyn Plan, size: usize, seed: u64) -> Noisy {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut alone, mut denied) = (Members::NONE, Members::NONE);
    let (flagged, cleared, tests) = resolve(plan, size, |test| {
        let positive = random.bool();
        if !positive {
            denied = denied.union(test.members);
        } else if test.members.len() == 1 {
            alone = alone.union(test.members);
        }
        positive
    });
    Noisy { flagged, cleared, tests, alone, denied }
}
