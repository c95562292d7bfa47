//! Fetches the bytes of an image from its location.
//!
//! An image has at most `fetch.max_bytes` bytes; otherwise the result is a [`Failure`] with its
//! reason. Files are read only below the configured roots. HTTP requests, including redirects, go
//! only to addresses that the configuration allows.
//!
//! A *store* is what an image comes from: a host, or a root. Fetches of one store share a limit of
//! attempts at once, and a store that fails again and again is down until it answers (`hosts.rs`).

pub mod address;
mod attempt;
mod breaker;
mod file;
mod guard;
mod hosts;
mod http;
mod memory;
mod queue;
mod root;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Url;
use tokio::runtime::Handle;

use self::attempt::{Failed, wait};
use self::breaker::Outcome;
use self::hosts::HostLimits;
use self::memory::{Memory, Reserved};
use self::queue::Queue;
use crate::config::fetch::FetchConfig;
use crate::failure::{Failure, Reason};
use crate::message::Location;

/// The bytes of memory that an attempt over HTTP takes before it starts. Larger images wait for more
/// while they arrive.
const USUAL_IMAGE: usize = 128 << 10;

/// Fetches the bytes of images: inline, from files, or over HTTP and HTTPS.
#[derive(Debug)]
pub struct Fetcher {
    files: Arc<file::Files>,
    http: http::Http,
    queue: Arc<Queue>,
    memory: Arc<Memory>,
    limits: Limits,
}

/// The limits of the configuration.
#[derive(Debug, Clone, Copy)]
struct Limits {
    max_bytes: usize,
    attempts: u32,
    timeout: Duration,
    deadline: Duration,
    backoff: Duration,
}

/// Why a [`Fetcher`] cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum FetchSetupError {
    /// A root cannot be opened.
    #[error(
        "configuration: `fetch.roots`: {}: {source}; name a folder that exists and is accessible",
        root.display()
    )]
    Root {
        /// The root as configured.
        root: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The HTTP client cannot be created.
    #[error("the HTTP client cannot be created: {0}; check that the system has CA certificates")]
    Http(String),
}

/// Where the bytes of an image are.
#[derive(Debug)]
pub(crate) enum Located {
    /// In the message.
    Inline(Bytes),
    /// In a store.
    Stored(Stored),
}

/// An image in a store.
#[derive(Debug)]
pub(crate) struct Stored {
    store: Arc<str>,
    at: At,
}

#[derive(Debug)]
enum At {
    File(Arc<PathBuf>),
    Http(Url),
}

/// The bytes of an image, and the memory that they take.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub bytes: Bytes,
    /// Held until the image is decoded.
    pub memory: Reserved,
}

#[cfg(test)]
impl From<&'static [u8]> for Fetched {
    /// Bytes that take no memory of a fetcher.
    fn from(bytes: &'static [u8]) -> Self {
        Self { bytes: Bytes::from_static(bytes), memory: Memory::new(0).reserve() }
    }
}

impl Stored {
    /// Whether the image is a file.
    pub fn is_file(&self) -> bool {
        matches!(self.at, At::File(_))
    }

    /// The location without its secrets.
    fn shown(&self) -> String {
        match &self.at {
            At::File(path) => path.display().to_string(),
            At::Http(url) => http::shown(url),
        }
    }
}

impl Fetcher {
    /// A fetcher with the limits of `config`.
    ///
    /// # Errors
    /// [`FetchSetupError::Root`] if a root does not exist or cannot be opened,
    /// [`FetchSetupError::Http`] if the HTTP client cannot be created.
    pub fn new(config: &FetchConfig) -> Result<Self, FetchSetupError> {
        Ok(Self {
            files: Arc::new(file::Files::new(&config.roots, config.max_bytes)?),
            http: http::Http::new(config)?,
            queue: Arc::new(Queue::new(host_limits(config))),
            memory: Memory::new(config.buffer_bytes),
            limits: Limits {
                max_bytes: config.max_bytes,
                attempts: config.attempts,
                timeout: config.timeout,
                deadline: config.deadline,
                backoff: config.backoff,
            },
        })
    }

    /// The bytes at a location: inline, in a file, or behind an `http` or `https` URL. Redirects are
    /// followed and temporary errors are retried, up to the configured limits. Must be called in a
    /// Tokio runtime.
    ///
    /// # Errors
    /// [`Failure`] if the image is too large, if the location is not allowed, if the scheme is not
    /// supported, or if the image cannot be fetched.
    pub async fn bytes(&self, location: &Location) -> Result<Bytes, Failure> {
        match self.find(location)? {
            Located::Inline(bytes) => Ok(bytes),
            Located::Stored(stored) => self.fetch(&stored).await.map(|fetched| fetched.bytes),
        }
    }

