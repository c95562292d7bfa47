//! Sends items from a list of locations, without a broker.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::item::{MAX_BATCH, Origin, ReceivedItem};
use crate::message::{Location, Reference};
use crate::offsets::Tracker;

/// Sends every location as an item, in order, as fast as the next stage takes them. The items have
/// their verdicts when `tracker` has no unresolved item.
pub fn send(locations: &[String], out: &Sender<Vec<ReceivedItem>>, tracker: &Arc<Tracker>) {
    let mut offsets = 0..;
    for batch in locations.chunks(MAX_BATCH) {
        let numbered = batch.iter().zip(&mut offsets);
        let items = numbered.filter_map(|(location, offset)| item(location, offset, tracker));
        if out.send(items.collect()).is_err() {
            return;
        }
    }
}

fn item(location: &str, offset: i64, tracker: &Arc<Tracker>) -> Option<ReceivedItem> {
    let ticket = tracker.take(offset)?;
    let reference = Reference {
        id: location.to_owned(),
        location: Location::Uri(location.to_owned()),
        content_type: None,
        risk: None,
        metadata: None,
    };
    let origin = Origin {
        ticket,
        headers: Vec::new(),
        key: None,
        timestamp: None,
        received: Instant::now(),
    };
    Some(ReceivedItem { origin, content: Ok(reference), bytes: 0, held: None })
}
