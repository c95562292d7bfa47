//! The list of recorded scores (pure).

use dorfman_core::cost::TestCost;

/// A line of `index.csv`: the scores of one design at one group size.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The file, relative to the index.
    pub file: String,
    /// Positives among the items, in per cent.
    pub prevalence_percent: f64,
    /// The seed of the items' order.
    pub shuffle_seed: u64,
    /// The design. Within a folder, a design is one checkpoint.
    pub design: String,
    /// Items per group.
    pub size: usize,
    /// The cost of a test without cached features, in GMAC (10^9 multiply-adds).
    pub gmac_per_test: f64,
    /// The part of the cost that is per image and can be kept for a retest, in GMAC. `None` if it
    /// is not known.
    pub gmac_reusable: Option<f64>,
    /// Where the network merges, in words.
    pub merge: String,
    /// Rows of the file.
    pub groups: usize,
}

impl Entry {
    /// The folder of the file, relative to the index.
    pub fn folder(&self) -> &str {
        self.file.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The layer before the last merge, such as `layer2`. `None` if nothing can be kept for a
    /// retest.
    fn last_merge(&self) -> Option<&str> {
        self.gmac_reusable.filter(|&gmac| gmac > 0.0)?;
        self.merge.rsplit_once("after ").map(|(_, layer)| layer.trim())
    }

    /// The cost of a test on cached features, in GMAC.
    fn cached(&self) -> f64 {
        self.gmac_per_test - self.gmac_reusable.unwrap_or(0.0)
    }

    /// The cost of a test, in GMAC.
    ///
    /// Networks that merge last after the same layer run the same layers in a retest. The index
    /// has costs that are rounded per image, which makes these layers 12.85 to 12.88 GMAC. The
    /// entry with the smallest groups has the smallest rounding error: it gives the 12.86 GMAC
    /// that the paper charges for every retest of a group.
    pub fn cost(&self, index: &[Entry]) -> TestCost {
        let layer = self.last_merge();
        let same = index.iter().filter(|other| layer.is_some() && other.last_merge() == layer);
        let retest = same.min_by_key(|other| other.size).unwrap_or(self).cached();
        TestCost { full: self.gmac_per_test, retest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(
        design: &str,
        size: usize,
        per_test: f64,
        reusable: Option<f64>,
        merge: &str,
    ) -> Entry {
        Entry {
            file: format!("some/{design}_m{size}.csv"),
            prevalence_percent: 0.1,
            shuffle_seed: 1,
            design: design.to_owned(),
            size,
            gmac_per_test: per_test,
            gmac_reusable: reusable,
            merge: merge.to_owned(),
            groups: 1,
        }
    }

    #[test]
    fn a_retest_costs_the_layers_after_the_last_merge_as_the_smallest_groups_give_them() {
        let index = [
            entry("tree", 8, 14.5, Some(4.0), "pairs after layer1, all after layer2"),
            entry("late", 4, 21.0, Some(10.0), "max after layer2"),
            entry("early", 2, 18.0, Some(3.0), "max after layer1"),
            entry("alone", 1, 16.0, Some(0.0), "none"),
            entry("pixel", 2, 16.0, Some(0.0), "pixel mean"),
            entry("unknown", 2, 18.0, None, "max after layer2"),
        ];
        let retests: Vec<f64> = index.iter().map(|e| e.cost(&index).retest).collect();
        assert_eq!(retests, [11.0, 11.0, 15.0, 16.0, 16.0, 18.0]);
        assert_eq!(index[0].cost(&index).full, 14.5);
        assert_eq!(index[0].folder(), "some");
    }
}