    /// Where the bytes of a location are.
    ///
    /// # Errors
    /// [`Failure`] if an inline image is too large, if the location is malformed or not allowed, or
    /// if the scheme is not supported.
    pub(crate) fn find(&self, location: &Location) -> Result<Located, Failure> {
        let uri = match location {
            Location::Inline(bytes) if bytes.len() > self.limits.max_bytes => {
                return Err(too_large(self.limits.max_bytes));
            }
            Location::Inline(bytes) => return Ok(Located::Inline(bytes.clone())),
            Location::Uri(uri) => uri,
        };
        if is_http(uri) {
            let url = self.http.url(uri)?;
            return Ok(Located::Stored(Stored { store: http::authority(&url), at: At::Http(url) }));
        }
        let (path, store) = self.files.find(uri)?;
        Ok(Located::Stored(Stored { store, at: At::File(Arc::new(path)) }))
    }

    /// Counts an item, for the shares of the stores. To be called once per item, before it is fetched.
    pub(crate) fn arrived(&self, stored: Option<&Stored>) {
        self.queue.arrived(stored.map(|stored| &*stored.store));
    }

    /// Fetches an image. Temporary errors are retried, within `fetch.attempts` and `fetch.deadline`.
    /// While a store is down, the call waits for it, and the time and the attempts meanwhile do not
    /// count.
    ///
    /// # Errors
    /// [`Failure`] with the reason of the last attempt.
    pub(crate) async fn fetch(&self, stored: &Stored) -> Result<Fetched, Failure> {
        let (queue, store, limits) = (&self.queue, &stored.store, self.limits);
        let (mut tried, mut spent, mut expected) = (0, Duration::ZERO, USUAL_IMAGE);
        let mut since = Instant::now();
        loop {
            let longest = limits.deadline.saturating_sub(spent);
            let attempt = self.turn(stored, (since, longest), expected).await;
            let failed = match attempt.result {
                Ok(fetched) => return Ok(fetched),
                Err(failed) => failed,
            };
            if let Some(bytes) = attempt.short_of.filter(|_| failed.again.is_some()) {
                expected = bytes;
                continue;
            }
            if failed.again.is_some() && queue.patient(store) {
                (tried, spent, since) = (0, Duration::ZERO, Instant::now());
                continue;
            }
            (tried, spent) = (tried + 1, spent + attempt.took);
            if failed.again.is_some() && queue.suspected(store, limits.attempts) {
                (tried, spent) = (tried.min(limits.attempts - 1), Duration::ZERO);
                since = Instant::now();
            }
            let again = failed.again.filter(|_| tried < limits.attempts && !queue.gave_up(store));
            let wait = again.map(|retry_after| wait(limits.backoff, tried, retry_after));
            let Some(wait) = wait.filter(|&wait| spent + wait < limits.deadline) else {
                let Failure { reason, detail } = failed.failure;
                let detail = format!("{}: {detail} (tries: {tried})", stored.shown());
                return Err(Failure::new(reason, detail));
            };
            tokio::time::sleep(wait).await;
            spent += wait;
        }
    }

    /// Waits for the turn of an image, which waits since a moment, and for `expected` bytes of memory,
    /// and makes one attempt of at most `longest`.
    async fn turn(
        &self,
        stored: &Stored,
        (since, longest): (Instant, Duration),
        expected: usize,
    ) -> Attempt {
        let mut pass = match self.queue.turn(&stored.store, since).await {
            Ok(pass) => pass,
            Err(why) => return Attempt::refused(why),
        };
        let attempt = match &stored.at {
            At::File(path) => self.attempt_file(path, longest).await,
            At::Http(url) => self.attempt_http(url, expected, longest).await,
        };
        pass.answered(match &attempt.result {
            Err(Failed { again: Some(_), .. }) if attempt.short_of.is_some() => Outcome::Unknown,
            Err(Failed { again: Some(_), .. }) => Outcome::Failed,
            _ => Outcome::Answered,
        });
        attempt
    }

    async fn attempt_http(&self, url: &Url, expected: usize, longest: Duration) -> Attempt {
        let mut memory = self.memory.reserve();
        memory.grow(expected).await;
        let begun = Instant::now();
        let attempt = self.http.attempt(url.clone(), &mut memory);
        let result = tokio::time::timeout(longest, attempt).await;
        let result = result.unwrap_or_else(|_| Err(Failed::late("fetch.deadline")));
        let short_of = memory.waited_for().filter(|_| result.is_err());
        let fetched = |bytes| Fetched { bytes, memory };
        Attempt { result: result.map(fetched), took: begun.elapsed(), short_of }
    }

