//! Tests chosen by posterior probabilities: the score of a test is evidence, not a yes or no
//! (pure).
//!
//! Every score multiplies the odds of its set ([`Evidence`]). The sets of a group form a tree, on
//! which the posterior of each set is exact. The next test is that of the set with the highest
//! probability of a positive per cost: the rule that finds a hidden object at the least expected
//! cost (D. Blackwell's rule, in D. Matula, "A Periodic Optimal Search", Amer. Math. Monthly 71,
//! 1964; J. B. Kadane, "Discrete Search and the Neyman-Pearson Lemma", J. Math. Anal. Appl. 22,
//! 1968). The worth of a positive is the Lagrange multiplier of recall: when no test repays its
//! cost in expectation, the remaining members are cleared.

mod belief;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use super::{
    Decision, Members, MultiRound, Outcome, Plan, PlanError, Policy, PolicyInputs, Round, Test,
};
use crate::calibration::Evidence;
use crate::cost::TestCosts;
use belief::Belief;
use tree::Tree;

/// The weight of a set's evidence after all its members were retested in smaller sets.
///
/// The scores of nested sets come from the same features, so they are not independent: on the
/// scores of docs/retesting.md the scores of a negative set and of its higher half correlate at
/// 0.67 to 0.79. A weight of 1 would count the shared part twice. A weight of 0 would let one low
/// score of a small set overrule all other scores.
const RETESTED_WEIGHT: f64 = 0.5;

/// The least distance of a member's own prior from 0 and 1.
const PRIOR_MARGIN: f64 = 1e-6;

/// Tests the set with the highest probability of a positive per cost, while that repays the cost.
///
/// The score of a test is evidence ([`Evidence`]): it changes the probability that each set of the
/// group holds a positive. The next test is that of the set with the highest probability per cost.
/// A set that is almost certainly positive is not tested itself; its parts are tested instead.
/// This rule finds a hidden object at the least expected cost (D. Blackwell's rule, in D. Matula,
/// "A Periodic Optimal Search", Amer. Math. Monthly 71, 1964). When no test repays its cost in
/// expectation, the remaining members are cleared.
///
/// A set is tested at most once, and the tests of a group run one after another. A group of n
/// therefore takes at most 2n - 1 tests and as many rounds, and its cost is at most one test of
/// every set of its tree. A member is flagged if its individual test is positive. All other members
/// are cleared: a member with an individual test at once, the others when the group ends.
#[derive(Debug, Clone)]
pub struct Planned {
    chain: Arc<[usize]>,
    tree: Arc<Tree>,
    rule: Arc<Rule>,
}

#[derive(Debug)]
struct Rule {
    evidence: Evidence,
    costs: TestCosts,
    prior: f64,
    /// The worth of a positive, in the unit of the costs.
    worth: f64,
}

impl Planned {
    /// A plan for groups of the first size of `chain`, which falls to 1, such as `[16, 8, 4, 2,
    /// 1]`. Sizes are numbers of items, at most [`super::MAX_GROUP`]. Sets are cut into parts of
    /// these sizes.
    ///
    /// `evidence` and `costs` are by arity; the costs have any unit. `prior` is the share of
    /// positives among the items, above 0 and below 1. `worth` is what finding a positive is worth,
    /// in individual tests on cached features, above 0. Without group testing, finding one costs
    /// `1 / prior` tests.
    ///
    /// # Errors
    /// [`PlanError`] for the chain (as [`MultiRound::new`]), [`PlanError::Prior`] for a prior that
    /// is not above 0 and below 1, and [`PlanError::Worth`] for a worth that is not finite and
    /// above 0.
    pub fn new(
        chain: &[usize],
        evidence: Evidence,
        costs: TestCosts,
        prior: f64,
        worth: f64,
    ) -> Result<Self, PlanError> {
        MultiRound::new(chain)?;
        if !(prior > 0.0 && prior < 1.0) {
            return Err(PlanError::Prior(prior));
        }
        if !(worth > 0.0 && worth.is_finite()) {
            return Err(PlanError::Worth(worth));
        }
        let worth = worth * costs.retest(1);
        let tree = Arc::new(Tree::new(chain, chain[0]));
        Ok(Self {
            chain: chain.into(),
            tree,
            rule: Arc::new(Rule { evidence, costs, prior, worth }),
        })
    }

