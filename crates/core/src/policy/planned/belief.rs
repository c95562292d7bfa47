//! The probability that each set of a tree holds a positive, given the scores of all tests (pure).
//!
//! Each member is positive with its own prior, independently of the others. A set is positive if
//! one of its members is. The score of a test multiplies the odds of its set by the likelihood
//! ratio of the score. On a tree the posteriors are exact after one pass from the leaves to the
//! root and one pass back (the sum-product algorithm; F. R. Kschischang, B. J. Frey, H.-A.
//! Loeliger, "Factor Graphs and the Sum-Product Algorithm", IEEE Trans. Inf. Theory 47, 2001).

use super::tree::Tree;

/// Priors are clamped to this distance from 0 and 1, which no evidence could change.
const LEAST: f64 = 1e-9;

/// Posteriors of the sets of a tree, and memory for the messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Belief {
    /// Per node: weights of "no positive" and "at least one positive" from the node's own subtree;
    /// they sum to 1.
    inside: Vec<[f64; 2]>,
    /// Per node: the same weights from the rest of the tree.
    outside: Vec<[f64; 2]>,
    posterior: Vec<f64>,
}

impl Belief {
    /// P(at least one positive in `node` | scores of all tests).
    pub(super) fn of(&self, node: usize) -> f64 {
        self.posterior[node]
    }

    /// Computes all posteriors. `prior(i)` is the prior of member `i`; `ratio(node)` is the
    /// likelihood ratio of the node's score, 1 if the node was not tested.
    pub(super) fn update(
        &mut self,
        tree: &Tree,
        prior: impl Fn(usize) -> f64,
        ratio: impl Fn(usize) -> f64,
    ) {
        let n = tree.nodes.len();
        self.inside.resize(n, [0.0; 2]);
        self.outside.resize(n, [0.0; 2]);
        self.posterior.resize(n, 0.0);
        for at in (0..n).rev() {
            let node = &tree.nodes[at];
            let [none, some] = if node.children.is_empty() {
                leaf(prior(node.members.0.trailing_zeros() as usize))
            } else {
                self.inside[node.children.clone()].iter().fold([1.0, 0.0], |[none, some], part| {
                    [none * part[0], some * (part[0] + part[1]) + none * part[1]]
                })
            };
            self.inside[at] = shares([none, some * ratio(at)]);
        }
        self.outside[0] = [0.5, 0.5];
        for at in 0..n {
            let ([none, some], [apart, beside]) = (self.inside[at], self.outside[at]);
            self.posterior[at] = shares([none * apart, some * beside])[1];
            let children = tree.nodes[at].children.clone();
            let beside = beside * ratio(at);
            for child in children.clone() {
                // Multiplied separately for each child: the product over all children can be too
                // small to divide by.
                let others = children.clone().filter(|&other| other != child);
                let others_none: f64 = others.map(|other| self.inside[other][0]).product();
                self.outside[child] =
                    shares([others_none * apart + (1.0 - others_none) * beside, beside]);
            }
        }
    }
}

fn leaf(prior: f64) -> [f64; 2] {
    let prior = prior.clamp(LEAST, 1.0 - LEAST);
    [1.0 - prior, prior]
}

/// The weights scaled to a sum of 1, both above 0.
fn shares([none, some]: [f64; 2]) -> [f64; 2] {
    let sum = none + some;
    [(none / sum).max(f64::MIN_POSITIVE), (some / sum).max(f64::MIN_POSITIVE)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Posteriors by enumeration of every combination of positives.
    fn by_enumeration(tree: &Tree, size: usize, priors: &[f64], ratios: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; tree.nodes.len()];
        let mut all = 0.0;
        for truth in 0u64..1 << size {
            let positive = |at: usize| tree.nodes[at].members.0 & truth != 0;
            let drawn: f64 = (0..size)
                .map(|i| if truth >> i & 1 == 1 { priors[i] } else { 1.0 - priors[i] })
                .product();
            let seen: f64 =
                (0..sums.len()).filter(|&at| positive(at)).map(|at| ratios[at]).product();
            all += drawn * seen;
            (0..sums.len()).filter(|&at| positive(at)).for_each(|at| sums[at] += drawn * seen);
        }
        sums.iter().map(|sum| sum / all).collect()
    }

    proptest! {
        #[test]
        fn posteriors_are_those_of_enumeration(
            sizes in prop::collection::btree_set(2usize..=9, 0..4),
            size in 1usize..=9,
            priors in prop::collection::vec(0.001f64..0.6, 9),
            logs in prop::collection::vec(-9.0f64..9.0, 18),
        ) {
            let chain: Vec<usize> = sizes.into_iter().rev().chain([1]).collect();
            let tree = Tree::new(&chain, size);
            let ratios: Vec<f64> = logs.iter().map(|log| log.exp()).collect();
            let mut belief = Belief::default();
            belief.update(&tree, |i| priors[i], |at| ratios[at]);
            for (at, exact) in by_enumeration(&tree, size, &priors, &ratios).into_iter().enumerate()
            {
                prop_assert!(
                    (belief.of(at) - exact).abs() < 1e-9,
                    "{at}: {} and {exact}",
                    belief.of(at)
                );
            }
        }

        #[test]
        fn extreme_evidence_stays_a_probability(
            size in 1usize..=64,
            logs in prop::collection::vec(-40.0f64..40.0, 128),
            prior in 0.0f64..=1.0,
        ) {
            let tree = Tree::new(&[32, 16, 8, 4, 2, 1], size);
            let mut belief = Belief::default();
            belief.update(&tree, |_| prior, |at| logs[at].exp());
            prop_assert!((0..tree.nodes.len()).all(|at| (0.0..=1.0).contains(&belief.of(at))));
        }
    }

    #[test]
    fn a_positive_half_explains_the_score_of_the_whole() {
        let tree = Tree::new(&[8, 4, 1], 8);
        let mut belief = Belief::default();
        belief.update(&tree, |_| 0.001, |at| if at == 0 { 1e4 } else { 1.0 });
        let before = belief.of(2);
        belief.update(&tree, |_| 0.001, |at| [1e4, 1e4, 1.0].get(at).copied().unwrap_or(1.0));
        assert!(before > 0.4 && belief.of(2) < 0.01, "{before} and {}", belief.of(2));
        belief.update(&tree, |_| 0.001, |at| [1e4, 1e-4, 1.0].get(at).copied().unwrap_or(1.0));
        assert!(belief.of(2) > 0.95, "{}", belief.of(2));
    }
}
