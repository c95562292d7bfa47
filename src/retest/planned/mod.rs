//! A score is evidence: what is tested next, and when a group is done with, follows from how likely each set holds a positive (pure).
//!
//! Every score multiplies the odds of its set ([`Evidence`]); the sets of a group are a tree, on which the posterior of each is exact. Of the
//! sets that could be tested next the one with the most probability for its cost is: the rule that finds a hidden object at the least
//! expected cost (D. Blackwell's, in D. Matula, "A Periodic Optimal Search", Amer. Math. Monthly 71, 1964; J. B. Kadane, "Discrete Search
//! and the Neyman-Pearson Lemma", J. Math. Anal. Appl. 22, 1968). What a positive is worth is the Lagrange multiplier of recall: where no
//! test repays its cost in expectation, the rest is cleared.

mod belief;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use super::{Ask, Costs, Evidence, Knowledge, Members, MultiRound, Outcome, Plan, Policy, Step};
use belief::Belief;
use tree::Tree;

/// The weight of a set's evidence once all its members have been retested in smaller sets.
///
/// The scores of nested sets come from the same features, so they are no independent witnesses: on the scores of docs/retesting.md those of
/// a negative set and of its higher half correlate at 0.67 to 0.79. A weight of 1 would count twice what they share; 0 would let one low
/// score of a small set overrule all others.
const RETESTED: f64 = 0.5;

/// How near to 0 or 1 a member's own prior may be.
const SURE: f64 = 1e-6;

/// Tests a group where a positive is most likely for the cost, as long as that repays it.
///
/// A set is tested at most once and one test of a group follows another, so that a group of n takes fewer than 2n rounds and costs at most
/// one test of every set of its tree. A member is flagged if its individual test is positive; everybody else is cleared, a member tested
/// alone at once and the others when the group is done.
#[derive(Debug, Clone)]
pub struct Planned {
    chain: Arc<[usize]>,
    tree: Arc<Tree>,
    rule: Arc<Rule>,
}

#[derive(Debug)]
struct Rule {
    evidence: Evidence,
    costs: Costs,
    prior: f64,
    worth: f64,
}

impl Planned {
    /// A policy for groups of the first size of a `chain` that falls to 1, such as `[16, 8, 4, 2, 1]`: the sizes that sets are cut into.
    ///
    /// `prior` is the share of positives among the items. `worth` is what finding one is worth, in individual tests: without group testing
    /// one costs 1 / `prior` of them.
    ///
    /// # Errors
    /// Says what is wrong with the chain (as [`MultiRound::new`]), or with the numbers.
    pub fn new(chain: &[usize], evidence: Evidence, costs: Costs, prior: f64, worth: f64) -> Result<Self, String> {
        MultiRound::new(chain)?;
        if !(prior > 0.0 && prior < 1.0) {
            return Err(format!("a share of {prior} positives, must be between 0 and 1"));
        }
        if !(worth > 0.0 && worth.is_finite()) {
            return Err(format!("a positive is worth {worth} individual tests, must be more than 0"));
        }
        let worth = worth * costs.retest(1);
        let tree = Arc::new(Tree::new(chain, chain[0]));
        Ok(Self { chain: chain.into(), tree, rule: Arc::new(Rule { evidence, costs, prior, worth }) })
    }

    /// The same for a network of which this is known.
    ///
    /// # Errors
    /// As [`Planned::new`], and says so where scores are no evidence.
    pub fn knowing(chain: &[usize], known: &Knowledge, worth: f64) -> Result<Self, String> {
        let evidence = known.evidence.clone()?;
        Self::new(chain, evidence, known.costs.clone(), known.prior, worth)
    }

