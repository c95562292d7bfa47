//! One group after another, closed at its size or at its age, whichever comes first (pure; the
//! caller supplies the time).

use std::time::{Duration, Instant};

/// Collects items of type `I` into groups. At most one group is open at a time.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use dorfman_core::grouping::Grouper;
///
/// let (now, wait) = (Instant::now(), Duration::from_millis(200));
/// let mut grouper = Grouper::new(2, wait);
/// assert_eq!(grouper.push('a', now), None);
/// assert_eq!(grouper.push('b', now), Some(vec!['a', 'b']));
/// ```
#[derive(Debug)]
pub struct Grouper<I> {
    size: usize,
    max_wait: Duration,
    members: Vec<I>,
    opened: Option<Instant>,
}

impl<I> Grouper<I> {
    /// A grouper without items. Its groups have at most `size` items (0 counts as 1). A group is
    /// due `max_wait` after its first item.
    pub fn new(size: usize, max_wait: Duration) -> Self {
        let size = size.max(1);
        Self { size, max_wait, members: Vec::with_capacity(size), opened: None }
    }

    /// Sets the group size to `size` items (0 counts as 1). Closes and returns the open group if it
    /// is full by the new size; it may then have more than `size` items.
    pub fn resize(&mut self, size: usize) -> Option<Vec<I>> {
        self.size = size.max(1);
        if self.members.len() < self.size { None } else { self.flush() }
    }

    /// Adds an item at the time `now`. Closes and returns the group if it is now full.
    pub fn push(&mut self, item: I, now: Instant) -> Option<Vec<I>> {
        self.opened.get_or_insert(now);
        self.members.push(item);
        if self.members.len() < self.size {
            return None;
        }
        self.flush()
    }

    /// Closes and returns the open group if its deadline is at or before `now`.
    ///
    /// # Panics
    /// As [`Grouper::deadline`].
    pub fn expire(&mut self, now: Instant) -> Option<Vec<I>> {
        if self.deadline()? > now {
            return None;
        }
        self.flush()
    }

    /// The time at which the open group must be closed: `max_wait` after its first item. `None` if
    /// no group is open.
    ///
    /// # Panics
    /// If this time is too late for an [`Instant`].
    pub fn deadline(&self) -> Option<Instant> {
        self.opened.map(|opened| opened + self.max_wait)
    }

    /// Closes and returns the open group, however small it is. `None` if no group is open.
    pub fn flush(&mut self) -> Option<Vec<I>> {
        self.opened.take()?;
        Some(std::mem::replace(&mut self.members, Vec::with_capacity(self.size)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAIT: Duration = Duration::from_millis(200);

    #[test]
    fn a_full_group_is_closed_at_once() {
        let now = Instant::now();
        let mut g = Grouper::new(2, WAIT);
        assert_eq!(g.push('a', now), None);
        assert_eq!(g.push('b', now), Some(vec!['a', 'b']));
        assert_eq!(g.deadline(), None);
    }

    #[test]
    fn a_short_group_is_closed_at_its_deadline() {
        let start = Instant::now();
        let mut g = Grouper::new(3, WAIT);
        g.push('a', start);
        g.push('b', start + WAIT / 2);
        assert_eq!(g.expire(start + WAIT - Duration::from_nanos(1)), None);
        assert_eq!(g.expire(start + WAIT), Some(vec!['a', 'b']));
        assert_eq!(g.expire(start + WAIT * 2), None);
    }

    #[test]
    fn a_group_that_is_full_by_a_new_size_is_closed_at_once() {
        let now = Instant::now();
        let mut g = Grouper::new(4, WAIT);
        assert_eq!(g.resize(2), None, "an empty group is not closed");
        assert_eq!(
            (g.push('a', now), g.resize(4), g.push('b', now), g.push('c', now)),
            (None, None, None, None)
        );
        assert_eq!(g.resize(2), Some(vec!['a', 'b', 'c']));
        assert_eq!((g.push('d', now), g.push('e', now)), (None, Some(vec!['d', 'e'])));
    }

    #[test]
    fn groups_of_one_never_wait() {
        let mut g = Grouper::new(1, WAIT);
        assert_eq!(g.push('a', Instant::now()), Some(vec!['a']));
    }

    proptest! {
        /// Every item leaves exactly once and in order, no group is too large, and no group is
        /// older than `max_wait` when polled on time.
        #[test]
        fn nothing_is_lost_or_late(
            size in 1usize..20,
            gaps in prop::collection::vec(0u64..150, 0..200),
        ) {
            let mut now = Instant::now();
            let mut g = Grouper::new(size, WAIT);
            let mut out = Vec::new();
            for (i, gap) in gaps.iter().enumerate() {
                let next = now + Duration::from_millis(*gap);
                if let Some(deadline) = g.deadline()
                    && deadline <= next
                {
                    let group = g.expire(deadline);
                    prop_assert!(group.is_some());
                    out.extend(group);
                }
                now = next;
                out.extend(g.push(i, now));
                prop_assert!(g.members.len() < size);
            }
            out.extend(g.flush());
            prop_assert!(out.iter().all(|group| !group.is_empty() && group.len() <= size));
            prop_assert_eq!(
                out.into_iter().flatten().collect::<Vec<_>>(),
                (0..gaps.len()).collect::<Vec<_>>()
            );
        }
    }
}
