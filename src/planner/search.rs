//! The cheapest plan that keeps the wanted recall.

use super::answers::{Answers, Point};
use super::expect::{Coherence, Expected, Link, expected};
use super::stage_costs::StageCosts;

/// What a plan must keep to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// Sensitivity of the individual test, which decides the flags; also what individual testing finds.
    pub individual_sensitivity: f64,
    /// Share of all positives that grouped testing may miss beyond individual testing, such as 0.005.
    pub recall_loss: f64,
    /// Images of a group at most.
    pub largest: usize,
    /// Rounds at most.
    pub rounds: usize,
}

/// A plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The sizes of its tests, falling to 1, and the sensitivities that their thresholds are set for.
    pub chain: Vec<Link>,
    /// What to expect of it.
    pub expected: Expected,
}

impl Choice {
    /// The sizes of its tests.
    pub fn sizes(&self) -> Vec<usize> {
        self.chain.iter().map(|link| link.size).collect()
    }

    /// The sensitivity that tests of so many images are set for: that of the smallest size of the chain that holds them.
    pub fn sensitivity(&self, arity: usize) -> f64 {
        let holds = self.chain.iter().rev().find(|link| link.size >= arity);
        holds.unwrap_or(&self.chain[0]).point.sensitivity
    }

    /// In words, such as `16 > 4 > 1`.
    pub fn describe(&self) -> String {
        if self.is_individual() {
            return "individual".into();
        }
        self.sizes().iter().map(usize::to_string).collect::<Vec<_>>().join(" > ")
    }

    /// Whether it tests every image alone.
    pub fn is_individual(&self) -> bool {
        self.chain.len() == 1
    }
}

/// The cheapest of all chains over the calibrated sizes, individual testing among them.
///
/// # Errors
/// Says so where individual tests are not calibrated for the wanted sensitivity.
pub fn best(
    answers: &Answers,
    prevalence: f64,
    coherence: Coherence,
    costs: &StageCosts,
    wanted: Wanted,
) -> Result<Choice, String> {
    let sizes = answers.sizes().iter().map(|s| s.arity).filter(|&size| size <= wanted.largest);
    let mut best: Option<Choice> = None;
    for size in sizes {
        // What its first round costs is a bound that spares most of the work.
        let least = costs.first(size) / size as f64;
        if best.as_ref().is_some_and(|b| least >= b.expected.cost) {
            continue;
        }
        let choice = best_of_size(size, answers, prevalence, coherence, costs, wanted)?;
        best = cheaper(best, choice);
    }
    best.ok_or_else(|| "no size of at most the largest allowed is calibrated".into())
}

/// The cheapest of the chains that begin with `size`; none if no chain keeps the wanted recall, or the size is not calibrated.
///
/// # Errors
/// Says so where individual tests are not calibrated for the wanted sensitivity.
pub fn best_of_size(
    size: usize,
    answers: &Answers,
    prevalence: f64,
    coherence: Coherence,
    costs: &StageCosts,
    wanted: Wanted,
) -> Result<Option<Choice>, String> {
    let sizes: Vec<usize> = answers.sizes().iter().map(|s| s.arity).collect();
    let mut chains = Vec::new();
    extend(&mut vec![size], &sizes, wanted.rounds.max(1), &mut chains);
    let mut best = None;
    for chain in chains {
        best = cheaper(best, cheapest_sensitivities(&chain, answers, prevalence, coherence, costs, wanted)?);
    }
    Ok(best)
}

/// The cheaper of two, the first of equals.
fn cheaper(a: Option<Choice>, b: Option<Choice>) -> Option<Choice> {
    match (a, b) {
        (Some(a), Some(b)) if b.expected.cost < a.expected.cost => Some(b),
        (Some(a), _) => Some(a),
        (None, b) => b,
    }
}

/// All chains that begin with `chain`, each size dividing the one before, down to 1.
fn extend(chain: &mut Vec<usize>, sizes: &[usize], rounds: usize, found: &mut Vec<Vec<usize>>) {
    let last = chain[chain.len() - 1];
    if last == 1 {
        return found.push(chain.clone());
    }
    let left = rounds.saturating_sub(chain.len());
    for &size in sizes.iter().filter(|&&s| s < last && last.is_multiple_of(s)) {
        if left == 0 || (left == 1 && size > 1) {
            continue;
        }
        chain.push(size);
        extend(chain, sizes, rounds, found);
        chain.pop();
    }
}