    /// [`Planned::new`] with the evidence, costs and prior of `inputs`.
    ///
    /// # Errors
    /// As [`Planned::new`], and [`PlanError::Calibration`] if the calibration yields no evidence.
    pub fn from_inputs(
        chain: &[usize],
        inputs: &PolicyInputs,
        worth: f64,
    ) -> Result<Self, PlanError> {
        let evidence = inputs.evidence.clone()?;
        Self::new(chain, evidence, inputs.costs.clone(), inputs.prior, worth)
    }

    /// The policy of a group whose members have priors of their own. `priors[i]` is the
    /// probability, 0 to 1, that member `i` is positive; values closer than 1e-9 to 0 or 1 are
    /// moved to this distance. Members beyond the end of `priors` have the plan's prior.
    pub fn policy_with(&self, priors: Vec<f64>) -> Box<dyn Policy> {
        Box::new(PlannedPolicy {
            plan: self.clone(),
            tree: Arc::clone(&self.tree),
            priors,
            observations: Vec::new(),
            ratios: Vec::new(),
            belief: Belief::default(),
            tested: 0,
            with_verdict: Members::NONE,
        })
    }
}

impl Plan for Planned {
    fn group_size(&self) -> usize {
        self.chain[0]
    }

    fn policy(&self) -> Box<dyn Policy> {
        self.policy_with(Vec::new())
    }

    fn policy_for(&self, risks: &[Option<f32>]) -> Box<dyn Policy> {
        // A risk of 0 or 1 would overrule every score.
        let bounded = |risk: f32| f64::from(risk).clamp(PRIOR_MARGIN, 1.0 - PRIOR_MARGIN);
        let prior = |risk: &Option<f32>| risk.map_or(self.rule.prior, bounded);
        self.policy_with(risks.iter().map(prior).collect())
    }

    fn arities(&self) -> Vec<usize> {
        self.chain.to_vec()
    }

    fn describe(&self) -> String {
        let sizes: Vec<String> = self.chain.iter().map(usize::to_string).collect();
        format!("planned {}", sizes.join(" > "))
    }
}

/// What a test of exactly this set showed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Observation {
    /// The set was not tested.
    None,
    /// The set was passed over: its parts are tested instead.
    Skipped,
    /// The set was tested: the natural logarithm of the likelihood ratio of its score.
    Score(f64),
}

impl Observation {
    fn is_score(self) -> bool {
        matches!(self, Observation::Score(_))
    }
}

/// The state machine of one group.
struct PlannedPolicy {
    plan: Planned,
    tree: Arc<Tree>,
    priors: Vec<f64>,
    /// By node.
    observations: Vec<Observation>,
    /// By node: the likelihood ratio with its present weight.
    ratios: Vec<f64>,
    belief: Belief,
    /// The node whose test is outstanding.
    tested: usize,
    /// Members with a verdict.
    with_verdict: Members,
}

impl PlannedPolicy {
    /// Recomputes the likelihood ratios and posteriors from all observations.
    fn update(&mut self) {
        let nodes = &self.tree.nodes;
        // Sets of nodes as bits (at most 127 nodes): those whose members were all tested in smaller
        // sets, and those that were tested themselves or are in the first set.
        let (mut retested, mut examined) = (0_u128, 0_u128);
        self.ratios.resize(nodes.len(), 1.0);
        for at in (0..nodes.len()).rev() {
            let mut children = nodes[at].children.clone();
            if !children.is_empty() && children.all(|child| examined >> child & 1 == 1) {
                retested |= 1 << at;
            }
            let was_retested = retested >> at & 1 == 1;
            if was_retested || self.observations[at].is_score() {
                examined |= 1 << at;
            }
            self.ratios[at] = match self.observations[at] {
                Observation::Score(log) if was_retested => (RETESTED_WEIGHT * log).exp(),
                Observation::Score(log) => log.exp(),
                Observation::None | Observation::Skipped => 1.0,
            };
        }
        let (priors, usual) = (&self.priors, self.plan.rule.prior);
        let prior = |i: usize| priors.get(i).copied().unwrap_or(usual);
        self.belief.update(&self.tree, prior, |at| self.ratios[at]);
    }

