//! The cheapest plan that keeps the wanted recall.

use super::expect::{Coherence, Expected, Link, expected};
use super::stage_costs::StageCosts;
use crate::retest::{Answers, Point};

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

/// What plans are made from.
#[derive(Debug, Clone)]
pub struct Planner {
    answers: Answers,
    costs: StageCosts,
    coherence: Coherence,
    wanted: Wanted,
    /// The individual test, as wanted.
    alone: Link,
}

impl Planner {
    /// A planner for tests that answer so and cost so.
    ///
    /// # Errors
    /// Says so where individual tests are not calibrated for the wanted sensitivity.
    pub fn new(answers: Answers, costs: StageCosts, wanted: Wanted) -> Result<Self, String> {
        let sensitivity = wanted.individual_sensitivity;
        let Some(point) = answers.at(1, sensitivity) else {
            return Err(format!("tests of one image are not calibrated for a sensitivity of {sensitivity}"));
        };
        let alone = Link { size: 1, point };
        Ok(Self { answers, costs, coherence: Coherence::default(), wanted, alone })
    }

    /// How tests answer.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// What tests cost.
    pub fn costs(&self) -> &StageCosts {
        &self.costs
    }

    /// Images of a group at most: as wanted, and as calibrated.
    pub fn largest(&self) -> usize {
        let calibrated = self.answers.sizes().last().map_or(1, |size| size.arity);
        self.wanted.largest.min(calibrated)
    }

    /// What is expected of a chain.
    pub fn expected(&self, chain: &[Link], prevalence: f64) -> Expected {
        expected(chain, prevalence, self.coherence, &self.costs)
    }

    /// The least recall that a plan may have: individual testing's, less what may be lost.
    pub fn least_recall(&self, prevalence: f64) -> f64 {
        // What rounding takes off must not rule a plan out.
        self.expected(&[self.alone], prevalence).recall - self.wanted.recall_loss - 1e-9
    }

    /// The cheapest of all chains over the calibrated sizes, individual testing among them.
    pub fn best(&self, prevalence: f64) -> Choice {
        let mut best = self.judge(vec![self.alone], prevalence);
        for size in self.answers.sizes().iter().map(|s| s.arity).filter(|&size| size <= self.wanted.largest) {
            // What its first round costs is a bound that spares most of the work.
            if self.costs.first(size) / size as f64 >= best.expected.cost {
                continue;
            }
            if let Some(choice) = self.best_of_size(size, prevalence).filter(|c| c.expected.cost < best.expected.cost) {
                best = choice;
            }
        }
        best
    }

    /// The cheapest of the chains that begin with `size`; none if no chain keeps the wanted recall, or the size is not calibrated.
    pub fn best_of_size(&self, size: usize, prevalence: f64) -> Option<Choice> {
        let sizes: Vec<usize> = self.answers.sizes().iter().map(|s| s.arity).collect();
        let mut chains = Vec::new();
        extend(&mut vec![size], &sizes, self.wanted.rounds.max(1), &mut chains);
        let choices = chains.iter().filter_map(|chain| self.cheapest_sensitivities(chain, prevalence));
        choices.min_by(|a, b| a.expected.cost.total_cmp(&b.expected.cost))
    }

    /// For one chain, the sensitivities with the least cost that keep the wanted recall: all begin as high as the calibration goes, and the
    /// one that saves most for the recall it loses is lowered, until none can be; none if even the highest lose too much.
    fn cheapest_sensitivities(&self, sizes: &[usize], prevalence: f64) -> Option<Choice> {
        let least = self.least_recall(prevalence);
        let pools = &sizes[..sizes.len() - 1];
        let points: Option<Vec<&[Point]>> = pools.iter().map(|&m| Some(&self.answers.of(m)?.points[..])).collect();
        let points = points?;
        let build = |picked: &[usize]| {
            let pool = |level: usize| Link { size: pools[level], point: points[level][picked[level]] };
            self.judge((0..pools.len()).map(pool).chain([self.alone]).collect(), prevalence)
        };
        let mut picked: Vec<usize> = points.iter().map(|p| p.len() - 1).collect();
        let mut best = build(&picked);
        if best.expected.recall < least {
            return None;
        }
        loop {
            let lower = (0..pools.len()).filter(|&level| picked[level] > 0).filter_map(|level| {
                let mut tried = picked.clone();
                tried[level] -= 1;
                let choice = build(&tried);
                let saved = best.expected.cost - choice.expected.cost;
                let lost = (best.expected.recall - choice.expected.recall).max(1e-12);
                (choice.expected.recall >= least && saved > 0.0).then_some((saved / lost, tried, choice))
            });
            match lower.max_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((_, tried, choice)) => (picked, best) = (tried, choice),
                None => return Some(best),
            }
        }
    }

    fn judge(&self, chain: Vec<Link>, prevalence: f64) -> Choice {
        Choice { expected: self.expected(&chain, prevalence), chain }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retest::SizeAnswers;

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

    fn planner(worse: f64, wanted: Wanted) -> Planner {
        Planner::new(answers(worse), costs(0.1), wanted).unwrap()
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
        let plan = |p| planner(1.0, WANTED).best(p);
        assert!(plan(0.0001).chain[0].size >= 16 && plan(0.0001).expected.cost < 0.25);
        assert!(plan(0.4).is_individual());
        assert!((plan(0.4).expected.cost - 1.0).abs() < 1e-12);
        let costs: Vec<f64> = [0.0001, 0.001, 0.01, 0.05, 0.1, 0.2].iter().map(|&p| plan(p).expected.cost).collect();
        assert!(costs.windows(2).all(|w| w[0] <= w[1]), "{costs:?}");
    }

    #[test]
    fn a_network_that_pools_badly_is_not_pooled() {
        let plan = |worse| planner(worse, WANTED).best(0.001);
        assert!(!plan(1.0).is_individual() && plan(200.0).is_individual());
    }

    #[test]
    fn recall_is_kept() {
        for p in [0.0001, 0.001, 0.01, 0.1] {
            for loss in [0.0005, 0.002, 0.01, 0.05] {
                let wanted = Wanted { recall_loss: loss, ..WANTED };
                let plan = planner(1.0, wanted).best(p);
                assert!(plan.expected.recall >= 0.99 - loss - 1e-8, "{p} {loss}: {plan:?}");
            }
        }
    }

    #[test]
    fn what_is_not_calibrated_is_an_error() {
        let wanted = Wanted { individual_sensitivity: 0.9999, ..WANTED };
        let error = Planner::new(answers(1.0), costs(0.1), wanted).unwrap_err();
        assert!(error.contains("0.9999"), "{error}");
    }
}
