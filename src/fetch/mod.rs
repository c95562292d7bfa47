//! Fetches the bytes of an image from its location.
//!
//! An image has at most `fetch.max_bytes` bytes; otherwise the result is a [`Failure`] with its
//! reason. Files are read only below the configured roots. HTTP requests, including redirects, go
//! only to addresses that the configuration allows.

pub mod address;
mod breaker;
mod file;
mod guard;
mod hosts;
mod http;
mod queue;

use std::time::Duration;

use bytes::Bytes;

pub(crate) use self::queue::Pass;
use crate::config::fetch::FetchConfig;
use crate::failure::{Failure, Reason};
use crate::message::Location;

/// Fetches the bytes of images: inline, from files, or over HTTP and HTTPS.
#[derive(Debug)]
pub struct Fetcher {
    files: file::Files,
    http: http::Http,
    max_bytes: usize,
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
        root: std::path::PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The HTTP client cannot be created.
    #[error("the HTTP client cannot be created: {0}; check that the system has CA certificates")]
    Http(String),
}

impl Fetcher {
    /// A fetcher with the limits of `config`.
    ///
    /// # Errors
    /// [`FetchSetupError::Root`] if a root does not exist or cannot be opened,
    /// [`FetchSetupError::Http`] if the HTTP client cannot be created.
    pub fn new(config: &FetchConfig) -> Result<Self, FetchSetupError> {
        Ok(Self {
            files: file::Files::new(&config.roots, config.max_bytes)?,
            http: http::Http::new(config)?,
            max_bytes: config.max_bytes,
        })
    }

    /// The bytes of an image that is inline or in a file. A file is read before the call returns.
    /// `None` for an `http` or `https` URI; use [`Fetcher::remote`] for these.
    ///
    /// # Errors
    /// [`Failure`] if the image is too large, if the location is not allowed, if the scheme is not
    /// supported, or if the file cannot be read.
    pub fn local(&self, location: &Location) -> Option<Result<Bytes, Failure>> {
        match location {
            Location::Inline(bytes) if bytes.len() > self.max_bytes => {
                Some(Err(too_large(self.max_bytes)))
            }
            Location::Inline(bytes) => Some(Ok(bytes.clone())),
            Location::Uri(uri) if is_http(uri) => None,
            Location::Uri(uri) => Some(self.files.read(uri)),
        }
    }

    /// The bytes at an `http` or `https` URI. Redirects are followed and temporary errors are
    /// retried, up to the configured limits.
    ///
    /// # Errors
    /// [`Failure`] with the reason of the last attempt.
    pub async fn remote(&self, uri: &str) -> Result<Bytes, Failure> {
        self.http.get(uri).await.map(|(bytes, _)| bytes)
    }

    /// Like [`Fetcher::remote`]. The bytes come with their place among the `fetch.concurrency`
    /// fetches that run; it is free again when it is dropped.
    ///
    /// # Errors
    /// As [`Fetcher::remote`].
    pub(crate) async fn remote_with_place(&self, uri: &str) -> Result<(Bytes, Pass), Failure> {
        self.http.get(uri).await
    }

    /// Counts an item, for the share of its host among the recent items. To be called once per item,
    /// before it is fetched.
    pub(crate) fn arrived(&self, location: &Location) {
        let host = match location {
            Location::Uri(uri) if is_http(uri) => http::host(uri),
            Location::Uri(_) | Location::Inline(_) => None,
        };
        self.http.queue().arrived(host.as_deref());
    }

    /// Lets the fetches run whose turn has come by the time that has passed. To be called a few
    /// times per second while fetches run.
    pub(crate) fn tick(&self) {
        self.http.queue().tick();
    }

    /// The store of images that is down while items wait for it, and for how long. Nothing more
    /// should be read meanwhile. A store is a host with at least `fetch.store_share` of the recent
    /// items.
    pub(crate) fn outage(&self) -> Option<(String, Duration)> {
        self.http.queue().outage()
    }

    /// Fetches that wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.http.queue().waiting()
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
