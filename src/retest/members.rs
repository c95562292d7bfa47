//! A set of a group's members.

use std::fmt;

use super::MAX_GROUP;

/// Some of a group's members, by position in the group: bit `i` is member `i`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Members(pub u64);

impl Members {
    /// Nobody.
    pub const NONE: Members = Members(0);

    /// The first `n` members, `n` at most [`MAX_GROUP`].
    pub fn first(n: usize) -> Self {
        match n {
            MAX_GROUP.. => Members(u64::MAX),
            n => Members((1 << n) - 1),
        }
    }

    /// The member at a position.
    pub fn only(position: usize) -> Self {
        Members(1 << position)
    }

    /// How many.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// True if nobody is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the member at a position is in it.
    pub fn contains(self, position: usize) -> bool {
        self.0 >> position & 1 == 1
    }

    /// Both sets together.
    pub fn union(self, other: Members) -> Members {
        Members(self.0 | other.0)
    }

    /// Those in both.
    pub fn intersection(self, other: Members) -> Members {
        Members(self.0 & other.0)
    }

    /// Those in this one only.
    pub fn without(self, other: Members) -> Members {
        Members(self.0 & !other.0)
    }

    /// Positions, rising.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let position = (rest != 0).then(|| rest.trailing_zeros() as usize);
            rest &= rest.wrapping_sub(1);
            position
        })
    }

    /// The members in runs of `size` of the group's positions: member `i` falls in part `i / size`. Parts that hold nobody are left out.
    pub fn parts(self, size: usize) -> impl Iterator<Item = Members> {
        let size = size.max(1);
        let parts = MAX_GROUP.div_ceil(size);
        (0..parts)
            .map(move |part| {
                let below = Members::first(part * size);
                self.intersection(Members::first(((part + 1) * size).min(MAX_GROUP))).without(below)
            })
            .filter(|members| !members.is_empty())
    }
}

impl Members {
    /// The members in order, `size` at a time; the last may be fewer.
    pub fn chunks(self, size: usize) -> impl Iterator<Item = Members> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let chunk = rest.iter().take(size.max(1)).fold(Members::NONE, |all, i| all.union(Members::only(i)));
            rest = rest.without(chunk);
            (!chunk.is_empty()).then_some(chunk)
        })
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_split_without_rest_or_overlap(bits: u64, size in 1usize..=64) {
            let members = Members(bits);
            let mut seen = Members::NONE;
            for part in members.parts(size) {
                prop_assert!(!part.is_empty() && part.len() <= size);
                prop_assert!(seen.intersection(part).is_empty());
                seen = seen.union(part);
            }
            prop_assert_eq!(seen, members);
        }

        #[test]
        fn chunks_are_full_but_for_the_last(bits: u64, size in 1usize..=64) {
            let members = Members(bits);
            let chunks: Vec<Members> = members.chunks(size).collect();
            prop_assert_eq!(chunks.len(), members.len().div_ceil(size));
            prop_assert!(chunks.iter().rev().skip(1).all(|c| c.len() == size));
            prop_assert_eq!(chunks.into_iter().fold(Members::NONE, Members::union), members);
        }

        #[test]
        fn iteration_visits_each_member_once(bits: u64) {
            let back = Members(bits).iter().fold(Members::NONE, |all, i| all.union(Members::only(i)));
            prop_assert_eq!(back, Members(bits));
            prop_assert_eq!(Members(bits).iter().count(), Members(bits).len());
        }
    }

    #[test]
    fn first_of_all_sizes() {
        assert_eq!(Members::first(0), Members::NONE);
        assert_eq!(Members::first(3).iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(Members::first(64).len(), 64);
    }
}
