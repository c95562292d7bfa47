//! Files that one thread reads one after the other.
//!
//! A file system that does not answer blocks its thread, and nothing can interrupt the thread. The
//! files of a batch therefore stay in a list until they are read. If the thread makes no progress,
//! somebody else takes the list, and the thread finds it empty when it goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::fetching::{FetchedItem, Place};
use crate::failure::Failure;
use crate::fetch::{Fetched, Stored};
use crate::item::Item;

/// Files that wait to be sent, at most.
const MOST_READY: usize = 16;

/// Bytes that wait to be sent, at most, before the next file is read.
const MOST_BYTES: usize = 256 << 10;

/// An item whose file is to be read.
pub(super) struct Unread {
    pub item: Item,
    pub stored: Arc<Stored>,
    pub place: Place,
}

/// The files of a batch. The thread that reads them and the task that watches it share them.
pub(super) struct Reading {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    left: VecDeque<Unread>,
    ready: Vec<FetchedItem>,
    ready_bytes: usize,
    /// Files that were read or failed.
    ended: usize,
}

/// Reads the files of a batch, and takes what becomes of them.
pub(super) trait BatchReader: Clone + Send + 'static {
    /// Reads a file. `Ok(None)`: it cannot be read for now.
    fn read(&self, stored: &Stored) -> Result<Option<Fetched>, Failure>;

    /// Sends items on.
    fn send(&self, items: Vec<FetchedItem>);

    /// Takes an item whose file was not read.
    fn again(&self, unread: Unread);
}