/// For one chain, the sensitivities with the least cost that keep the wanted recall: all begin as high as the calibration goes, and the
/// one that saves most for the recall it loses is lowered, until none can be; none if even the highest lose too much.
///
/// # Errors
/// Says so where individual tests are not calibrated for the wanted sensitivity.
pub fn cheapest_sensitivities(
    sizes: &[usize],
    answers: &Answers,
    prevalence: f64,
    coherence: Coherence,
    costs: &StageCosts,
    wanted: Wanted,
) -> Result<Option<Choice>, String> {
    let sensitivity = wanted.individual_sensitivity;
    let Some(alone) = answers.at(1, sensitivity) else {
        return Err(format!("tests of one image are not calibrated for a sensitivity of {sensitivity}"));
    };
    let judge = |chain: Vec<Link>| Choice { expected: expected(&chain, prevalence, coherence, costs), chain };
    let least = judge(vec![Link { size: 1, point: alone }]).expected.recall - wanted.recall_loss - 1e-9;
    let points: Vec<&[Point]> = sizes.iter().filter_map(|&m| answers.of(m)).map(|s| &s.points[..]).collect();
    let pooled = sizes.len() - 1;
    if points.len() != sizes.len() {
        return Ok(None);
    }
    let build = |picked: &[usize]| {
        let pool = |level: usize| Link { size: sizes[level], point: points[level][picked[level]] };
        judge((0..pooled).map(pool).chain([Link { size: 1, point: alone }]).collect())
    };
    let mut picked: Vec<usize> = points[..pooled].iter().map(|p| p.len() - 1).collect();
    let mut best = build(&picked);
    if best.expected.recall < least {
        return Ok(None);
    }
    loop {
        let lower = (0..pooled).filter(|&level| picked[level] > 0).filter_map(|level| {
            let mut tried = picked.clone();
            tried[level] -= 1;
            let choice = build(&tried);
            let saved = best.expected.cost - choice.expected.cost;
            let lost = (best.expected.recall - choice.expected.recall).max(1e-12);
            (choice.expected.recall >= least && saved > 0.0).then_some((saved / lost, tried, choice))
        });
        match lower.max_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((_, tried, choice)) => (picked, best) = (tried, choice),
            None => return Ok(Some(best)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::SizeAnswers;

    const WANTED: Wanted = Wanted { individual_sensitivity: 0.99, recall_loss: 0.005, largest: 64, rounds: 6 };

    fn answers(worse: f64) -> Answers {
        let size = |arity: usize| {
            let points = [0.9, 0.98, 0.99, 0.995, 0.999].iter().enumerate();
            let specificity = |i: usize| (1.0 - worse * 0.002 * (arity as f64).sqrt() * 2f64.powi(i as i32)).max(0.0);
            SizeAnswers {
                arity,
                points: points.map(|(i, &sensitivity)| Point { sensitivity, specificity: specificity(i) }).collect(),
            }
        };
        Answers::new([1, 2, 3, 4, 6, 8, 12, 16, 32].map(size).into()).unwrap()
    }

    fn costs(share: f64) -> StageCosts {
        StageCosts { item: share, tiers: vec![], score: vec![(1, 1.0 - share)] }
    }

    #[test]
    fn chains_divide_and_end_in_one() {
        let mut found = Vec::new();
        extend(&mut vec![12], &[1, 2, 3, 4, 6, 8, 12], 3, &mut found);
        assert_eq!(found.len(), 5, "{found:?}"); // 12>1, and 12>x>1 for 2, 3, 4, 6
        assert!(found.iter().all(|c| c.last() == Some(&1) && c.len() <= 3 && c.windows(2).all(|w| w[0] % w[1] == 0)));
        let mut two = Vec::new();
        extend(&mut vec![12], &[1, 2, 3, 4, 6, 8, 12], 2, &mut two);
        assert_eq!(two, [[12, 1]]);
    }

    #[test]
    fn rare_positives_are_pooled_and_frequent_ones_are_not() {
        let plan = |p| best(&answers(1.0), p, Coherence::default(), &costs(0.1), WANTED).unwrap();
        assert!(plan(0.0001).chain[0].size >= 16 && plan(0.0001).expected.cost < 0.25);
        assert!(plan(0.4).is_individual());
        assert!((plan(0.4).expected.cost - 1.0).abs() < 1e-12);
        let costs: Vec<f64> = [0.0001, 0.001, 0.01, 0.05, 0.1, 0.2].iter().map(|&p| plan(p).expected.cost).collect();
        assert!(costs.windows(2).all(|w| w[0] <= w[1]), "{costs:?}");
    }

    #[test]
    fn a_network_that_pools_badly_is_not_pooled() {
        let plan = |worse| best(&answers(worse), 0.001, Coherence::default(), &costs(0.1), WANTED).unwrap();
        assert!(!plan(1.0).is_individual() && plan(200.0).is_individual());
    }

    #[test]
    fn recall_is_kept() {
        for p in [0.0001, 0.001, 0.01, 0.1] {
            for loss in [0.0005, 0.002, 0.01, 0.05] {
                let wanted = Wanted { recall_loss: loss, ..WANTED };
                let plan = best(&answers(1.0), p, Coherence::default(), &costs(0.1), wanted).unwrap();
                assert!(plan.expected.recall >= 0.99 - loss - 1e-8, "{p} {loss}: {plan:?}");
            }
        }
    }

    #[test]
    fn what_is_not_calibrated_is_an_error() {
        let wanted = Wanted { individual_sensitivity: 0.9999, ..WANTED };
        let error = best(&answers(1.0), 0.01, Coherence::default(), &costs(0.1), wanted).unwrap_err();
        assert!(error.contains("0.9999"), "{error}");
    }
}
