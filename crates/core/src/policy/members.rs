//! A set of members of one group (pure).

use std::fmt;

use super::MAX_GROUP;

/// A set of members of one group. Bit `i` (of value 2^i) is the member at position `i`, 0 to 63.
///
/// ```
/// use dorfman_core::policy::Members;
///
/// let members = Members::first(5).without(Members::only(1));
/// assert_eq!(members.iter().collect::<Vec<_>>(), [0, 2, 3, 4]);
/// assert_eq!(members.chunks(2).count(), 2);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Members(pub u64);

impl Members {
    /// The empty set.
    pub const NONE: Members = Members(0);

    /// The members at positions `0..n`. For an `n` above [`MAX_GROUP`]: all [`MAX_GROUP`] members.
    pub fn first(n: usize) -> Self {
        match n {
            MAX_GROUP.. => Members(u64::MAX),
            n => Members((1 << n) - 1),
        }
    }

    /// The member at `position`, which must be below [`MAX_GROUP`].
    ///
    /// # Panics
    /// In builds with overflow checks, if `position` is [`MAX_GROUP`] or more. Without overflow
    /// checks such a position gives another member.
    pub fn only(position: usize) -> Self {
        Members(1 << position)
    }

    /// The number of members, 0 to [`MAX_GROUP`].
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the member at `position`, which must be below [`MAX_GROUP`], is in the set.
    ///
    /// # Panics
    /// In builds with overflow checks, if `position` is [`MAX_GROUP`] or more. Without overflow
    /// checks such a position tests another member.
    pub fn contains(self, position: usize) -> bool {
        self.0 >> position & 1 == 1
    }

    /// The members of either set.
    pub fn union(self, other: Members) -> Members {
        Members(self.0 | other.0)
    }

    /// The members of both sets.
    pub fn intersection(self, other: Members) -> Members {
        Members(self.0 & other.0)
    }

    /// The members of this set that are not in `other`.
    pub fn without(self, other: Members) -> Members {
        Members(self.0 & !other.0)
    }

    /// The positions of the members, 0 to 63, rising.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let position = (rest != 0).then(|| rest.trailing_zeros() as usize);
            rest &= rest.wrapping_sub(1);
            position
        })
    }

    /// The members by blocks of `size` positions of the group: member `i` is in block `i / size`.
    /// Empty blocks are left out. A `size` of 0 counts as 1.
    pub fn blocks(self, size: usize) -> impl Iterator<Item = Members> {
        let size = size.max(1);
        let blocks = MAX_GROUP.div_ceil(size);
        let block = move |at: usize| {
            let end = ((at + 1) * size).min(MAX_GROUP);
            self.intersection(Members::first(end)).without(Members::first(at * size))
        };
        (0..blocks).map(block).filter(|members| !members.is_empty())
    }

    /// The members in order, `size` per set; the last set may have fewer. A `size` of 0 counts as
    /// 1.
    pub fn chunks(self, size: usize) -> impl Iterator<Item = Members> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let chunk = rest
                .iter()
                .take(size.max(1))
                .fold(Members::NONE, |all, i| all.union(Members::only(i)));
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
        fn blocks_cover_all_members_without_overlap(bits: u64, size in 1usize..=64) {
            let members = Members(bits);
            let mut seen = Members::NONE;
            for block in members.blocks(size) {
                prop_assert!(!block.is_empty() && block.len() <= size);
                prop_assert!(seen.intersection(block).is_empty());
                seen = seen.union(block);
            }
            prop_assert_eq!(seen, members);
        }

        #[test]
        fn all_chunks_but_the_last_are_full(bits: u64, size in 1usize..=64) {
            let members = Members(bits);
            let chunks: Vec<Members> = members.chunks(size).collect();
            prop_assert_eq!(chunks.len(), members.len().div_ceil(size));
            prop_assert!(chunks.iter().rev().skip(1).all(|c| c.len() == size));
            prop_assert_eq!(chunks.into_iter().fold(Members::NONE, Members::union), members);
        }

        #[test]
        fn iteration_visits_each_member_once(bits: u64) {
            let back =
                Members(bits).iter().fold(Members::NONE, |all, i| all.union(Members::only(i)));
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
