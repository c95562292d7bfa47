//! Several open groups, one per pool (pure; the caller supplies the time).

use std::time::{Duration, Instant};

use super::Grouper;

/// Collects the items (of type `I`) of each pool into groups of their own. Each pool has at most
/// one open group. Pools are counted from 0.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use dorfman_core::grouping::Pools;
///
/// let now = Instant::now();
/// let mut pools = Pools::new([2, 3], Duration::from_millis(200));
/// assert_eq!(pools.push(0, 'a', now), None);
/// assert_eq!(pools.push(1, 'b', now), None);
/// assert_eq!(pools.push(0, 'c', now), Some(vec!['a', 'c']));
/// ```
#[derive(Debug)]
pub struct Pools<I> {
    groupers: Vec<Grouper<I>>,
}

/// A closed group with its pool.
type Closed<I> = Option<(usize, Vec<I>)>;

impl<I> Pools<I> {
    /// One pool per size in `sizes`, without items. Groups of pool `i` have at most `sizes[i]`
    /// items (0 counts as 1) and are due `max_wait` after their first item.
    pub fn new(sizes: impl IntoIterator<Item = usize>, max_wait: Duration) -> Self {
        Self { groupers: sizes.into_iter().map(|size| Grouper::new(size, max_wait)).collect() }
    }

    /// Sets the group size of `pool` to `size` items (0 counts as 1). Closes and returns its open
    /// group if it is full by the new size; the group may then have more than `size` items.
    ///
    /// # Panics
    /// If the number of pools is `pool` or less.
    pub fn resize(&mut self, pool: usize, size: usize) -> Option<Vec<I>> {
        self.groupers[pool].resize(size)
    }

    /// Adds an item to `pool` at the time `now`. Closes and returns the pool's group if it is now
    /// full.
    ///
    /// # Panics
    /// If the number of pools is `pool` or less.
    pub fn push(&mut self, pool: usize, item: I, now: Instant) -> Option<Vec<I>> {
        self.groupers[pool].push(item, now)
    }

    /// Closes one open group whose deadline is at or before `now`, and returns it with its pool.
    /// Call it until it returns `None`.
    ///
    /// # Panics
    /// As [`Pools::deadline`].
    pub fn expire(&mut self, now: Instant) -> Closed<I> {
        self.first(|grouper| grouper.expire(now))
    }

    /// Closes one open group, however small, and returns it with its pool. Call it until it returns
    /// `None`.
    pub fn flush(&mut self) -> Closed<I> {
        self.first(Grouper::flush)
    }

    /// The earliest deadline of the open groups. `None` if no group is open.
    ///
    /// # Panics
    /// If a deadline is too late for an [`Instant`].
    pub fn deadline(&self) -> Option<Instant> {
        self.groupers.iter().filter_map(Grouper::deadline).min()
    }

    fn first(&mut self, close: impl Fn(&mut Grouper<I>) -> Option<Vec<I>>) -> Closed<I> {
        self.groupers
            .iter_mut()
            .enumerate()
            .find_map(|(pool, grouper)| Some((pool, close(grouper)?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAIT: Duration = Duration::from_millis(200);

    #[test]
    fn each_pool_has_its_size_and_its_deadline() {
        let start = Instant::now();
        let mut pools = Pools::new([2, 3], WAIT);
        assert_eq!((pools.push(0, 'a', start), pools.push(1, 'b', start + WAIT / 2)), (None, None));
        assert_eq!(pools.deadline(), Some(start + WAIT));
        assert_eq!(pools.push(0, 'c', start), Some(vec!['a', 'c']));
        assert_eq!(pools.expire(start + WAIT), None);
        assert_eq!(pools.expire(start + WAIT * 2), Some((1, vec!['b'])));
        assert_eq!(pools.deadline(), None);
    }

    #[test]
    fn one_pool_can_be_resized() {
        let now = Instant::now();
        let mut pools = Pools::new([3, 3], WAIT);
        pools.push(0, 'a', now);
        pools.push(1, 'b', now);
        assert_eq!(
            (pools.resize(1, 1), pools.flush(), pools.flush()),
            (Some(vec!['b']), Some((0, vec!['a'])), None)
        );
    }

    proptest! {
        /// Every item leaves exactly once, in order, in a group of its own pool that is not too
        /// large.
        #[test]
        fn nothing_is_lost_or_mixed(places in prop::collection::vec(0usize..4, 0..300)) {
            let now = Instant::now();
            let sizes = [1, 2, 5, 16];
            let mut pools = Pools::new(sizes, WAIT);
            let mut out = vec![Vec::new(); 4];
            for (i, &pool) in places.iter().enumerate() {
                if let Some(group) = pools.push(pool, i, now) {
                    prop_assert_eq!(group.len(), sizes[pool]);
                    out[pool].extend(group);
                }
            }
            while let Some((pool, group)) = pools.flush() {
                out[pool].extend(group);
            }
            for (pool, items) in out.into_iter().enumerate() {
                let wanted: Vec<usize> = (0..places.len()).filter(|&i| places[i] == pool).collect();
                prop_assert_eq!(items, wanted);
            }
        }
    }
}
