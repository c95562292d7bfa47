//! From a location to an image's bytes.
//!
//! In: where the bytes are. Out: the bytes, at most `fetch.max_bytes` of them, or a [`Failure`] with its reason. Files are read below the
//! configured roots only, and the network is never asked for an address that the configuration doesn't allow, redirects included.

pub mod address;
mod file;
mod guard;
mod http;

use bytes::Bytes;

use crate::config::fetch::FetchConfig;
use crate::message::{Failure, Location, Reason};

/// Fetches bytes.
#[derive(Debug)]
pub struct Fetcher {
    files: file::Files,
    http: http::Http,
    max_bytes: usize,
}

/// Why a fetcher can't be made.
#[derive(Debug, thiserror::Error)]
pub enum FetchSetupError {
    /// A root is not there.
    #[error("configuration: `fetch.roots`: {}: {source}", root.display())]
    Root {
        /// Which.
        root: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP client can't be made.
    #[error("HTTP client: {0}")]
    Http(String),
}

impl Fetcher {
    /// A fetcher; the roots must exist.
    ///
    /// # Errors
    /// [`FetchSetupError`].
    pub fn new(config: &FetchConfig) -> Result<Self, FetchSetupError> {
        Ok(Self {
            files: file::Files::new(&config.roots, config.max_bytes)?,
            http: http::Http::new(config)?,
            max_bytes: config.max_bytes,
        })
    }

    /// The bytes if they are at hand: inline, or in a file, which is read at once. `None` if they are elsewhere: [`Fetcher::remote`].
    pub fn local(&self, location: &Location) -> Option<Result<Bytes, Failure>> {
        match location {
            Location::Inline(bytes) if bytes.len() > self.max_bytes => Some(Err(too_large(self.max_bytes))),
            Location::Inline(bytes) => Some(Ok(bytes.clone())),
            Location::Uri(uri) if is_http(uri) => None,
            Location::Uri(uri) => Some(self.files.read(uri)),
        }
    }

    /// The bytes at an `http` or `https` URI, tries and redirects included.
    ///
    /// # Errors
    /// [`Failure`] with the reason of the last try.
    pub async fn remote(&self, uri: &str) -> Result<Bytes, Failure> {
        self.http.get(uri).await
    }
}

/// Whether a URI's scheme is `http` or `https`, in any case.
fn is_http(uri: &str) -> bool {
    let Some((scheme, _)) = uri.split_once(':') else { return false };
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

fn too_large(max_bytes: usize) -> Failure {
    Failure::new(Reason::TooLarge, format!("more than {max_bytes} bytes"))
}
