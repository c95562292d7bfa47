//! The list of what was recorded (pure).

use super::TestCost;

/// A line of `index.csv`: the scores of one design at one group size.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The file, relative to the index.
    pub file: String,
    /// Positives among the items, in per cent.
    pub prevalence_percent: f64,
    /// Seed of the items' order.
    pub shuffle_seed: u64,
    /// The design; within a folder it stands for one checkpoint.
    pub design: String,
    /// Items in a group.
    pub size: usize,
    /// A test with nothing cached, in GMAC.
    pub gmac_per_test: f64,
    /// How much of it is per image and can be kept for a retest, in GMAC; none where it isn't known.
    pub gmac_reusable: Option<f64>,
    /// Where the network merges, in words.
    pub merge: String,
    /// Rows of the file.
    pub groups: usize,
}

impl Entry {
    /// The folder that the file is in, relative to the index.
    pub fn folder(&self) -> &str {
        self.file.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The layer that the last merge comes after, such as `layer2`; none if nothing can be kept for a retest.
    fn last_merge(&self) -> Option<&str> {
        self.gmac_reusable.filter(|&gmac| gmac > 0.0)?;
        self.merge.rsplit_once("after ").map(|(_, layer)| layer.trim())
    }

    /// A test without what can be kept of it, in GMAC.
    fn head(&self) -> f64 {
        self.gmac_per_test - self.gmac_reusable.unwrap_or(0.0)
    }

    /// What a test costs.
    ///
    /// Networks that merge last after the same layer run the same layers in a retest. The index has its costs rounded an image, so that
    /// these layers come out as 12.85 to 12.88 GMAC; the entry with the smallest groups is the least rounded, and gives the 12.86 that the
    /// paper charges for every retest of a group.
    pub fn cost(&self, index: &[Entry]) -> TestCost {
        let layer = self.last_merge();
        let alike = index.iter().filter(|other| layer.is_some() && other.last_merge() == layer);
        let retest = alike.min_by_key(|other| other.size).unwrap_or(self).head();
        TestCost { full: self.gmac_per_test, retest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(design: &str, size: usize, per_test: f64, reusable: Option<f64>, merge: &str) -> Entry {
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
