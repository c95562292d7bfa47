//! The items and groups in flight.

use slab::Slab;

use super::group::Group;
use super::item::{Item, ItemId};

/// All items and groups without a verdict.
pub(super) struct InFlight<T> {
    pub items: Slab<Item<T>>,
    pub groups: Slab<Group>,
}

impl<T> InFlight<T> {
    /// The images of `items`, padded to `batch` by repeating the last one.
    pub fn images(&self, items: &[ItemId], batch: usize) -> Vec<&[u8]> {
        let mut images: Vec<&[u8]> = items.iter().map(|&id| &self.items[id].image[..]).collect();
        if let Some(&last) = images.last() {
            images.resize(batch, last);
        }
        images
    }
}
