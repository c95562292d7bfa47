//! The pool of an item, by its risk and its message key (pure).
//!
//! Pools by risk are informative group testing: C. S. McMahan, J. M. Tebbs & C. R. Bilder,
//! "Informative Dorfman Screening", Biometrics 68 (2012). Risks are cut into bands, and each band
//! has a plan for its own prevalence. Positives that arrive together cost less in one group than in
//! several: S. D. Lendle, M. G. Hudgens & B. F. Qaqish, "Group Testing for Case Identification with
//! Correlated Responses", Biometrics 68 (2012).

use std::hash::{DefaultHasher, Hash, Hasher};

/// Assigns items to pools: one band per range of risks, and in each band one pool per hash of the
/// message key. Pools are numbered from 0; a risk is the prior probability, 0 to 1, that an item is
/// positive.
///
/// ```
/// use dorfman_core::grouping::PoolRule;
///
/// // Two bands, below and from 0.01 on, with 4 key pools each.
/// let rule = PoolRule::new(vec![0.01], 0.001, 4);
/// assert_eq!(rule.pool(Some(0.5), None), 4);
/// assert_eq!(rule.pool(None, Some(6)), 2);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PoolRule {
    /// In the precision of message risks, so that a risk equal to an edge compares as equal.
    edges: Vec<f32>,
    default_risk: f32,
    key_pools: usize,
}

impl PoolRule {
    /// Bands between `edges`, which are risks (0 to 1) and must rise; a risk at an edge belongs to
    /// the band above it. An item without a risk is assigned `default_risk` (0 to 1). Each band has
    /// `key_pools` pools (0 counts as 1), over which message keys are distributed.
    pub fn new(edges: Vec<f64>, default_risk: f64, key_pools: usize) -> Self {
        let edges = edges.into_iter().map(|edge| edge as f32).collect();
        Self { edges, default_risk: default_risk as f32, key_pools: key_pools.max(1) }
    }

    /// The risk of an item, 0 to 1: `risk`, or the default risk if it is unknown.
    pub fn risk(&self, risk: Option<f32>) -> f32 {
        risk.unwrap_or(self.default_risk)
    }

    /// The number of pools per band, at least 1: pool `p` belongs to band `p / key_pools`.
    pub fn key_pools(&self) -> usize {
        self.key_pools
    }

    /// The pool of an item with `risk` (0 to 1) and `key`, a hash by [`key_hash`]. An item without
    /// a key is in the first pool of its band. The result is below the number of bands times
    /// [`PoolRule::key_pools`].
    pub fn pool(&self, risk: Option<f32>, key: Option<u64>) -> usize {
        let risk = self.risk(risk);
        let band = self.edges.partition_point(|&edge| edge <= risk);
        let key_pool = key.map_or(0, |key| (key % self.key_pools as u64) as usize);
        band * self.key_pools + key_pool
    }
}

impl Default for PoolRule {
    /// One band with one pool. The default risk is 0.001.
    fn default() -> Self {
        Self::new(Vec::new(), 0.001, 1)
    }
}

/// The hash of a message key. Equal keys have equal hashes within one process. Another version of
/// the standard library may give other hashes, so they must not be stored.
pub fn key_hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_risk_at_an_edge_belongs_above_it() {
        let rule = PoolRule::new(vec![0.25, 0.5], 0.3, 1);
        let risks = [Some(0.0), Some(0.2), Some(0.25), Some(0.49), Some(0.5), Some(1.0), None];
        assert_eq!(risks.map(|risk| rule.pool(risk, None)), [0, 0, 1, 1, 2, 2, 1]);
        // These edges are not exact in binary.
        for (edge, risk) in [(0.01, 0.01), (0.1, 0.1), (0.7, 0.7), (0.9, 0.9)] {
            assert_eq!(PoolRule::new(vec![edge], 0.0, 1).pool(Some(risk), None), 1, "{edge}");
        }
    }

    proptest! {
        /// Equal keys share a pool, every pool exists, and a higher risk is never in a lower band.
        #[test]
        fn keys_and_risks_decide_the_pool(
            a in 0.0f32..1.0,
            b in 0.0f32..1.0,
            key: Vec<u8>,
            key_pools in 1usize..20,
        ) {
            let rule = PoolRule::new(vec![0.1, 0.3, 0.7], 0.01, key_pools);
            let pool = |risk| rule.pool(Some(risk), Some(key_hash(&key)));
            let pools = (rule.edges.len() + 1) * key_pools;
            prop_assert!(pool(a) < pools && pool(b) < pools);
            prop_assert_eq!(pool(a) % key_pools, pool(b) % key_pools);
            prop_assert!(a > b || pool(a) <= pool(b));
        }
    }
}
