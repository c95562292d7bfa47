//! What tests without errors would cost, for comparison (pure).

use crate::cost::StageCosts;

/// Costs per item of tests without errors, in the unit of the costs. Group sizes are numbers of
/// items.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The binary entropy of the prevalence, in tests per item, 0 to 1. No procedure of yes-or-no
    /// tests needs fewer on average (C. E. Shannon, "A Mathematical Theory of Communication",
    /// 1948).
    pub entropy: f64,
    /// The cost per item at that number of tests: each item passes the first stage, and each test
    /// costs [`StageCosts::least_test`].
    pub entropy_cost: f64,
    /// The cost per item of two-round testing at its best group size (R. Dorfman, 1943), or of
    /// individual testing if that is not more expensive.
    pub dorfman_cost: f64,
    /// The group size of `dorfman_cost`; 1 is individual testing.
    pub dorfman_size: usize,
    /// The cost per item of the best nested procedure in groups of at most the maximum size (M.
    /// Sobel and P. A. Groll, "Group Testing To Eliminate Efficiently All Defectives in a Binomial
    /// Sample", 1959), or of individual testing if that is not more expensive. In a nested
    /// procedure, after a positive test the next test is of a part of the same items.
    pub nested_cost: f64,
    /// The group size of `nested_cost`; 1 is individual testing.
    pub nested_size: usize,
}

/// The binary entropy of a share, in bits.
fn entropy(p: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    term(p) + term(1.0 - p)
}

/// The bounds at `prevalence` (0 to 1) for groups of at most `largest` items. A `largest` below 2
/// counts as 2.
///
/// ```
/// use dorfman_core::cost::StageCosts;
/// use dorfman_core::planner::bounds;
///
/// // Dorfman's own table: at 1 % the best group size is 11, at 20 % of the tests.
/// let tests_only = StageCosts { items: vec![0.0], last: vec![(1, 1.0)], ..StageCosts::default() };
/// let bounds = bounds(0.01, 64, &tests_only);
/// assert_eq!(bounds.dorfman_size, 11);
/// assert!((bounds.dorfman_cost - 0.2).abs() < 0.005);
/// ```
///
/// # Panics
/// If the span of a tier of `costs` is 0.
pub fn bounds(prevalence: f64, largest: usize, costs: &StageCosts) -> Bounds {
    let entropy = entropy(prevalence);
    let sizes = 2..=largest.max(2);
    let dorfman = sizes.clone().map(|size| (dorfman(prevalence, size, costs), size));
    let (dorfman_cost, dorfman_size) = cheapest(dorfman, costs);
    let (nested_cost, nested_size) =
        cheapest(sizes.map(|size| (nested(prevalence, size, costs), size)), costs);
    let entropy_cost = costs.item() + entropy * costs.least_test();
    Bounds { entropy, entropy_cost, dorfman_cost, dorfman_size, nested_cost, nested_size }
}

/// The first of the cheapest plans, including individual testing.
fn cheapest(plans: impl Iterator<Item = (f64, usize)>, costs: &StageCosts) -> (f64, usize) {
    plans.fold((costs.individual(), 1), |best, next| if next.0 < best.0 { next } else { best })
}

fn dorfman(p: f64, size: usize, costs: &StageCosts) -> f64 {
    let positive = 1.0 - (1.0 - p).powi(size as i32);
    costs.first(size) / size as f64 + positive * costs.retest(1)
}

/// The cost per item of the best nested procedure for a group of `size`: after a positive test of
/// some items, the next test is of a part of these items. An item that is known to be positive is
/// not tested again.
fn nested(p: f64, size: usize, costs: &StageCosts) -> f64 {
    let q = 1.0 - p;
    let test: Vec<f64> = (0..=size).map(|x| if x == 0 { 0.0 } else { costs.retest(x) }).collect();
    // `cost[n][j]`: n items are open, and the first j of them hold a positive (j = 0: nothing is
    // known).
    let mut cost: Vec<Vec<f64>> = vec![vec![0.0; size + 1]; size + 1];
    for n in 1..=size {
        cost[n][1] = cost[n - 1][0];
        for j in 2..=n {
            let whole = 1.0 - q.powi(j as i32);
            let best = |x: usize| {
                let clean =
                    if whole > 0.0 { (q.powi(x as i32) - q.powi(j as i32)) / whole } else { 1.0 };
                test[x] + clean * cost[n - x][j - x] + (1.0 - clean) * cost[n][x]
            };
            cost[n][j] = (1..j).map(best).fold(f64::INFINITY, f64::min);
        }
        let best = |x: usize| {
            let clean = q.powi(x as i32);
            test[x] + clean * cost[n - x][0] + (1.0 - clean) * cost[n][x]
        };
        cost[n][0] = (1..=n).map(best).fold(f64::INFINITY, f64::min);
    }
    // The first test is of the whole group and pays for the stages before the last.
    let positive = 1.0 - q.powi(size as i32);
    (costs.first(size) + positive * cost[size][size]) / size as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::TierCost;

    fn tests_only() -> StageCosts {
        StageCosts { items: vec![0.0], last: vec![(1, 1.0)], ..StageCosts::default() }
    }

    #[test]
    fn entropy_is_shannons() {
        assert_eq!((entropy(0.0), entropy(0.5), entropy(1.0)), (0.0, 1.0, 0.0));
        assert!((entropy(0.01) - 0.080_793).abs() < 1e-6);
    }

    #[test]
    fn dorfmans_own_table() {
        // Dorfman (1943): the best sizes at 1, 2, 5 and 10 % are 11, 8, 5 and 4, at 20, 27, 43 and
        // 59 % of the tests.
        for (p, size, cost) in [(0.01, 11, 0.20), (0.02, 8, 0.27), (0.05, 5, 0.43), (0.10, 4, 0.59)]
        {
            let b = bounds(p, 64, &tests_only());
            assert!(b.dorfman_size == size && (b.dorfman_cost - cost).abs() < 0.006, "{p}: {b:?}");
        }
    }

    #[test]
    fn nested_lies_between_entropy_and_dorfman() {
        for p in [0.0001, 0.001, 0.01, 0.05, 0.2] {
            let b = bounds(p, 64, &tests_only());
            assert!(
                b.nested_cost >= b.entropy_cost.max(1.0 / 64.0) - 1e-12
                    && b.nested_cost <= b.dorfman_cost,
                "{p}: {b:?}"
            );
        }
        // Above (3 - sqrt 5) / 2 pooling never pays: P. Ungar, "The Cutoff Point for Group
        // Testing", 1960.
        assert_eq!(bounds(0.4, 64, &tests_only()).nested_size, 1);
        assert!(bounds(0.37, 64, &tests_only()).nested_cost < 1.0);
    }

    #[test]
    fn an_expensive_first_stage_leaves_little_to_save() {
        let costs = StageCosts {
            items: vec![9.0],
            tiers: vec![TierCost { span: 2, row: 1.0 }],
            last: vec![(1, 1.0)],
            ..StageCosts::default()
        };
        let b = bounds(0.001, 16, &costs);
        assert!(b.nested_cost > 9.0 + 0.5 && b.nested_cost < costs.individual());
    }
}