    /// A state machine for a group whose members have priors of their own, by position; members without one have the plan's.
    pub fn policy_with(&self, priors: Vec<f64>) -> Box<dyn Policy> {
        Box::new(Group {
            plan: self.clone(),
            tree: Arc::clone(&self.tree),
            priors,
            seen: Vec::new(),
            weights: Vec::new(),
            belief: Belief::default(),
            asked: 0,
            judged: Members::NONE,
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
        let usual = self.rule.prior;
        // A risk of 0 or 1 would overrule every score.
        self.policy_with(risks.iter().map(|r| r.map_or(usual, |r| f64::from(r).clamp(SURE, 1.0 - SURE))).collect())
    }

    fn arities(&self) -> Vec<usize> {
        self.chain.to_vec()
    }

    fn describe(&self) -> String {
        let sizes: Vec<String> = self.chain.iter().map(usize::to_string).collect();
        format!("planned {}", sizes.join(" > "))
    }
}

/// What is known of a set from a test of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Nothing,
    /// Its parts were tested instead.
    Skipped,
    /// Tested: the logarithm of the likelihood ratio of its score.
    Score(f64),
}

impl Seen {
    fn is_score(self) -> bool {
        matches!(self, Seen::Score(_))
    }
}

/// A group on its way.
struct Group {
    plan: Planned,
    tree: Arc<Tree>,
    priors: Vec<f64>,
    /// By node.
    seen: Vec<Seen>,
    /// By node, the likelihood ratio as it counts now.
    weights: Vec<f64>,
    belief: Belief,
    /// The node that is being tested.
    asked: usize,
    /// Who has a verdict.
    judged: Members,
}

impl Group {
    /// Takes in all that was seen.
    fn update(&mut self) {
        let nodes = &self.tree.nodes;
        // Of at most 127 nodes, those of which every member was tested in a smaller set, and those tested or such.
        let (mut retested, mut looked_into) = (0_u128, 0_u128);
        self.weights.resize(nodes.len(), 1.0);
        for at in (0..nodes.len()).rev() {
            let children = nodes[at].children.clone();
            if !children.is_empty() && children.into_iter().all(|child| looked_into >> child & 1 == 1) {
                retested |= 1 << at;
            }
            let again = retested >> at & 1 == 1;
            if again || self.seen[at].is_score() {
                looked_into |= 1 << at;
            }
            self.weights[at] = match self.seen[at] {
                Seen::Score(log) if again => (RETESTED * log).exp(),
                Seen::Score(log) => log.exp(),
                Seen::Nothing | Seen::Skipped => 1.0,
            };
        }
        let (priors, usual) = (&self.priors, self.plan.rule.prior);
        let prior = |i: usize| priors.get(i).copied().unwrap_or(usual);
        self.belief.update(&self.tree, prior, |at| self.weights[at]);
    }

    /// The set with the most probability of a positive for the cost of its test, if that repays it.
    fn best(&self) -> Option<usize> {
        let (nodes, rule) = (&self.tree.nodes, &self.plan.rule);
        let mut open = 1_u128;
        let mut best = (1.0 / rule.worth, None);
        for (at, node) in nodes.iter().enumerate().skip(1) {
            if open >> node.parent & 1 == 0 {
                continue;
            }
            if self.seen[at] != Seen::Nothing || self.is_certain(at) {
                open |= 1 << at;
                continue;
            }
            let value = self.belief.of(at) / rule.costs.retest(node.members.len());
            // Equal halves differ in the last digits only; the first of them is then meant.
            if value > best.0 * (1.0 + 1e-9) {
                best = (value, Some(at));
            }
        }
        best.1
    }

    /// Whether a set is so likely positive that its test would not pay: it costs more than it spares. Where the set is negative it spares the
    /// tests of all parts; where it is positive, and the positive in the last of n parts, it spares the test of that part, whose company is
    /// then negative. A single member gets its test all the same.
    fn is_certain(&self, at: usize) -> bool {
        let (nodes, costs) = (&self.tree.nodes, &self.plan.rule.costs);
        let parts = &nodes[at].children;
        let Some(last) = parts.clone().last() else { return false };
        let retest = |at: usize| costs.retest(nodes[at].members.len());
        let all: f64 = parts.clone().map(retest).sum();
        let inferred = if nodes[last].members.len() > 1 { retest(last) / parts.len() as f64 } else { 0.0 };
        let positive = self.belief.of(at);
        retest(at) >= (1.0 - positive) * all + positive * inferred
    }

    fn ask(&mut self, at: usize, round: u8, step: &mut Step) {
        self.asked = at;
        step.test(self.tree.nodes[at].members, round);
        let mut above = self.tree.nodes[at].parent;
        while self.seen[above] == Seen::Nothing && above != at {
            self.seen[above] = Seen::Skipped;
            above = self.tree.nodes[above].parent;
        }
    }

    fn next(&mut self, round: u8, step: &mut Step) {
        self.update();
        match self.best() {
            Some(at) => self.ask(at, round, step),
            None => step.cleared = step.cleared.union(self.tree.nodes[0].members.without(self.judged)),
        }
    }
}

impl Policy for Group {
    fn start(&mut self, size: usize, step: &mut Step) {
        if size != self.plan.group_size() {
            self.tree = Arc::new(Tree::new(&self.plan.chain, size));
        }
        self.seen = vec![Seen::Nothing; self.tree.nodes.len()];
        self.asked = 0;
        step.test(Members::first(size), 1);
    }

    fn observe(&mut self, test: Ask, outcome: Outcome, step: &mut Step) {
        let members = test.members;
        // An individual test that flags by its threshold is evidence by its score like any other: a doubtful flag explains little.
        self.seen[self.asked] = Seen::Score(self.plan.rule.evidence.log(members.len(), outcome.score));
        if members.len() == 1 {
            self.judged = self.judged.union(members);
            match outcome.positive {
                true => step.flagged = step.flagged.union(members),
                false => step.cleared = step.cleared.union(members),
            }
        }
        if self.judged != self.tree.nodes[0].members {
            self.next(test.round + 1, step);
        }
    }
}
