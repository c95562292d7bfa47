//! The different slots that a run reads (pure).

/// Finds the different members of a run, so that each is copied once.
#[derive(Debug, Default)]
pub struct DistinctSlots {
    /// By slot: its place in `slots`.
    places: Vec<Option<usize>>,
    /// The different slots, in the order of their first occurrence.
    pub slots: Vec<usize>,
    /// The members, as places in `slots`.
    pub members: Vec<i64>,
}

impl DistinctSlots {
    /// Finds the different slots in `members`, each 0 or more and below `count`.
    pub fn find(&mut self, members: &[i64], count: usize) {
        self.places.clear();
        self.places.resize(count, None);
        self.slots.clear();
        self.members.clear();
        for &member in members {
            let place = *self.places[member as usize].get_or_insert_with(|| {
                self.slots.push(member as usize);
                self.slots.len() - 1
            });
            self.members.push(place as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_found_once() {
        let mut distinct = DistinctSlots::default();
        distinct.find(&[5, 2, 5, 5, 0, 2], 6);
        assert_eq!(
            (&distinct.slots[..], &distinct.members[..]),
            (&[5, 2, 0][..], &[0, 1, 0, 0, 2, 1][..])
        );
        distinct.find(&[1, 1], 6);
        assert_eq!((&distinct.slots[..], &distinct.members[..]), (&[1][..], &[0, 0][..]));
    }
}
