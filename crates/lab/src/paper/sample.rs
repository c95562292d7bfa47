//! A few groups whose tests are in proportion to those of all groups (pure).
//!
//! The cost of a group depends on its path alone: how many tests of each size it takes. The images
//! are noise, and the network has no branches. So the groups are divided by path, and each path
//! gets its share of the sample (largest remainders). Then groups are exchanged for groups of other
//! paths, as long as this brings the sample's tests of each size, weighted by their cost, closer to
//! the expected number. Which groups of a path are taken, and the order of all groups, is random.

use std::collections::BTreeMap;

/// Tests of each size that a group takes.
pub(super) type Path = Vec<u64>;

/// A sample of groups.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GroupSample {
    /// The numbers of the groups, in the order in which they run.
    pub groups: Vec<usize>,
    /// Their tests of each size.
    pub tests: Path,
    /// The tests of each size that the same number of groups takes on average.
    pub expected: Vec<f64>,
}

/// Chooses `count` of the groups, or all if there are fewer. `costs` has the cost of a test of each
/// size.
pub(super) fn choose(all: &[(usize, Path)], costs: &[f64], count: usize, seed: u64) -> GroupSample {
    let mut strata: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    all.iter().for_each(|(group, path)| strata.entry(path).or_default().push(*group));
    let count = count.min(all.len());
    let share = count as f64 / all.len().max(1) as f64;
    let (paths, mut members): (Vec<&Path>, Vec<Vec<usize>>) = strata.into_iter().unzip();
    let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
    let of_all = |kind: usize| -> f64 {
        paths.iter().zip(&sizes).map(|(path, &n)| path[kind] as f64 * n as f64).sum()
    };
    let expected: Vec<f64> = (0..costs.len()).map(|kind| share * of_all(kind)).collect();
    let mut quotas = largest_remainders(&sizes, count);
    let kinds = costs.len();
    exchange(&mut quotas, &sizes, |quotas| distance(&sum(quotas, &paths, kinds), &expected, costs));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut groups = Vec::with_capacity(count);
    for (members, &quota) in members.iter_mut().zip(&quotas) {
        random.shuffle(members);
        groups.extend_from_slice(&members[..quota]);
    }
    random.shuffle(&mut groups);
    GroupSample { groups, tests: sum(&quotas, &paths, kinds), expected }
}

/// The number of groups of each stratum, `count` in all, as close to its share as whole numbers
/// are.
fn largest_remainders(sizes: &[usize], count: usize) -> Vec<usize> {
    let total: usize = sizes.iter().sum::<usize>().max(1);
    let mut quotas: Vec<usize> = sizes.iter().map(|size| size * count / total).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(sizes[i] * count % total));
    let missing = count - quotas.iter().sum::<usize>();
    order.into_iter().take(missing).for_each(|i| quotas[i] += 1);
    quotas
}

/// Moves one group from a stratum to another, the best pair each time, as long as that lowers
/// `error`.
fn exchange(quotas: &mut [usize], sizes: &[usize], error: impl Fn(&[usize]) -> f64) {
    let mut least = error(quotas);
    loop {
        let mut best = None;
        for from in 0..quotas.len() {
            for to in 0..quotas.len() {
                if from == to || quotas[from] == 0 || quotas[to] == sizes[to] {
                    continue;
                }
                quotas[from] -= 1;
                quotas[to] += 1;
                let now = error(quotas);
                quotas[from] += 1;
                quotas[to] -= 1;
                // A smaller gain could be a rounding error, which would never end.
                if now < least - 1e-9 {
                    least = now;
                    best = Some((from, to));
                }
            }
        }
        let Some((from, to)) = best else { return };
        quotas[from] -= 1;
        quotas[to] += 1;
    }
}

fn sum(quotas: &[usize], paths: &[&Path], kinds: usize) -> Path {
    let of_kind = |kind: usize| quotas.iter().zip(paths).map(|(&n, p)| n as u64 * p[kind]).sum();
    (0..kinds).map(of_kind).collect()
}

