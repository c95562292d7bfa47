//! Offers items to an engine in whole groups.

use std::iter::Peekable;
use std::time::Duration;

use dorfman_core::engine::{Driver, Network};

/// A time for which no group waits in an experiment. Groups are full, and the last ones are closed
/// when the driver is.
pub(crate) const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Items that are offered to a driver in order, in whole groups.
///
/// The engine then forms exactly the groups in which the items stand, if every item passes its exits
/// and `max_wait` is too long to close a group early ([`NEVER`]): a group is open while stage 0 runs
/// on its members. If a group is larger than the engine's slots, its size is cut to the slots, as the
/// engine does.
pub(crate) struct GroupFeed<'a> {
    items: Peekable<Box<dyn Iterator<Item = usize> + 'a>>,
    group_size: usize,
    image: &'a dyn Fn(usize) -> Vec<u8>,
}

impl<'a> GroupFeed<'a> {
    /// A feed of `items` in groups of `group_size` (0 counts as 1). `image` makes the preprocessed
    /// image of an item.
    pub fn new(
        items: impl Iterator<Item = usize> + 'a,
        group_size: usize,
        image: &'a dyn Fn(usize) -> Vec<u8>,
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
    use std::time::Instant;

    use dorfman_core::calibration::Thresholds;
    use dorfman_core::engine::{
        BandPlan, BatchSettings, Driver, Engine, ManualClock, ScriptedNetwork, scripted_image,
        single_label_shape,
    };
    use dorfman_core::policy::MultiRound;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The first round has one test per group in which the items stand.
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
            let clock = ManualClock::new(Instant::now());
            let engine = Engine::new(network, clock, band, settings).with_group_wait(NEVER);
            let mut driver = Driver::new(engine);
            // The first item of every second group is positive.
            let image = |item: usize| {
                scripted_image(&[if item.is_multiple_of(2 * size) { 0.9 } else { 0.1 }])
            };
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
