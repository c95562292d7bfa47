//! The fetches of the worker: one task per item that is not local, and the watch over their hosts.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use crate::config::fetch::FetchConfig;
use crate::error::WorkerError;
use crate::failure::Failure;
use crate::fetch::{Fetcher, Pass};
use crate::item::Item;
use crate::message::Location;
use crate::ops::Services;

/// Items that are fetched over the network at once, or wait for it, at most. They hold no bytes yet.
const MOST_FETCHES: usize = 10_000;

/// The interval at which a fetch checks whether its partition is still assigned.
const REVOKED: Duration = Duration::from_secs(1);

/// The interval at which the queue of fetches is looked at.
const TICK: Duration = Duration::from_millis(100);

/// One of the places for items that are fetched over the network.
pub(super) type Place = OwnedSemaphorePermit;

/// An item whose bytes were fetched over the network.
pub(super) struct FetchedItem {
    /// The item.
    pub item: Item,
    /// Its bytes, or why there are none.
    pub bytes: Result<Bytes, Failure>,
    /// Held until the item is decoded.
    pub _place: Place,
    /// The place among the fetches that run. It bounds the memory of images that are not decoded.
    pub _pass: Option<Pass>,
}

/// The fetches, shared by the decode threads.
pub(super) struct Fetching {
    fetcher: Arc<Fetcher>,
    runtime: Handle,
    places: Arc<Semaphore>,
    out: Sender<FetchedItem>,
    fetched: Receiver<FetchedItem>,
}

impl Fetching {
    /// No fetches yet. Tasks run on `runtime`.
    ///
    /// # Errors
    /// [`WorkerError::Setup`] if a root of `fetch.roots` is missing or the HTTP client cannot be
    /// built.
    pub fn new(
        config: &FetchConfig,
        runtime: Handle,
        services: Services,
    ) -> Result<Self, WorkerError> {
        let fetcher = Fetcher::new(config).map_err(|e| WorkerError::Setup(e.to_string()))?;
        let fetcher = Arc::new(fetcher);
        runtime.spawn(watch(Arc::downgrade(&fetcher), services));
        // There is one place per item in this queue, so sending to it never waits.
        let (out, fetched) = bounded(MOST_FETCHES);
        Ok(Self { fetcher, runtime, places: Arc::new(Semaphore::new(MOST_FETCHES)), out, fetched })
    }

    /// The bytes at a location, as [`Fetcher::local`]. The item counts for the shares of the hosts.
    pub fn local(&self, location: &Location) -> Option<Result<Bytes, Failure>> {
        self.fetcher.arrived(location);
        self.fetcher.local(location)
    }

    /// A place, if one is free.
    pub fn place(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Starts a fetch over the network.
    pub fn start(&self, item: Item, place: Place) {
        let (fetcher, out) = (Arc::clone(&self.fetcher), self.out.clone());
        self.runtime.spawn(async move {
            let Some(fetched) = fetched(&fetcher, &item).await else { return };
            let (bytes, pass) = match fetched {
                Ok((bytes, pass)) => (Ok(bytes), Some(pass)),
                Err(failure) => (Err(failure), None),
            };
            // The receivers are gone only if the worker was aborted.
            let _ = out.send(FetchedItem { item, bytes, _place: place, _pass: pass });
        });
    }

    /// Receives the items whose fetch has ended.
    pub fn fetched(&self) -> &Receiver<FetchedItem> {
        &self.fetched
    }

    /// Fetches that run, and those whose items are not decoded yet.
    pub fn running(&self) -> usize {
        Arc::strong_count(&self.places) - 1
    }
}

/// The bytes of an item. `None` if its partition is revoked meanwhile: its next owner fetches it.
async fn fetched(fetcher: &Fetcher, item: &Item) -> Option<Result<(Bytes, Pass), Failure>> {
    let Location::Uri(uri) = &item.reference.location else { return None };
    let mut fetch = std::pin::pin!(fetcher.remote_with_place(uri));
    while item.origin.ticket.is_current() {
        if let Ok(fetched) = tokio::time::timeout(REVOKED, &mut fetch).await {
            return Some(fetched);
        }
    }
    None
}

/// Lets fetches run whose turn has come, and reports a store that is down, until the fetcher is gone.
async fn watch(fetcher: Weak<Fetcher>, services: Services) {
    let mut ticks = tokio::time::interval(TICK);
    let mut down: Option<String> = None;
    loop {
        ticks.tick().await;
        let Some(fetcher) = fetcher.upgrade() else { return };
        fetcher.tick();
        services.metrics.fetch_waiting.set(fetcher.waiting() as i64);
        let outage = fetcher.outage();
        services.health.set_outage(outage.as_ref());
        services.metrics.fetch_outage.set(i64::from(outage.is_some()));
        let store = outage.map(|(store, _)| store);
        if store != down {
            match (&store, &down) {
                (Some(store), _) => warn!(
                    store,
                    "a store of images is down: no more messages are read until it answers"
                ),
                (None, Some(store)) => info!(store, "no store of images is down; reading again"),
                (None, None) => {}
            }
            down = store;
        }
    }
}
