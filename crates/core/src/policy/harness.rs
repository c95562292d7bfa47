//! Test support for policies: a policy run to its end, with given or random outcomes.

use super::{Decision, Members, Outcome, Plan, Test};

/// Runs a policy to its end. `positive` gives the outcome of each test. Returns the flagged
/// members, the cleared members and the tests in order.
pub(super) fn resolve(
    plan: &dyn Plan,
    size: usize,
    mut positive: impl FnMut(Test) -> bool,
) -> (Members, Members, Vec<Test>) {
    resolve_scored(plan, size, |test| Outcome { positive: positive(test), score: 0.5 })
}

/// [`resolve`] for policies that read scores.
pub(super) fn resolve_scored(
    plan: &dyn Plan,
    size: usize,
    mut outcome: impl FnMut(Test) -> Outcome,
) -> (Members, Members, Vec<Test>) {
    let mut policy = plan.policy();
    let (mut decision, mut queue, mut tests) = (Decision::default(), Vec::new(), Vec::new());
    let (mut flagged, mut cleared) = (Members::NONE, Members::NONE);
    policy.start(size, &mut decision);
    loop {
        assert!(
            flagged
                .union(cleared)
                .intersection(decision.flagged.union(decision.cleared))
                .is_empty(),
            "two verdicts"
        );
        flagged = flagged.union(decision.flagged);
        cleared = cleared.union(decision.cleared);
        queue.append(&mut decision.tests);
        decision.reset();
        let Some(test) = queue.pop() else { return (flagged, cleared, tests) };
        tests.push(test);
        policy.observe(test, outcome(test), &mut decision);
    }
}

/// The result of a policy whose tests had random outcomes.
#[derive(Debug, PartialEq)]
pub(super) struct Noisy {
    pub flagged: Members,
    pub cleared: Members,
    pub tests: Vec<Test>,
    /// Members whose individual test was positive.
    pub alone: Members,
    /// Members of at least one negative test.
    pub in_negative: Members,
}

/// Runs a policy to its end with random outcomes, half of them positive.
pub(super) fn resolve_noisily(plan: &dyn Plan, size: usize, seed: u64) -> Noisy {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut alone, mut in_negative) = (Members::NONE, Members::NONE);
    let (flagged, cleared, tests) = resolve(plan, size, |test| {
        let positive = random.bool();
        if !positive {
            in_negative = in_negative.union(test.members);
        } else if test.members.len() == 1 {
            alone = alone.union(test.members);
        }
        positive
    });
    Noisy { flagged, cleared, tests, alone, in_negative }
}

/// The highest numbered round of some tests.
pub(super) fn rounds(tests: &[Test]) -> usize {
    let numbers = tests.iter().filter_map(|test| test.round.number());
    usize::from(numbers.max().unwrap_or(0))
}