impl Reading {
    /// Files to be read in this order.
    pub fn new(files: Vec<Unread>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { left: files.into(), ..State::default() }) })
    }

    /// Reads the files. Blocks the thread. Returns the last file that was read well.
    pub fn run(&self, reader: &impl BatchReader) -> Option<Arc<Stored>> {
        let mut well = None;
        while let Some(stored) = self.first() {
            let read = reader.read(&stored).transpose();
            let Some(unread) = self.take(&stored) else { return well };
            match read {
                Some(bytes) => {
                    well = bytes.is_ok().then_some(stored).or(well);
                    self.add(unread, bytes, reader);
                }
                None => reader.again(unread),
            }
        }
        self.flush(reader);
        well
    }

    /// Waits for the thread. If it makes no progress for `longest`, or if it has panicked, hands its
    /// files on.
    pub async fn watch(
        &self,
        mut thread: JoinHandle<()>,
        longest: Duration,
        reader: &impl BatchReader,
    ) {
        let mut ended = self.ended();
        while tokio::time::timeout(longest, &mut thread).await.is_err() {
            let now = self.ended();
            if std::mem::replace(&mut ended, now) == now {
                break;
            }
        }
        self.flush(reader);
        let left = std::mem::take(&mut self.state().left);
        left.into_iter().for_each(|unread| reader.again(unread));
    }

    /// The first file, which stays in the list. Items of revoked partitions are dropped: the next
    /// owner reads them again.
    fn first(&self) -> Option<Arc<Stored>> {
        let mut state = self.state();
        while state.left.front().is_some_and(|unread| !unread.item.origin.ticket.is_current()) {
            state.left.pop_front();
        }
        state.left.front().map(|unread| Arc::clone(&unread.stored))
    }

    /// Takes a file out of the list. `None` if it was taken before.
    fn take(&self, stored: &Arc<Stored>) -> Option<Unread> {
        let mut state = self.state();
        state.ended += 1;
        let first = state.left.front().is_some_and(|unread| Arc::ptr_eq(&unread.stored, stored));
        if first { state.left.pop_front() } else { None }
    }

    fn add(&self, unread: Unread, bytes: Result<Fetched, Failure>, reader: &impl BatchReader) {
        let mut state = self.state();
        state.ready_bytes += bytes.as_ref().map_or(0, |fetched| fetched.bytes.len());
        state.ready.push(FetchedItem { item: unread.item, bytes, _place: unread.place });
        let full = state.ready.len() >= MOST_READY || state.ready_bytes >= MOST_BYTES;
        drop(state);
        if full {
            self.flush(reader);
        }
    }

    fn flush(&self, reader: &impl BatchReader) {
        let mut state = self.state();
        state.ready_bytes = 0;
        let ready = std::mem::take(&mut state.ready);
        drop(state);
        if !ready.is_empty() {
            reader.send(ready);
        }
    }

    fn ended(&self) -> usize {
        self.state().ended
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use crossbeam_channel::{Receiver, Sender, bounded};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::config::fetch::FetchConfig;
    use crate::failure::Reason;
    use crate::fetch::{Fetcher, Located};
    use crate::item::Origin;
    use crate::message::{Location, Reference};
    use crate::offsets::Tracker;

    /// Reads files by their names: `slow` is read after a permit, `later` cannot be read for now,
    /// `none` does not exist.
    #[derive(Clone)]
    struct Scripted {
        permits: Receiver<()>,
        sent: Sender<(String, bool)>,
        again: Sender<String>,
    }

    impl BatchReader for Scripted {
        fn read(&self, stored: &Stored) -> Result<Option<Fetched>, Failure> {
            let name = format!("{stored:?}");
            if name.contains("slow") {
                let _ = self.permits.recv();
            }
            if name.contains("none") {
                return Err(Failure::new(Reason::NotFound, "no such file"));
            }
            Ok((!name.contains("later")).then(|| Fetched::from(&b"pixels"[..])))
        }

        fn send(&self, items: Vec<FetchedItem>) {
            for FetchedItem { item, bytes, .. } in items {
                self.sent.send((item.reference.id.clone(), bytes.is_ok())).unwrap();
                item.origin.ticket.resolve();
            }
        }

        fn again(&self, unread: Unread) {
            self.again.send(unread.item.reference.id.clone()).unwrap();
            unread.item.origin.ticket.resolve();
        }
    }

    struct Story {
        reader: Scripted,
        permit: Sender<()>,
        sent: Receiver<(String, bool)>,
        again: Receiver<String>,
        tracker: Arc<Tracker>,
        fetcher: Fetcher,
        root: tempfile::TempDir,
    }

    impl Story {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let roots = vec![root.path().to_owned()];
            let fetcher = Fetcher::new(&FetchConfig { roots, ..FetchConfig::default() }).unwrap();
            let (permit, permits) = bounded(9);
            let (sent_out, sent) = bounded(9);
            let (again_out, again) = bounded(9);
            let reader = Scripted { permits, sent: sent_out, again: again_out };
            let tracker = Tracker::new("images".into(), 0);
            Self { reader, permit, sent, again, tracker, fetcher, root }
        }

        fn files(&self, names: &[&str]) -> Arc<Reading> {
            let places = Arc::new(Semaphore::new(names.len()));
            let numbered = names.iter().zip(0..);
            Reading::new(numbered.map(|(name, offset)| self.file(name, offset, &places)).collect())
        }

        fn file(&self, name: &str, offset: i64, places: &Arc<Semaphore>) -> Unread {
            let path = Path::new(self.root.path()).join(name);
            let location = Location::Uri(path.to_str().unwrap().to_owned());
            let Located::Stored(stored) = self.fetcher.find(&location).unwrap() else {
                panic!("a file is in a store")
            };
            let reference = Reference {
                id: name.to_owned(),
                location,
                content_type: None,
                risk: None,
                metadata: None,
            };
            let ticket = self.tracker.take(offset).unwrap();
            let received = Instant::now();
            let origin = Origin { ticket, headers: vec![], key: None, timestamp: None, received };
            let place = Arc::clone(places).try_acquire_owned().unwrap();
            Unread { item: Item::new(reference, origin), stored: Arc::new(stored), place }
        }
    }

    fn all<T>(received: &Receiver<T>) -> Vec<T> {
        received.try_iter().collect()
    }

    #[test]
    fn files_are_read_in_order() {
        let story = Story::new();
        let reading = story.files(&["a", "none", "later", "b"]);
        let well = reading.run(&story.reader).unwrap();
        assert!(format!("{well:?}").contains("/b"));
        let sent = [("a", true), ("none", false), ("b", true)];
        assert_eq!(all(&story.sent), sent.map(|(id, ok)| (id.to_owned(), ok)));
        assert_eq!(all(&story.again), ["later"]);
    }

    #[test]
    fn files_of_a_revoked_partition_are_not_read() {
        let story = Story::new();
        let reading = story.files(&["a", "b"]);
        story.tracker.close();
        assert!(reading.run(&story.reader).is_none());
        assert!(all(&story.sent).is_empty() && all(&story.again).is_empty());
    }

    /// What was read before is sent, and the thread does nothing more when it goes on.
    #[tokio::test]
    async fn a_thread_that_hangs_loses_its_files() {
        let story = Story::new();
        let reading = story.files(&["a", "slow", "b"]);
        let (shared, reader) = (Arc::clone(&reading), story.reader.clone());
        let (ended_out, ended) = bounded(1);
        let thread = tokio::task::spawn_blocking(move || {
            ended_out.send(shared.run(&reader).is_some()).unwrap();
        });
        reading.watch(thread, Duration::from_millis(20), &story.reader).await;
        assert_eq!(all(&story.sent), [("a".to_owned(), true)]);
        assert_eq!(all(&story.again), ["slow", "b"]);
        story.permit.send(()).unwrap();
        assert!(ended.recv().unwrap());
        assert!(all(&story.sent).is_empty());
        assert_eq!((story.tracker.unresolved(), story.tracker.lost()), (0, 0));
    }

    #[tokio::test]
    async fn a_thread_that_is_slow_but_goes_on_keeps_its_files() {
        let story = Story::new();
        let reading = story.files(&["slow", "slow2", "b"]);
        let (shared, reader) = (Arc::clone(&reading), story.reader.clone());
        let thread = tokio::task::spawn_blocking(move || drop(shared.run(&reader)));
        (0..2).for_each(|_| story.permit.send(()).unwrap());
        reading.watch(thread, Duration::from_secs(60), &story.reader).await;
        assert_eq!(all(&story.sent).len(), 3);
        assert!(all(&story.again).is_empty());
    }
}
