//! What to test next: a table over how many are suspected, how much, and how many are left of whom nothing is known.

use std::collections::BTreeSet;

use crate::retest::{Costs, Point};

/// Beliefs that the table has a column for; between them costs are interpolated, since the cost of any fixed way to go on is linear in
/// the belief.
const BELIEFS: [f64; 25] = [
    0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98,
    0.99, 0.995, 0.998, 0.999, 1.0,
];

/// The least share of positives that is reckoned with.
const RAREST: f64 = 1e-9;

/// A set of members that tests have made suspicious.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Suspects {
    pub(super) count: usize,
    /// How likely there is a positive among them.
    pub(super) belief: f64,
}

/// What follows from the test of a part of a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct After {
    /// How likely the test is positive.
    pub(super) positive: f64,
    /// How likely the part holds a positive if its test was positive.
    pub(super) part: f64,
    /// How likely the rest of the set holds one if the test was negative.
    pub(super) rest: f64,
}

/// Least expected costs.
#[derive(Debug)]
pub(super) struct Table {
    /// How tests answer, by size from 1.
    points: Vec<Point>,
    /// What they cost on members that were tested before, by size from 1.
    retest: Vec<f64>,
    /// The same on members that were not.
    first: Vec<f64>,
    /// q^n: the probability that n members are all negative.
    clean: Vec<f64>,
    /// By the number of members of whom nothing is known, none being suspected.
    calm: Vec<f64>,
    /// By suspects (from 1), then members of whom nothing is known: by belief.
    suspicious: Vec<Vec<[f64; BELIEFS.len()]>>,
    /// Of the tests that a group of any size may come to.
    sizes: BTreeSet<usize>,
}

impl Table {
    /// For groups of as many members as there are points, a share `prior` of them positive.
    pub(super) fn new(points: &[Point], costs: &Costs, prior: f64) -> Self {
        // Below, 1 - q could not be told from 0.
        let prior = prior.max(RAREST);
        let size = points.len();
        // Every member passes the first stage, whatever is tested.
        let embed = costs.full(1) - costs.retest(1);
        let mut table = Self {
            points: points.to_vec(),
            retest: (1..=size).map(|m| costs.retest(m)).collect(),
            first: (1..=size).map(|m| costs.full(m) - embed * m as f64).collect(),
            clean: (0..=size).map(|n| (1.0 - prior).powi(n as i32)).collect(),
            calm: vec![0.0],
            suspicious: vec![Vec::new(); size],
            sizes: BTreeSet::new(),
        };
        // An entry rests on those of fewer members, and of as many of which fewer are suspected.
        for all in 1..=size {
            for count in 1..=all {
                let cost = |belief| table.best(Some(Suspects { count, belief }), all - count).0;
                let costs = BELIEFS.map(cost);
                table.suspicious[count - 1].push(costs);
            }
            table.calm.push(table.best(None, all).0);
        }
        let mut sizes = BTreeSet::new();
        (1..=size).for_each(|fresh| table.collect(None, fresh, &mut sizes));
        table.sizes = sizes;
        table
    }

    /// Adds the sizes of the tests that follow until nobody is suspected any more.
    fn collect(&self, suspects: Option<Suspects>, fresh: usize, sizes: &mut BTreeSet<usize>) {
        let part = self.next_size(suspects, fresh);
        sizes.insert(part);
        let set = suspects.unwrap_or(Suspects { count: fresh, belief: self.belief(fresh) });
        let (after, rest) = (self.after(set, part), set.count - part);
        let left = if suspects.is_some() { fresh + rest } else { rest };
        if part > 1 {
            self.collect(Some(Suspects { count: part, belief: after.part }), left, sizes);
        }
        if suspects.is_some() && rest > 0 {
            self.collect(Some(Suspects { count: rest, belief: after.rest }), fresh, sizes);
        }
    }

    pub(super) fn group_size(&self) -> usize {
        self.points.len()
    }

    /// Sizes of tests, falling.
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.sizes.iter().rev().copied().collect()
    }

    pub(super) fn expected_cost(&self) -> f64 {
        self.calm[self.group_size()]
    }

    /// How likely one of `fresh` members of whom nothing is known is positive.
    pub(super) fn belief(&self, fresh: usize) -> f64 {
        1.0 - self.clean[fresh]
    }

    /// How many of the suspects, or if there are none of the `fresh`, to test next.
    pub(super) fn next_size(&self, suspects: Option<Suspects>, fresh: usize) -> usize {
        self.best(suspects, fresh).1
    }

    /// What a test of `part` members of a set shows of them and of the others.
    pub(super) fn after(&self, set: Suspects, part: usize) -> After {
        let Point { sensitivity, specificity } = self.points[part - 1];
        let clean = |n: usize| self.clean[n];
        // Given a positive in the set; without one all are negative.
        let given = set.belief / (1.0 - clean(set.count));
        let hot = given * (1.0 - clean(part));
        let positive = hot * sensitivity + (1.0 - hot) * (1.0 - specificity);
        let elsewhere = given * (clean(part) - clean(set.count)) * specificity;
        let missed = hot * (1.0 - sensitivity) * (1.0 - clean(set.count - part));
        let share = |of: f64, whole: f64| if whole > 0.0 { (of / whole).clamp(0.0, 1.0) } else { 0.0 };
        After { positive, part: share(hot * sensitivity, positive), rest: share(elsewhere + missed, 1.0 - positive) }
    }

    /// The least expected cost from here, and the size of the test that it begins with.
    fn best(&self, suspects: Option<Suspects>, fresh: usize) -> (f64, usize) {
        let sizes = match suspects {
            // A set of which all would be tested again tells nothing new.
            Some(set) => 1..=(set.count - 1).max(1),
            None => 1..=fresh,
        };
        let cost = |part: usize| match suspects {
            Some(set) => self.suspected(set, part, fresh),
            None => self.untouched(part, fresh),
        };
        let all = sizes.map(|part| (cost(part), part));
        all.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 1))
    }

    /// Testing `part` of a suspected set.
    fn suspected(&self, set: Suspects, part: usize, fresh: usize) -> f64 {
        let rest = set.count - part;
        let after = self.after(set, part);
        let negative = self.going_on(rest, after.rest, fresh);
        self.retest[part - 1]
            + after.positive * self.found(part, after.part, fresh + rest)
            + (1.0 - after.positive) * negative
    }

    /// Testing `part` of the members of whom nothing is known.
    fn untouched(&self, part: usize, fresh: usize) -> f64 {
        let after = self.after(Suspects { count: fresh, belief: self.belief(fresh) }, part);
        self.first[part - 1]
            + after.positive * self.found(part, after.part, fresh - part)
            + (1.0 - after.positive) * self.calm[fresh - part]
    }

    /// After a positive test of `part` members.
    fn found(&self, part: usize, belief: f64, fresh: usize) -> f64 {
        if part == 1 { self.calm[fresh] } else { self.going_on(part, belief, fresh) }
    }

    fn going_on(&self, count: usize, belief: f64, fresh: usize) -> f64 {
        match count {
            0 => self.calm[fresh],
            _ => interpolate(&self.suspicious[count - 1][fresh], belief),
        }
    }
}

fn interpolate(costs: &[f64; BELIEFS.len()], belief: f64) -> f64 {
    let above = BELIEFS.partition_point(|&b| b < belief).clamp(1, BELIEFS.len() - 1);
    let (low, high) = (BELIEFS[above - 1], BELIEFS[above]);
    let share = ((belief - low) / (high - low)).clamp(0.0, 1.0);
    costs[above - 1] + share * (costs[above] - costs[above - 1])
}
