//! Offers items to an engine in whole groups.

use std::iter::Peekable;

use dorfman_core::engine::{Driver, Network};

/// Items that are offered to a driver in order, in whole groups.
///
/// The engine then forms exactly the groups in which the items stand. A group never stays open over
/// a run of the network, so `max_wait` never closes a group early, however slow the network is. If a
/// group is larger than the engine's slots, its size is cut to the slots, as the engine does.
pub(crate) struct GroupFeed<'a> {
    items: Peekable<Box<dyn Iterator<Item = usize> + 'a>>,
    group_size: usize,
    image: &'a dyn Fn(usize) -> Vec<f32>,
}

impl<'a> GroupFeed<'a> {
    /// A feed of `items` in groups of `group_size` (0 counts as 1). `image` makes the preprocessed
    /// image of an item.
    pub fn new(
        items: impl Iterator<Item = usize> + 'a,
        group_size: usize,
        image: &'a dyn Fn(usize) -> Vec<f32>,
    ) -> Self {
        let items: Box<dyn Iterator<Item = usize> + 'a> = Box::new(items);
        Self { items: items.peekable(), group_size: group_size.max(1), image }
    }

    /// Offers as many whole groups as the driver has room for. The last group may have fewer
    /// members. Closes the driver after the last item.
    pub fn fill<N: Network>(&mut self, driver: &mut Driver<N, usize>) {
        let whole = self.group_size.min(driver.engine().slots()).max(1);
        while driver.room() >= whole && self.items.peek().is_some() {
            for item in self.items.by_ref().take(whole) {
                driver.offer((self.image)(item), item);
            }
        }
        if self.items.peek().is_none() {
            driver.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use dorfman_core::calibration::Thresholds;
    use dorfman_core::engine::{
        BandPlan, BatchSettings, Clock, Driver, Engine, ScriptedNetwork, single_label_shape,
    };
    use dorfman_core::policy::MultiRound;
    use proptest::prelude::*;

    use super::*;

    /// A clock that advances by an hour whenever it is read.
    struct Racing(Instant, std::sync::atomic::AtomicU32);

    impl Clock for Racing {
        fn now(&self) -> Instant {
            let hours = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.0 + Duration::from_secs(3600) * hours
        }

        fn thread_time(&self) -> Duration {
            Duration::ZERO
        }
    }

    proptest! {
        /// However slow the network is, the first round has one test per group in which the items
        /// stand.
        #[test]
        fn groups_are_those_in_which_the_items_stand(
            size in 1usize..16,
            slots in 1usize..40,
            items in 1usize..200,
        ) {
            let plan: Vec<usize> = if size == 1 { vec![1] } else { vec![size, 1] };
            let band =
                BandPlan::new(Box::new(MultiRound::new(&plan).unwrap()), Thresholds::constant(0.5));
            let settings = BatchSettings {
                max_batch: 4,
                preferred_batch: 4,
                buckets: vec![],
                max_wait: Duration::from_millis(1),
            };
            let network = ScriptedNetwork::new(single_label_shape(slots, 1, 1));
            let clock = Racing(Instant::now(), 0.into());
            let mut driver = Driver::new(Engine::new(network, clock, band, settings));
            // The first item of every second group is positive.
            let image = |item: usize| vec![if item.is_multiple_of(2 * size) { 0.9 } else { 0.1 }];
            let mut feed = GroupFeed::new(0..items, size, &image);
            let mut verdicts = 0;
            while !driver.is_done() {
                feed.fill(&mut driver);
                driver.turn().unwrap();
                verdicts += driver.verdicts().count();
            }
            prop_assert_eq!(verdicts, items);
            // The engine cuts group sizes to its slots.
            let groups = items.div_ceil(size.min(slots)) as u64;
            prop_assert_eq!(driver.engine().stats().tests_by_round[0], groups);
        }
    }
}
