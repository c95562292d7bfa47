//! The fetches of the worker: images that are not in their message are read or requested here, not
//! on the decode threads, and the stores that they come from are watched.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use dorfman_model::cpu::thread_time;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use super::reading::{BatchReader, Reading, Unread};
use crate::config::fetch::FetchConfig;
use crate::error::WorkerError;
use crate::failure::Failure;
use crate::fetch::{Fetched, Fetcher, Located, Stored};
use crate::item::Item;
use crate::message::Location;
use crate::ops::Services;

/// Items that are fetched over the network at once, or wait for a store, at most. They hold no bytes
/// yet.
const MOST_FETCHES: usize = 10_000;

/// Items whose files are read ahead of the decode threads, at most. Few, because a worker that loses
/// a partition finishes them first.
const MOST_FILES: usize = 512;

/// The interval at which a fetch checks whether its partition is still assigned.
const REVOKED: Duration = Duration::from_secs(1);

/// The interval at which the queue of fetches is looked at.
const TICK: Duration = Duration::from_millis(100);

/// One of the places for items that are fetched.
pub(super) type Place = OwnedSemaphorePermit;

/// An item whose fetch has ended.
pub(super) struct FetchedItem {
    /// The item.
    pub item: Item,
    /// Its bytes, or why there are none.
    pub bytes: Result<Fetched, Failure>,
    /// Held until the item is decoded.
    pub _place: Place,
}

/// The fetches, shared by the decode threads.
#[derive(Clone)]
pub(super) struct Fetching {
    fetcher: Arc<Fetcher>,
    runtime: Handle,
    places: Arc<Semaphore>,
    file_places: Arc<Semaphore>,
    /// One permit per batch of files that is read at once.
    readers: Arc<Semaphore>,
    /// The longest time to read one file.
    longest: Duration,
    out: Sender<Vec<FetchedItem>>,
    fetched: Receiver<Vec<FetchedItem>>,
    services: Services,
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
        runtime.spawn(watch(Arc::downgrade(&fetcher), services.clone()));
        // There is one place per item in this queue, so sending to it never waits.
        let (out, fetched) = bounded(MOST_FETCHES + MOST_FILES);
        Ok(Self {
            fetcher,
            runtime,
            places: Arc::new(Semaphore::new(MOST_FETCHES)),
            file_places: Arc::new(Semaphore::new(MOST_FILES)),
            readers: Arc::new(Semaphore::new(config.concurrency)),
            longest: config.timeout,
            out,
            fetched,
            services,
        })
    }

    /// Where the bytes of an item are, as [`Fetcher::find`]. The item counts for the shares of the
    /// stores.
    pub fn find(&self, location: &Location) -> Result<Located, Failure> {
        let found = self.fetcher.find(location);
        self.fetcher.arrived(match &found {
            Ok(Located::Stored(stored)) => Some(stored),
            Ok(Located::Inline(_)) | Err(_) => None,
        });
        found
    }

    /// A place for an item that is not read from a file at once, if one is free.
    pub fn place(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A place for an item whose file is read at once, if one is free.
    pub fn file_place(&self) -> Option<Place> {
        Arc::clone(&self.file_places).try_acquire_owned().ok()
    }

    /// Whether the file of an item can be read at once: its store is not down, as far as is known.
    pub fn reads_at_once(&self, stored: &Stored) -> bool {
        stored.is_file() && self.fetcher.answers(stored)
    }

    /// Starts a fetch with retries.
    pub fn start(&self, item: Item, stored: Arc<Stored>, place: Place) {
        let (fetcher, out) = (Arc::clone(&self.fetcher), self.out.clone());
        self.runtime.spawn(async move {
            let Some(bytes) = fetched(&fetcher, &item, &stored).await else { return };
            // The receivers are gone only if the worker was aborted.
            let _ = out.send(vec![FetchedItem { item, bytes, _place: place }]);
        });
    }

    /// Reads files, one after the other, on a thread of their own.
    pub fn read(&self, files: Vec<Unread>) {
        let this = self.clone();
        self.runtime.spawn(async move {
            let Ok(_permit) = Arc::clone(&this.readers).acquire_owned().await else { return };
            let reading = Reading::new(files);
            let (shared, reader) = (Arc::clone(&reading), this.clone());
            let thread = tokio::task::spawn_blocking(move || reader.run(&shared));
            reading.watch(thread, this.longest, &this).await;
        });
    }

    fn run(&self, reading: &Reading) {
        let begun = thread_time();
        let stored = reading.run(self);
        if let Some(stored) = stored {
            self.fetcher.answered(&stored);
        }
        let spent = thread_time() - begun;
        let counter = self.services.metrics.ingest_cpu.with_label_values(&["fetch"]);
        counter.inc_by(spent.as_secs_f64());
    }

    /// Receives the items whose fetch has ended.
    pub fn fetched(&self) -> &Receiver<Vec<FetchedItem>> {
        &self.fetched
    }

    /// Fetches that run, and those whose items are not decoded yet.
    pub fn running(&self) -> usize {
        let taken = MOST_FETCHES - self.places.available_permits();
        taken + MOST_FILES - self.file_places.available_permits()
    }
}

impl BatchReader for Fetching {
    fn read(&self, stored: &Stored) -> Result<Option<Fetched>, Failure> {
        self.fetcher.read_now(stored, &self.runtime)
    }

    fn send(&self, items: Vec<FetchedItem>) {
        // The receivers are gone only if the worker was aborted.
        let _ = self.out.send(items);
    }

    fn again(&self, Unread { item, stored, place }: Unread) {
        // The item may wait for long, so it gives its place to other files.
        let place = self.place().unwrap_or(place);
        self.start(item, stored, place);
    }
}

/// The bytes of an item. `None` if its partition is revoked meanwhile: its next owner fetches it.
async fn fetched(
    fetcher: &Fetcher,
    item: &Item,
    stored: &Stored,
) -> Option<Result<Fetched, Failure>> {
    let mut fetch = std::pin::pin!(fetcher.fetch(stored));
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
