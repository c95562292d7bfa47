//! What tests cost, in whatever unit: seconds of a profile, or multiply-adds.

/// Rows between the images and the score: stage k of a tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tier {
    /// How many images a full row covers.
    pub span: usize,
    /// What a row costs.
    pub row: f64,
}

/// What the parts of a test cost. Each image passes the first stage once; its rows are kept, so that retests pay for what is new.
#[derive(Debug, Clone, PartialEq)]
pub struct StageCosts {
    /// The first stage, for an image.
    pub item: f64,
    /// The stages between, by rising span; none but for trees.
    pub tiers: Vec<Tier>,
    /// The last stage, for a test, by rising arity: a line between two, level beyond.
    pub score: Vec<(usize, f64)>,
}

impl StageCosts {
    /// The last stage for a test of `size` images.
    fn score(&self, size: usize) -> f64 {
        let rows = size.div_ceil(self.tiers.last().map_or(1, |tier| tier.span));
        let after = self.score.iter().position(|&(arity, _)| arity >= rows);
        match after {
            None => self.score.last().map_or(0.0, |&(_, cost)| cost),
            Some(0) => self.score[0].1,
            Some(i) => {
                let ((low, from), (high, to)) = (self.score[i - 1], self.score[i]);
                from + (to - from) * (rows - low) as f64 / (high - low) as f64
            }
        }
    }

    /// A first test of `size` images, of which nothing is known.
    pub fn first(&self, size: usize) -> f64 {
        let between: f64 = self.tiers.iter().map(|tier| tier.row * size.div_ceil(tier.span) as f64).sum();
        self.item * size as f64 + between + self.score(size)
    }

    /// A test of `size` images that were in a larger test before, lying in it as a part that starts at a multiple of `size`. Where `size` is no
    /// multiple of a span, all rows of that stage are charged, a little more than what is new.
    pub fn retest(&self, size: usize) -> f64 {
        let new = self.tiers.iter().filter(|tier| !size.is_multiple_of(tier.span));
        let between: f64 = new.map(|tier| tier.row * size.div_ceil(tier.span) as f64).sum();
        between + self.score(size)
    }

    /// One image alone, of which nothing is known.
    pub fn individual(&self) -> f64 {
        self.first(1)
    }

    /// The cheapest that a test can be, once its images have passed the first stage.
    pub fn least_test(&self) -> f64 {
        self.score.iter().map(|&(_, cost)| cost).fold(f64::INFINITY, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retest_pays_for_what_is_new() {
        let feature = StageCosts { item: 1.0, tiers: vec![], score: vec![(1, 10.0)] };
        assert_eq!((feature.first(16), feature.retest(4), feature.individual()), (26.0, 10.0, 11.0));
        let tree = StageCosts { item: 1.0, tiers: vec![Tier { span: 2, row: 3.0 }], score: vec![(1, 10.0)] };
        // 16 = 8 pairs; fours re-use them, a single needs a row of its own.
        assert_eq!((tree.first(16), tree.retest(4), tree.retest(1), tree.individual()), (50.0, 10.0, 13.0, 14.0));
    }

    #[test]
    fn wider_merges_cost_what_was_measured() {
        let costs = StageCosts { item: 0.0, tiers: vec![], score: vec![(1, 10.0), (4, 16.0), (16, 28.0)] };
        assert_eq!([1, 2, 4, 10, 16, 64].map(|m| costs.retest(m)), [10.0, 12.0, 16.0, 22.0, 28.0, 28.0]);
        assert_eq!(costs.least_test(), 10.0);
    }
}
