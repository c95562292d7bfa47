//! One round with two schedules that overlap: algorithm 3 of Liang & Zou, "Neural Group Testing to Accelerate Deep Learning", ISIT 2021
//! (pure).
//!
//! No policy of the worker: an item is in two groups of different company, which needs the items in two orders, and a flag has passed no
//! individual test.

use std::collections::HashMap;

use super::{Recording, ReplayError};
use crate::retest::Thresholds;

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct OneRound {
    /// By position in the first recording, whether the item was flagged.
    pub flagged: Vec<bool>,
    /// Tests in the first and in the second order.
    pub tests: [u64; 2],
}

/// Flags the items of which both groups are positive: the one in the order of `first`, and the one in that of `second`. The groups are of
/// `size`, and scored by `design`; they are positive from `threshold` on.
///
/// # Errors
/// [`ReplayError::NotRecorded`] if one of the recordings has no such scores, or if they are not of the same items, each there once.
pub fn one_round(
    first: &Recording,
    second: &Recording,
    design: &str,
    size: usize,
    threshold: f32,
) -> Result<OneRound, ReplayError> {
    let (a, b) = (first.scores(design, size)?, second.scores(design, size)?);
    let thresholds = Thresholds::constant(threshold);
    let positive = |score: f32| thresholds.outcome(size, &[score]).positive;
    let elsewhere = places(second)?;
    // As many different items on both sides, and each of the first in the second: then they are the same.
    places(first)?;
    let different = || {
        let (first, second) = (first.name(), second.name());
        ReplayError::NotRecorded(format!("{first} and {second} are not two orders of the same items"))
    };
    if first.items().len() != second.items().len() {
        return Err(different());
    }
    let flagged = first.items().iter().enumerate().map(|(place, item)| {
        let other = *elsewhere.get(&item.id).ok_or_else(different)?;
        Ok(positive(a.groups[place / size].score) && positive(b.groups[other / size].score))
    });
    let flagged = flagged.collect::<Result<_, ReplayError>>()?;
    Ok(OneRound { flagged, tests: [a.groups.len() as u64, b.groups.len() as u64] })
}

/// The position of each item.
fn places(recording: &Recording) -> Result<HashMap<u64, usize>, ReplayError> {
    let mut places = HashMap::with_capacity(recording.items().len());
    for (place, item) in recording.items().iter().enumerate() {
        if let Some(before) = places.insert(item.id, place) {
            let (name, id) = (recording.name(), item.id);
            let what = format!("{name} has item {id} at positions {before} and {place}: which groups are its own?");
            return Err(ReplayError::NotRecorded(what));
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::{Group, Item, Scores, TestCost};

    /// Items in an order, their groups of two scored 1 where one of them is in `suspicious`.
    fn recording(name: &str, order: &[u64], suspicious: &[&[u64]]) -> Recording {
        let items: Vec<Item> = order.iter().map(|&id| Item { id, positive: false }).collect();
        let score = |pair: &[u64]| if suspicious.contains(&pair) { 0.9 } else { 0.1 };
        let groups = order.chunks(2).map(|pair| Group { score: score(pair), positive: false }).collect();
        let cost = TestCost { full: 1.0, retest: 1.0 };
        Recording::new(name, items, vec![Scores { design: "D3".to_owned(), size: 2, cost, groups }]).unwrap()
    }

    #[test]
    fn flagged_is_who_is_in_two_positive_groups() {
        let first = recording("first", &[0, 1, 2, 3, 4], &[&[0, 1], &[4]]);
        let second = recording("second", &[1, 2, 4, 0, 3], &[&[1, 2], &[4, 0]]);
        let found = one_round(&first, &second, "d3", 2, 0.5).unwrap();
        assert_eq!(found.flagged, [true, true, false, false, true]);
        assert_eq!(found.tests, [3, 3]);
    }

    #[test]
    fn other_items_or_items_twice_are_refused() {
        let run = |a: &[u64], b: &[u64]| {
            one_round(&recording("a", a, &[]), &recording("b", b, &[]), "D3", 2, 0.5).unwrap_err().to_string()
        };
        assert!(run(&[0, 1], &[0, 2]).contains("a and b are not two orders"));
        assert!(run(&[0, 1], &[0, 1, 2]).contains("a and b are not two orders"));
        assert!(run(&[0, 1, 0], &[0, 1, 2]).contains("a has item 0 at positions 0 and 2"));
    }
}
