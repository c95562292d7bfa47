//! The items of a folder and the scores that were recorded for groups of them (pure).

use super::{ReplayError, TestCost};
use crate::retest::MAX_GROUP;

/// The design of tests of one image by the plain network.
pub const INDIVIDUAL: &str = "individual";

/// An item, at its position in the order that groups are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// What it is called in every folder.
    pub id: u64,
    /// Whether it is to be found.
    pub positive: bool,
}

/// What was recorded for a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// The score, 0 to 1.
    pub score: f32,
    /// Whether one of its items is positive.
    pub positive: bool,
}

/// The scores of one design at one group size.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The design; within a folder it stands for one checkpoint.
    pub design: String,
    /// Items in a group: group `g` has those at the positions from `g * size` on, the last one perhaps fewer.
    pub size: usize,
    /// What a test costs.
    pub cost: TestCost,
    /// The groups in order.
    pub groups: Vec<Group>,
}

/// A folder: one order of the items, and all scores for groups cut from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    name: String,
    items: Vec<Item>,
    scores: Vec<Scores>,
}

impl Recording {
    /// A recording, if its scores are those of its items.
    ///
    /// # Errors
    /// [`ReplayError::Scores`]: a group size that no test can have, too few or too many groups, or a group whose label is not that of its
    /// items.
    pub fn new(name: &str, items: Vec<Item>, scores: Vec<Scores>) -> Result<Self, ReplayError> {
        for s in &scores {
            fits(s, &items).map_err(|what| ReplayError::Scores {
                folder: name.to_owned(),
                design: s.design.clone(),
                size: s.size,
                what,
            })?;
        }
        Ok(Self { name: name.to_owned(), items, scores })
    }

    /// The folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The items by position.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The scores of a design at a group size; the case of the design's name does not count.
    ///
    /// # Errors
    /// [`ReplayError::NotRecorded`], which says what there is.
    pub fn scores(&self, design: &str, size: usize) -> Result<&Scores, ReplayError> {
        let found = self.scores.iter().find(|s| s.size == size && s.design.eq_ignore_ascii_case(design));
        found.ok_or_else(|| {
            let mut known: Vec<(&str, usize)> = self.scores.iter().map(|s| (s.design.as_str(), s.size)).collect();
            known.sort_unstable();
            let known: Vec<String> = known.iter().map(|(design, size)| format!("{design}:{size}")).collect();
            let (name, known) = (&self.name, known.join(", "));
            ReplayError::NotRecorded(format!("{name} has no scores {design}:{size} (design:group size), only {known}"))
        })
    }

    /// What it costs to test every item alone with the plain network, in GMAC.
    ///
    /// # Errors
    /// [`ReplayError::NotRecorded`] if there are no such scores.
    pub fn individual_gmac(&self) -> Result<f64, ReplayError> {
        Ok(self.scores(INDIVIDUAL, 1)?.cost.full * self.items.len() as f64)
    }
}

fn fits(scores: &Scores, items: &[Item]) -> Result<(), String> {
    if !(1..=MAX_GROUP).contains(&scores.size) {
        return Err(format!("groups can have 1 to {MAX_GROUP} items"));
    }
    let (groups, wanted) = (scores.groups.len(), items.len().div_ceil(scores.size));
    if groups != wanted {
        return Err(format!("{} items make {wanted} groups, there are {groups}", items.len()));
    }
    let members = items.chunks(scores.size).map(|members| members.iter().any(|item| item.positive));
    match members.zip(&scores.groups).position(|(positive, group)| positive != group.positive) {
        Some(row) => {
            Err(format!("the label of group {row} (from 0) is not that of its items, so they are not its items"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(positives: &[bool], size: usize, labels: &[bool]) -> Result<Recording, ReplayError> {
        let items = positives.iter().zip(0..).map(|(&positive, id)| Item { id, positive }).collect();
        let groups = labels.iter().map(|&positive| Group { score: 0.5, positive }).collect();
        let cost = TestCost { full: 2.0, retest: 1.0 };
        Recording::new("some", items, vec![Scores { design: "D3".to_owned(), size, cost, groups }])
    }

    #[test]
    fn scores_that_are_not_of_the_items_are_refused() {
        let wrong = |size, labels: &[bool]| recording(&[false, true, false], size, labels).unwrap_err().to_string();
        assert!(recording(&[false, true, false], 2, &[true, false]).is_ok());
        assert!(wrong(2, &[true]).contains("some: D3 in groups of 2: 3 items make 2 groups, there are 1"));
        assert!(wrong(2, &[true, true]).contains("group 1"));
        assert!(wrong(0, &[]).contains("1 to 64"));
        assert!(wrong(65, &[true]).contains("1 to 64"));
    }

    #[test]
    fn what_is_not_there_is_an_error_that_says_what_is() {
        let recording = recording(&[true], 1, &[true]).unwrap();
        assert_eq!(recording.scores("d3", 1).unwrap().size, 1);
        let message = recording.scores("D2", 4).unwrap_err().to_string();
        assert!(message.contains("some has no scores D2:4") && message.contains("only D3:1"), "{message}");
        assert!(recording.individual_gmac().is_err());
    }
}
