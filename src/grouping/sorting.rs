//! Like with like: which pool an item belongs to.
//!
//! Pools by risk are informative group testing: C. S. McMahan, J. M. Tebbs & C. R. Bilder, "Informative Dorfman Screening", Biometrics 68
//! (2012). The risks are cut into bands, and each band has a plan for its own prevalence. Positives that come together are cheaper in one
//! group than in several: S. D. Lendle, M. G. Hudgens & B. F. Qaqish, "Group Testing for Case Identification with Correlated Responses",
//! Biometrics 68 (2012).

use std::hash::{DefaultHasher, Hash, Hasher};

/// Puts items into pools by the band that their risk falls in and by the hash of their message key.
#[derive(Debug, Clone, PartialEq)]
pub struct Sorting {
    /// As exact as the risks of messages, so that a risk written like an edge is at it.
    edges: Vec<f32>,
    usual: f32,
    lanes: usize,
}

impl Sorting {
    /// Bands between `edges`, which must rise: a risk at an edge belongs to the band above it. An item without a risk counts as `usual`.
    /// Each band has so many `lanes` (at least 1), to which keys are dealt.
    pub fn new(edges: Vec<f64>, usual: f64, lanes: usize) -> Self {
        let edges = edges.into_iter().map(|edge| edge as f32).collect();
        Self { edges, usual: usual as f32, lanes: lanes.max(1) }
    }

    /// How many bands there are.
    pub fn bands(&self) -> usize {
        self.edges.len() + 1
    }

    /// How many lanes each band has: pool `p` is of band `p / lanes`.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// The pool of an item; one without a key is in the first lane of its band.
    pub fn pool(&self, risk: Option<f32>, key: Option<u64>) -> usize {
        let risk = risk.unwrap_or(self.usual);
        let band = self.edges.partition_point(|&edge| edge <= risk);
        let lane = key.map_or(0, |key| (key % self.lanes as u64) as usize);
        band * self.lanes + lane
    }
}

/// What of a message key counts: the same for equal keys.
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
        let sorting = Sorting::new(vec![0.25, 0.5], 0.3, 1);
        let pools =
            [Some(0.0), Some(0.2), Some(0.25), Some(0.49), Some(0.5), Some(1.0), None].map(|r| sorting.pool(r, None));
        assert_eq!(pools, [0, 0, 1, 1, 2, 2, 1]);
        assert_eq!(sorting.bands(), 3);
        // None of these is exact in binary.
        for (edge, risk) in [(0.01, 0.01), (0.1, 0.1), (0.7, 0.7), (0.9, 0.9)] {
            assert_eq!(Sorting::new(vec![edge], 0.0, 1).pool(Some(risk), None), 1, "{edge}");
        }
    }

    proptest! {
        /// Equal keys share a pool, no pool is out of range, and a higher risk is in no lower band.
        #[test]
        fn like_goes_with_like(a in 0.0f32..1.0, b in 0.0f32..1.0, key: Vec<u8>, lanes in 1usize..20) {
            let sorting = Sorting::new(vec![0.1, 0.3, 0.7], 0.01, lanes);
            let pool = |risk| sorting.pool(Some(risk), Some(key_hash(&key)));
            prop_assert!(pool(a) < sorting.bands() * lanes && pool(b) < sorting.bands() * lanes);
            prop_assert_eq!(pool(a) % lanes, pool(b) % lanes);
            prop_assert!(a > b || pool(a) <= pool(b));
        }
    }
}
