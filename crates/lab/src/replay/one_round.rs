//! One round with two overlapping schedules: algorithm 3 of Liang & Zou, "Neural Group Testing to
//! Accelerate Deep Learning", ISIT 2021 (pure).
//!
//! The worker has no such policy. Each item is in two groups with different other members, which
//! requires the items in two orders, and a flag has passed no individual test.

use std::collections::HashMap;

use dorfman_core::calibration::Thresholds;

use super::{Recording, ReplayError};

/// The result of one round.
#[derive(Debug, Clone, PartialEq)]
pub struct OneRoundResult {
    /// By position in the first recording, whether the item was flagged.
    pub flagged: Vec<bool>,
    /// Tests in the first and in the second order.
    pub tests: [u64; 2],
}

/// Flags the items whose groups are both positive: the group in the order of `first` and the group
/// in the order of `second`. The groups have `size` items and the scores of `design`. They are
/// positive from `threshold` on.
///
/// # Errors
/// [`ReplayError::NotRecorded`] if a recording has no such scores, or if the recordings do not have
/// the same items, each once.
pub fn one_round(
    first: &Recording,
    second: &Recording,
    design: &str,
    size: usize,
    threshold: f32,
) -> Result<OneRoundResult, ReplayError> {
    let (a, b) = (first.scores(design, size)?, second.scores(design, size)?);
    let thresholds = Thresholds::constant(threshold);
    let positive = |score: f32| thresholds.outcome(size, &[score]).positive;
    let in_second = positions(second)?;
    // If both have the same number of different items, and the second has each item of the first,
    // then the items are the same.
    positions(first)?;
    let different = || {
        let (first, second) = (first.name(), second.name());
        let what = format!("{first} and {second} are not two orders of the same items");
        ReplayError::NotRecorded(what)
    };
    if first.items().len() != second.items().len() {
        return Err(different());
    }
    let flagged = first.items().iter().enumerate().map(|(position, item)| {
        let other = *in_second.get(&item.id).ok_or_else(different)?;
        Ok(positive(a.groups[position / size].score) && positive(b.groups[other / size].score))
    });
    let flagged = flagged.collect::<Result<_, ReplayError>>()?;
    Ok(OneRoundResult { flagged, tests: [a.groups.len() as u64, b.groups.len() as u64] })
}

/// The position of each item.
fn positions(recording: &Recording) -> Result<HashMap<u64, usize>, ReplayError> {
    let mut positions = HashMap::with_capacity(recording.items().len());
    for (position, item) in recording.items().iter().enumerate() {
        if let Some(before) = positions.insert(item.id, position) {
            let (name, id) = (recording.name(), item.id);
            let what = format!(
                "{name} has item {id} at positions {before} and {position}; it must be there once"
            );
            return Err(ReplayError::NotRecorded(what));
        }
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use dorfman_core::cost::TestCost;

    use super::*;
    use crate::replay::{RecordedGroup, RecordedItem, Scores};

    /// Items in an order. Their groups of two score 0.9 if they are in `suspicious`.
    fn recording(name: &str, order: &[u64], suspicious: &[&[u64]]) -> Recording {
        let items: Vec<RecordedItem> =
            order.iter().map(|&id| RecordedItem { id, positive: false }).collect();
        let score = |pair: &[u64]| if suspicious.contains(&pair) { 0.9 } else { 0.1 };
        let groups = order
            .chunks(2)
            .map(|pair| RecordedGroup { score: score(pair), positive: false })
            .collect();
        let cost = TestCost { full: 1.0, retest: 1.0 };
        Recording::new(name, items, vec![Scores { design: "D3".to_owned(), size: 2, cost, groups }])
            .unwrap()
    }

    #[test]
    fn an_item_is_flagged_if_both_its_groups_are_positive() {
        let first = recording("first", &[0, 1, 2, 3, 4], &[&[0, 1], &[4]]);
        let second = recording("second", &[1, 2, 4, 0, 3], &[&[1, 2], &[4, 0]]);
        let found = one_round(&first, &second, "d3", 2, 0.5).unwrap();
        assert_eq!(found.flagged, [true, true, false, false, true]);
        assert_eq!(found.tests, [3, 3]);
    }

    #[test]
    fn other_items_or_items_twice_are_refused() {
        let run = |a: &[u64], b: &[u64]| {
            one_round(&recording("a", a, &[]), &recording("b", b, &[]), "D3", 2, 0.5)
                .unwrap_err()
                .to_string()
        };
        assert!(run(&[0, 1], &[0, 2]).contains("a and b are not two orders"));
        assert!(run(&[0, 1], &[0, 1, 2]).contains("a and b are not two orders"));
        assert!(run(&[0, 1, 0], &[0, 1, 2]).contains("a has item 0 at positions 0 and 2"));
    }
}