    /// The node with the highest probability of a positive per cost of its test, if that repays the
    /// cost.
    fn best(&self) -> Option<usize> {
        let (nodes, rule) = (&self.tree.nodes, &self.plan.rule);
        let mut open = 1_u128;
        let mut best = (1.0 / rule.worth, None);
        for (at, node) in nodes.iter().enumerate().skip(1) {
            if open >> node.parent & 1 == 0 {
                continue;
            }
            if self.observations[at] != Observation::None || self.is_certain(at) {
                open |= 1 << at;
                continue;
            }
            let value = self.belief.of(at) / rule.costs.retest(node.members.len());
            // The values of equal halves differ only by rounding; the first half is preferred.
            if value > best.0 * (1.0 + 1e-9) {
                best = (value, Some(at));
            }
        }
        best.1
    }

    /// Whether a set is so likely positive that its own test would cost more than it saves.
    ///
    /// If the set is negative, its test saves the tests of all parts. If it is positive, and the
    /// only positive is in the last of n parts, it saves the test of that part, because the other
    /// parts are then negative. A single member is always tested.
    fn is_certain(&self, at: usize) -> bool {
        let (nodes, costs) = (&self.tree.nodes, &self.plan.rule.costs);
        let parts = &nodes[at].children;
        let Some(last) = parts.clone().last() else { return false };
        let retest = |at: usize| costs.retest(nodes[at].members.len());
        let all: f64 = parts.clone().map(retest).sum();
        let several = nodes[last].members.len() > 1;
        let inferred = if several { retest(last) / parts.len() as f64 } else { 0.0 };
        let positive = self.belief.of(at);
        retest(at) >= (1.0 - positive) * all + positive * inferred
    }

    fn request(&mut self, at: usize, round: Round, decision: &mut Decision) {
        self.tested = at;
        decision.test(self.tree.nodes[at].members, round);
        let mut above = self.tree.nodes[at].parent;
        while self.observations[above] == Observation::None && above != at {
            self.observations[above] = Observation::Skipped;
            above = self.tree.nodes[above].parent;
        }
    }

    fn next(&mut self, round: Round, decision: &mut Decision) {
        self.update();
        match self.best() {
            Some(at) => self.request(at, round, decision),
            None => decision.clear(self.tree.nodes[0].members.without(self.with_verdict)),
        }
    }
}

impl Policy for PlannedPolicy {
    fn start(&mut self, size: usize, decision: &mut Decision) {
        if size != self.plan.group_size() {
            self.tree = Arc::new(Tree::new(&self.plan.chain, size));
        }
        self.observations = vec![Observation::None; self.tree.nodes.len()];
        self.tested = 0;
        decision.test(Members::first(size), Round::FIRST);
    }

    fn observe(&mut self, test: Test, outcome: Outcome, decision: &mut Decision) {
        let members = test.members;
        // The score of an individual test is evidence like any other, also where its threshold
        // flags the member: a doubtful flag explains little of the group's score.
        let log = self.plan.rule.evidence.log(members.len(), outcome.score);
        self.observations[self.tested] = Observation::Score(log);
        if members.len() == 1 {
            self.with_verdict = self.with_verdict.union(members);
            decision.settle(members, outcome.positive);
        }
        if self.with_verdict != self.tree.nodes[0].members {
            self.next(test.round.next(), decision);
        }
    }
}
