//! The items of a folder, and the scores that were recorded for groups of them (pure).

use dorfman_core::cost::TestCost;
use dorfman_core::policy::MAX_GROUP;

use super::ReplayError;

/// The design of individual tests by the plain network.
pub const INDIVIDUAL: &str = "individual";

/// An item, at its position in the order from which groups are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedItem {
    /// The number of the item, the same in every folder.
    pub id: u64,
    /// Whether the item is positive.
    pub positive: bool,
}

/// A group with its recorded score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordedGroup {
    /// The score, 0 to 1.
    pub score: f32,
    /// Whether one of its items is positive.
    pub positive: bool,
}

/// The scores of one design at one group size.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The design. Within a folder, a design is one checkpoint.
    pub design: String,
    /// Items per group: group `g` has the items from position `g * size` on. The last group may
    /// have fewer.
    pub size: usize,
    /// The cost of a test, in GMAC (10^9 multiply-adds).
    pub cost: TestCost,
    /// The groups in order.
    pub groups: Vec<RecordedGroup>,
}

/// A folder: one order of the items, and all scores of groups that were cut from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    name: String,
    items: Vec<RecordedItem>,
    scores: Vec<Scores>,
}

impl Recording {
    /// A recording of items and the scores of their groups.
    ///
    /// # Errors
    /// [`ReplayError::Scores`] if a group size is not possible, if the number of groups does not
    /// fit the number of items, or if the label of a group contradicts those of its items.
    pub fn new(
        name: &str,
        items: Vec<RecordedItem>,
        scores: Vec<Scores>,
    ) -> Result<Self, ReplayError> {
        for s in &scores {
            if let Some(what) = contradiction(s, &items) {
                return Err(ReplayError::Scores {
                    folder: name.to_owned(),
                    design: s.design.clone(),
                    size: s.size,
                    what,
                });
            }
        }
        Ok(Self { name: name.to_owned(), items, scores })
    }

    /// The name of the folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The items by position.
    pub fn items(&self) -> &[RecordedItem] {
        &self.items
    }

    /// The scores of a design at a group size. Upper and lower case of the design's name are
    /// equal.
    ///
    /// # Errors
    /// [`ReplayError::NotRecorded`], which lists the scores that exist.
    pub fn scores(&self, design: &str, size: usize) -> Result<&Scores, ReplayError> {
        let matches = |s: &&Scores| s.size == size && s.design.eq_ignore_ascii_case(design);
        self.scores.iter().find(matches).ok_or_else(|| {
            let mut known: Vec<(&str, usize)> =
                self.scores.iter().map(|s| (s.design.as_str(), s.size)).collect();
            known.sort_unstable();
            let known: Vec<String> =
                known.iter().map(|(design, size)| format!("{design}:{size}")).collect();
            ReplayError::NotRecorded(format!(
                "{} has no scores {design}:{size} (design:group size), only {}",
                self.name,
                known.join(", ")
            ))
        })
    }

    /// The cost of testing every item alone with the plain network, in GMAC.
    ///
    /// # Errors
    /// [`ReplayError::NotRecorded`] if there are no such scores.
    pub fn individual_gmac(&self) -> Result<f64, ReplayError> {
        Ok(self.scores(INDIVIDUAL, 1)?.cost.full * self.items.len() as f64)
    }
}

/// What is wrong about scores of these items, if anything.
fn contradiction(scores: &Scores, items: &[RecordedItem]) -> Option<String> {
    if !(1..=MAX_GROUP).contains(&scores.size) {
        return Some(format!("groups can have 1 to {MAX_GROUP} items"));
    }
    let (groups, expected) = (scores.groups.len(), items.len().div_ceil(scores.size));
    if groups != expected {
        let items = items.len();
        return Some(format!("{items} items make {expected} groups, there are {groups}"));
    }
    let members = items.chunks(scores.size);
    let labels = members.map(|members| members.iter().any(|item| item.positive));
    let wrong = labels.zip(&scores.groups).position(|(label, group)| label != group.positive)?;
    Some(format!("the label of group {wrong} (from 0) contradicts the labels of its items"))
}

#[cfg(test)]
mod tests {
    use dorfman_core::cost::TestCost;

    use super::*;

    fn recording(
        positives: &[bool],
        size: usize,
        labels: &[bool],
    ) -> Result<Recording, ReplayError> {
        let items = positives
            .iter()
            .zip(0..)
            .map(|(&positive, id)| RecordedItem { id, positive })
            .collect();
        let groups =
            labels.iter().map(|&positive| RecordedGroup { score: 0.5, positive }).collect();
        let cost = TestCost { full: 2.0, retest: 1.0 };
        Recording::new("some", items, vec![Scores { design: "D3".to_owned(), size, cost, groups }])
    }

    #[test]
    fn scores_that_are_not_of_the_items_are_refused() {
        let wrong = |size, labels: &[bool]| {
            recording(&[false, true, false], size, labels).unwrap_err().to_string()
        };
        assert!(recording(&[false, true, false], 2, &[true, false]).is_ok());
        assert!(
            wrong(2, &[true])
                .contains("some: D3 in groups of 2: 3 items make 2 groups, there are 1")
        );
        assert!(wrong(2, &[true, true]).contains("group 1"));
        assert!(wrong(0, &[]).contains("1 to 64"));
        assert!(wrong(65, &[true]).contains("1 to 64"));
    }

    #[test]
    fn an_error_about_missing_scores_lists_the_scores_that_exist() {
        let recording = recording(&[true], 1, &[true]).unwrap();
        assert_eq!(recording.scores("d3", 1).unwrap().size, 1);
        let message = recording.scores("D2", 4).unwrap_err().to_string();
        assert!(
            message.contains("some has no scores D2:4") && message.contains("only D3:1"),
            "{message}"
        );
        assert!(recording.individual_gmac().is_err());
    }
}
