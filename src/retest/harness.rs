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

/// Outcomes by chance, half of them positive.
pub(super) fn noisy(mut seed: u64) -> impl FnMut() -> bool {
    move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        seed >> 63 == 1
    }
}