    /// The thread that opens or reads the file is left alone if it takes too long: a file system that
    /// does not answer cannot be interrupted.
    async fn attempt_file(&self, path: &Arc<PathBuf>, longest: Duration) -> Attempt {
        let begun = Instant::now();
        let longest = longest.min(self.limits.timeout);
        let (files, at) = (Arc::clone(&self.files), Arc::clone(path));
        let opened = match blocking(longest, move || files.open(&at)).await {
            Ok(opened) => opened,
            Err(failed) => return Attempt::ended(Err(failed), begun.elapsed()),
        };
        let mut took = begun.elapsed();
        let mut memory = self.memory.reserve();
        memory.grow(opened.length).await;
        let (begun, at) = (Instant::now(), Arc::clone(path));
        let read = blocking(longest, move || opened.read(&at)).await;
        took += begun.elapsed();
        Attempt::ended(read.map(|bytes| Fetched { bytes, memory }), took)
    }

    /// Reads a file at once, without retries. Blocks the thread, which must not be one of `runtime`'s
    /// asynchronous threads. Returns `Ok(None)` if another attempt may succeed, to be made by
    /// [`Fetcher::fetch`].
    ///
    /// # Errors
    /// [`Failure`] if another attempt would fail too.
    pub(crate) fn read_now(
        &self,
        stored: &Stored,
        runtime: &Handle,
    ) -> Result<Option<Fetched>, Failure> {
        let At::File(path) = &stored.at else { return Ok(None) };
        let read = self.files.open(path).and_then(|opened| {
            let mut memory = self.memory.reserve();
            runtime.block_on(memory.grow(opened.length));
            let bytes = opened.read(path)?;
            Ok(Fetched { bytes, memory })
        });
        match read {
            Ok(fetched) => Ok(Some(fetched)),
            Err(Failed { again: Some(_), .. }) => Ok(None),
            Err(Failed { failure, again: None }) => Err(failure),
        }
    }

    /// Whether a store answers, as far as is known.
    pub(crate) fn answers(&self, stored: &Stored) -> bool {
        self.queue.answers(&stored.store)
    }

    /// Records that a store has answered outside of [`Fetcher::fetch`].
    pub(crate) fn answered(&self, stored: &Stored) {
        self.queue.answered(&stored.store);
    }

    /// Lets the fetches run whose turn has come by the time that has passed. To be called a few
    /// times per second while fetches run.
    pub(crate) fn tick(&self) {
        self.queue.tick();
    }

    /// The store of images that is down while items wait for it, and for how long. Nothing more
    /// should be read meanwhile. Only stores with at least `fetch.store_share` of the recent items
    /// are waited for.
    pub(crate) fn outage(&self) -> Option<(String, Duration)> {
        self.queue.outage()
    }

    /// Fetches that wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting()
    }
}

/// One attempt.
struct Attempt {
    result: Result<Fetched, Failed>,
    /// The time that the attempt took.
    took: Duration,
    /// The bytes of memory that the attempt waited for while it ran. If it failed, this wait may be
    /// why, and not the store.
    short_of: Option<usize>,
}

impl Attempt {
    fn ended(result: Result<Fetched, Failed>, took: Duration) -> Self {
        Self { result, took, short_of: None }
    }

    fn refused(why: String) -> Self {
        let failed = Failed::for_good(Failure::new(Reason::Unavailable, why));
        Self::ended(Err(failed), Duration::ZERO)
    }
}

/// Runs `work` on a thread that may block, and waits at most `longest`.
async fn blocking<T: Send + 'static>(
    longest: Duration,
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    let ended = tokio::time::timeout(longest, tokio::task::spawn_blocking(work)).await;
    match ended {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => {
            Err(Failed::for_good(Failure::new(Reason::Unavailable, format!("a bug: {error}"))))
        }
        Err(_) => Err(Failed::late("fetch.timeout")),
    }
}

/// The limits of the queue of fetches.
fn host_limits(config: &FetchConfig) -> HostLimits {
    HostLimits {
        running: config.concurrency,
        failures: config.outage_after,
        store_share: config.store_share,
        outage_limit: config.outage_limit,
        patience: config.deadline,
    }
}

/// Whether a URI's scheme is `http` or `https`, in any case.
fn is_http(uri: &str) -> bool {
    let Some((scheme, _)) = uri.split_once(':') else { return false };
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// The failure of an image with more than `max_bytes` bytes.
fn too_large(max_bytes: usize) -> Failure {
    let detail =
        format!("the image has more than {max_bytes} bytes, the limit in `fetch.max_bytes`");
    Failure::new(Reason::TooLarge, detail)
}
