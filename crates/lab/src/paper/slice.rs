//! A few groups with the mix of tests that all of them have (pure).
//!
//! What a group costs depends on its path alone: how many tests of each size it takes. The images are noise and the network has no branch.
//! So the groups are parted by path, each path gets its share of the slice (largest remainders), and then groups are exchanged for those of
//! another path as long as that brings the slice's tests of each size, weighed by their cost, closer to those expected of so many groups.
//! Which groups of a path are taken, and the order of all, is drawn by chance.

use std::collections::BTreeMap;

/// Tests of each size that a group takes.
pub(super) type Path = Vec<u64>;

/// Some groups.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slice {
    /// Their numbers, in the order to run them in.
    pub(super) groups: Vec<usize>,
    /// Their tests of each size.
    pub(super) tests: Path,
    /// What as many groups take in the mean of all.
    pub(super) expected: Vec<f64>,
}

/// Chooses `count` of the groups, or all if there are fewer. `costs` are those of a test of each size.
pub(super) fn choose(all: &[(usize, Path)], costs: &[f64], count: usize, seed: u64) -> Slice {
    let mut strata: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    all.iter().for_each(|(group, path)| strata.entry(path).or_default().push(*group));
    let count = count.min(all.len());
    let share = count as f64 / all.len().max(1) as f64;
    let (paths, mut members): (Vec<&Path>, Vec<Vec<usize>>) = strata.into_iter().unzip();
    let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
    let expected: Vec<f64> = (0..costs.len())
        .map(|kind| share * paths.iter().zip(&sizes).map(|(p, &n)| p[kind] as f64 * n as f64).sum::<f64>())
        .collect();
    let mut quotas = largest_remainders(&sizes, count);
    exchange(&mut quotas, &sizes, |quotas| off(&sum(quotas, &paths, costs.len()), &expected, costs));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut groups = Vec::with_capacity(count);
    for (members, &quota) in members.iter_mut().zip(&quotas) {
        random.shuffle(members);
        groups.extend_from_slice(&members[..quota]);
    }
    random.shuffle(&mut groups);
    Slice { groups, tests: sum(&quotas, &paths, costs.len()), expected }
}

/// How many of each stratum make `count`, as near to their shares as whole numbers are.
fn largest_remainders(sizes: &[usize], count: usize) -> Vec<usize> {
    let total: usize = sizes.iter().sum::<usize>().max(1);
    let mut quotas: Vec<usize> = sizes.iter().map(|size| size * count / total).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(sizes[i] * count % total));
    let missing = count - quotas.iter().sum::<usize>();
    order.into_iter().take(missing).for_each(|i| quotas[i] += 1);
    quotas
}

/// Takes one from a stratum and gives one to another, the best pair each time, while that makes `error` less.
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
                // A hair's breadth would be rounding, and could go round in circles.
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
    (0..kinds).map(|kind| quotas.iter().zip(paths).map(|(&n, path)| n as u64 * path[kind]).sum()).collect()
}

/// How far tests are from those expected: the error of what they cost together and, half as much, of what each size costs.
fn off(tests: &[u64], expected: &[f64], costs: &[f64]) -> f64 {
    let errors = tests.iter().zip(expected).zip(costs).map(|((&n, &wanted), cost)| (n as f64 - wanted) * cost);
    let (together, each) = errors.fold((0.0, 0.0), |(sum, each), e| (sum + e, each + f64::abs(e)));
    f64::abs(together) + 0.5 * each
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 1,000 groups, of which a tenth takes two tests more and a hundredth four more on top.
    fn groups() -> Vec<(usize, Path)> {
        let path = |g: usize| match g % 100 {
            0 => vec![1, 2, 4],
            1..=9 => vec![1, 2, 0],
            _ => vec![1, 0, 0],
        };
        (0..1000).map(|g| (g, path(g))).collect()
    }

    #[test]
    fn the_tests_of_a_slice_are_those_of_all_in_little() {
        let slice = choose(&groups(), &[4.0, 1.0, 1.0], 100, 1);
        assert_eq!((&slice.tests, &slice.expected), (&vec![100, 20, 4], &vec![100.0, 20.0, 4.0]));
        let few = choose(&groups(), &[4.0, 1.0, 1.0], 50, 1);
        // Four or none of the last, where two are expected: no more than that is wrong, and another size makes up for it in part.
        assert_eq!(few.groups.len(), 50);
        assert!(off(&few.tests, &few.expected, &[4.0, 1.0, 1.0]) <= 3.0, "{few:?}");
    }

    #[test]
    fn a_seed_gives_other_groups_of_the_same_paths() {
        let slice = |seed| choose(&groups(), &[4.0, 1.0, 1.0], 40, seed);
        assert_eq!(slice(3), slice(3));
        assert_ne!(slice(3).groups, slice(4).groups);
        assert_eq!(slice(3).tests, slice(4).tests);
    }

    proptest! {
        #[test]
        fn a_slice_holds_what_it_says(paths in prop::collection::vec(prop::collection::vec(0u64..9, 3), 1..60), count in 1usize..80, seed: u64) {
            let all: Vec<(usize, Path)> = paths.into_iter().enumerate().collect();
            let costs = [5.0, 1.0, 2.0];
            let slice = choose(&all, &costs, count, seed);
            let mut different = slice.groups.clone();
            different.sort_unstable();
            different.dedup();
            prop_assert_eq!(different.len(), count.min(all.len()));
            for kind in 0..3 {
                let tests: u64 = different.iter().map(|&g| all[g].1[kind]).sum();
                prop_assert_eq!(tests, slice.tests[kind]);
            }
            if count >= all.len() {
                prop_assert!(off(&slice.tests, &slice.expected, &costs) < 1e-6);
            }
        }

        #[test]
        fn exchanging_makes_no_slice_worse(paths in prop::collection::vec(prop::collection::vec(0u64..9, 2), 2..40), count in 1usize..30) {
            let all: Vec<(usize, Path)> = paths.iter().cloned().enumerate().collect();
            let (sizes, costs) = (vec![1; all.len()], [3.0, 1.0]);
            let count = count.min(all.len());
            let slice = choose(&all, &costs, count, 1);
            // Each path a stratum of its own; equal ones would be one stratum in `choose`.
            prop_assume!(paths.iter().collect::<std::collections::BTreeSet<_>>().len() == paths.len());
            let mut sorted: Vec<&Path> = paths.iter().collect();
            sorted.sort();
            let plain = sum(&largest_remainders(&sizes, count), &sorted, 2);
            prop_assert!(off(&slice.tests, &slice.expected, &costs) <= off(&plain, &slice.expected, &costs) + 1e-9);
        }
    }
}