/// The distance of tests from the expected ones: the error of their total cost plus half the sum of
/// the errors of the costs of each size.
fn distance(tests: &[u64], expected: &[f64], costs: &[f64]) -> f64 {
    let errors = tests.iter().zip(expected).zip(costs);
    let errors = errors.map(|((&tests, &expected), cost)| (tests as f64 - expected) * cost);
    let (total, each) = errors.fold((0.0, 0.0), |(total, each), e| (total + e, each + f64::abs(e)));
    f64::abs(total) + 0.5 * each
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 1,000 groups. A tenth of them takes two more tests, and a hundredth another four.
    fn groups() -> Vec<(usize, Path)> {
        let path = |g: usize| match g % 100 {
            0 => vec![1, 2, 4],
            1..=9 => vec![1, 2, 0],
            _ => vec![1, 0, 0],
        };
        (0..1000).map(|g| (g, path(g))).collect()
    }

    #[test]
    fn the_tests_of_a_sample_are_in_proportion_to_those_of_all_groups() {
        let sample = choose(&groups(), &[4.0, 1.0, 1.0], 100, 1);
        assert_eq!((&sample.tests, &sample.expected), (&vec![100, 20, 4], &vec![100.0, 20.0, 4.0]));
        let few = choose(&groups(), &[4.0, 1.0, 1.0], 50, 1);
        // Two tests of the last size are expected, and four or none are possible. Another size
        // makes up for the difference in part.
        assert_eq!(few.groups.len(), 50);
        assert!(distance(&few.tests, &few.expected, &[4.0, 1.0, 1.0]) <= 3.0, "{few:?}");
    }

    #[test]
    fn a_seed_gives_other_groups_of_the_same_paths() {
        let sample = |seed| choose(&groups(), &[4.0, 1.0, 1.0], 40, seed);
        assert_eq!(sample(3), sample(3));
        assert_ne!(sample(3).groups, sample(4).groups);
        assert_eq!(sample(3).tests, sample(4).tests);
    }

    proptest! {
        #[test]
        fn a_sample_has_different_groups_with_the_stated_tests(
            paths in prop::collection::vec(prop::collection::vec(0u64..9, 3), 1..60),
            count in 1usize..80,
            seed: u64,
        ) {
            let all: Vec<(usize, Path)> = paths.into_iter().enumerate().collect();
            let costs = [5.0, 1.0, 2.0];
            let sample = choose(&all, &costs, count, seed);
            let mut different = sample.groups.clone();
            different.sort_unstable();
            different.dedup();
            prop_assert_eq!(different.len(), count.min(all.len()));
            for kind in 0..3 {
                let tests: u64 = different.iter().map(|&g| all[g].1[kind]).sum();
                prop_assert_eq!(tests, sample.tests[kind]);
            }
            if count >= all.len() {
                prop_assert!(distance(&sample.tests, &sample.expected, &costs) < 1e-6);
            }
        }

        #[test]
        fn exchanges_make_no_sample_worse(
            paths in prop::collection::vec(prop::collection::vec(0u64..9, 2), 2..40),
            count in 1usize..30,
        ) {
            let all: Vec<(usize, Path)> = paths.iter().cloned().enumerate().collect();
            let (sizes, costs) = (vec![1; all.len()], [3.0, 1.0]);
            let count = count.min(all.len());
            let sample = choose(&all, &costs, count, 1);
            // Each path must be a stratum of its own; `choose` puts equal paths into one stratum.
            prop_assume!(
                paths.iter().collect::<std::collections::BTreeSet<_>>().len() == paths.len()
            );
            let mut sorted: Vec<&Path> = paths.iter().collect();
            sorted.sort();
            let plain = sum(&largest_remainders(&sizes, count), &sorted, 2);
            prop_assert!(
                distance(&sample.tests, &sample.expected, &costs)
                    <= distance(&plain, &sample.expected, &costs) + 1e-9
            );
        }
    }
}
