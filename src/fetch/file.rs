//! Files below the configured roots.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;
use url::Url;

use super::{FetchSetupError, too_large};
use crate::message::{Failure, Reason};

/// Reads files, none outside its roots.
#[derive(Debug)]
pub(super) struct Files {
    /// Each root as configured and with links resolved.
    roots: Vec<(PathBuf, PathBuf)>,
    max_bytes: usize,
}

impl Files {
    pub fn new(roots: &[PathBuf], max_bytes: usize) -> Result<Self, FetchSetupError> {
        let resolved = roots.iter().map(|root| match root.canonicalize() {
            Ok(real) => Ok((root.clone(), real)),
            Err(source) => Err(FetchSetupError::Root { root: root.clone(), source }),
        });
        Ok(Self { roots: resolved.collect::<Result<_, _>>()?, max_bytes })
    }

    /// Reads the file at a `file:` URI or absolute path.
    pub fn read(&self, uri: &str) -> Result<Bytes, Failure> {
        let path = path(uri)?;
        let outside = || Failure::new(Reason::Forbidden, format!("{uri} is not below any of `fetch.roots`"));
        if !self.may_lie_below(&path) {
            return Err(outside());
        }
        // Non-blocking, so that a pipe in the way can't hold the thread.
        let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&path).map_err(|e| failure(uri, &e))?;
        // Where the open file really lies, links resolved: asked of the file itself, so that nothing can be swapped in between.
        let real = real_path(&file, &path).map_err(|e| failure(uri, &e))?;
        if !self.roots.iter().any(|(_, root)| real.starts_with(root)) {
            return Err(outside());
        }
        let metadata = file.metadata().map_err(|e| failure(uri, &e))?;
        if !metadata.is_file() {
            return Err(Failure::new(Reason::Forbidden, format!("{uri} is no regular file")));
        }
        if metadata.len() > self.max_bytes as u64 {
            return Err(too_large(self.max_bytes));
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
        file.take(self.max_bytes as u64 + 1).read_to_end(&mut bytes).map_err(|e| failure(uri, &e))?;
        if bytes.len() > self.max_bytes {
            return Err(too_large(self.max_bytes));
        }
        Ok(bytes.into())
    }

    /// Whether a path can lie below a root by its text alone; whatever can't is never opened.
    fn may_lie_below(&self, path: &Path) -> bool {
        let plain = path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        plain && self.roots.iter().any(|(given, real)| path.starts_with(given) || path.starts_with(real))
    }
}

fn path(uri: &str) -> Result<PathBuf, Failure> {
    if uri.starts_with('/') {
        return Ok(PathBuf::from(uri));
    }
    let malformed = |what: &str| Failure::new(Reason::Malformed, format!("{uri}: {what}"));
    match Url::parse(uri) {
        Ok(url) if url.scheme() == "file" => url.to_file_path().map_err(|()| malformed("no absolute path on this host")),
        Ok(url) => {
            let detail = format!("`{}` is not fetched; file, http and https are", url.scheme());
            Err(Failure::new(Reason::UnsupportedScheme, detail))
        }
        Err(url::ParseError::RelativeUrlWithoutBase) => Err(malformed("a path must be absolute")),
        Err(e) => Err(malformed(&e.to_string())),
    }
}

#[cfg(target_os = "linux")]
fn real_path(file: &File, _path: &Path) -> std::io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(not(target_os = "linux"))]
fn real_path(_file: &File, path: &Path) -> std::io::Result<PathBuf> {
    path.canonicalize()
}

fn failure(uri: &str, error: &std::io::Error) -> Failure {
    let reason = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Reason::NotFound,
        ErrorKind::PermissionDenied => Reason::Forbidden,
        _ => Reason::Unavailable,
    };
    Failure::new(reason, format!("{uri}: {error}"))
}
