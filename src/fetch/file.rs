//! Files below the configured roots.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use url::Url;

use super::{FetchSetupError, too_large};
use crate::message::{Failure, Reason};

/// Non-blocking, so that a pipe in the way can't hold the thread.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Reads files, none outside its roots.
#[derive(Debug)]
pub(super) struct Files {
    roots: Vec<Root>,
    max_bytes: usize,
}

/// A folder below which files may be read.
#[derive(Debug)]
struct Root {
    /// As configured.
    given: PathBuf,
    /// With links resolved.
    real: PathBuf,
    folder: OwnedFd,
}

/// Why a file was not opened.
enum Refused {
    Outside,
    Failed(Errno),
}

impl Files {
    pub fn new(roots: &[PathBuf], max_bytes: usize) -> Result<Self, FetchSetupError> {
        let roots = roots
            .iter()
            .map(|root| Root::new(root).map_err(|source| FetchSetupError::Root { root: root.clone(), source }));
        Ok(Self { roots: roots.collect::<Result<_, _>>()?, max_bytes })
    }

    /// Reads the file at a `file:` URI or absolute path.
    pub fn read(&self, uri: &str) -> Result<Bytes, Failure> {
        let path = path(uri)?;
        let mut file = self.open(&path).map_err(|refused| failure(uri, &refused))?;
        let failed = |e: &std::io::Error| Failure::new(Reason::Unavailable, format!("{uri}: {e}"));
        let metadata = file.metadata().map_err(|e| failed(&e))?;
        if !metadata.is_file() {
            return Err(Failure::new(Reason::Forbidden, format!("{uri} is no regular file")));
        }
        if metadata.len() > self.max_bytes as u64 {
            return Err(too_large(self.max_bytes));
        }
        // As long as it was when asked: a file that grows meanwhile can't pass the bound, and no read is spent on its end.
        let mut bytes = vec![0; metadata.len() as usize];
        let read = fill(&mut file, &mut bytes).map_err(|e| failed(&e))?;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// Opens a file if it lies below a root, links resolved; what lies elsewhere is not opened, whatever is swapped in meanwhile.
    fn open(&self, path: &Path) -> Result<File, Refused> {
        if !path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_))) {
            return Err(Refused::Outside);
        }
        let (root, relative) =
            self.roots.iter().find_map(|root| Some((root, root.below(path)?))).ok_or(Refused::Outside)?;
        match rustix::fs::openat2(
            &root.folder,
            relative,
            FLAGS,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        ) {
            Ok(file) => Ok(file.into()),
            // A link that leads out of this root, perhaps into another one; a kernel or sandbox without this call; a folder being moved.
            Err(Errno::XDEV | Errno::NOSYS | Errno::PERM | Errno::AGAIN) => self.open_resolved(path),
            Err(e) => Err(Refused::Failed(e)),
        }
    }

    /// The same in more steps: links are resolved first, and afterwards the open file is asked where it lies.
    fn open_resolved(&self, path: &Path) -> Result<File, Refused> {
        let failed = |e: std::io::Error| Refused::Failed(Errno::from_io_error(&e).unwrap_or(Errno::IO));
        let inside = |real: &Path| self.roots.iter().any(|root| real.starts_with(&root.real));
        let real = path.canonicalize().map_err(failed)?;
        if !inside(&real) {
            return Err(Refused::Outside);
        }
        let file =
            File::from(rustix::fs::open(&real, FLAGS | OFlags::NOFOLLOW, Mode::empty()).map_err(Refused::Failed)?);
        let opened = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(failed)?;
        if inside(&opened) { Ok(file) } else { Err(Refused::Outside) }
    }
}

impl Root {
    fn new(root: &Path) -> std::io::Result<Self> {
        let real = root.canonicalize()?;
        let folder = rustix::fs::open(&real, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { given: root.to_owned(), real, folder })
    }

    /// A path relative to this root, if it lies below it by its text.
    fn below<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        let relative = path.strip_prefix(&self.given).or_else(|_| path.strip_prefix(&self.real)).ok()?;
        Some(if relative.as_os_str().is_empty() { Path::new(".") } else { relative })
    }
}

fn path(uri: &str) -> Result<PathBuf, Failure> {
    if uri.starts_with('/') {
        return Ok(PathBuf::from(uri));
    }
    let malformed = |what: &str| Failure::new(Reason::Malformed, format!("{uri}: {what}"));
    match Url::parse(uri) {
        Ok(url) if url.scheme() == "file" => {
            url.to_file_path().map_err(|()| malformed("no absolute path on this host"))
        }
        Ok(url) => {
            let detail = format!("`{}` is not fetched; file, http and https are", url.scheme());
            Err(Failure::new(Reason::UnsupportedScheme, detail))
        }
        Err(url::ParseError::RelativeUrlWithoutBase) => Err(malformed("a path must be absolute")),
        Err(e) => Err(malformed(&e.to_string())),
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

fn failure(uri: &str, refused: &Refused) -> Failure {
    let Refused::Failed(errno) = refused else {
        return Failure::new(Reason::Forbidden, format!("{uri} is not below any of `fetch.roots`"));
    };
    let reason = match *errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Reason::NotFound,
        // NXIO: a socket.
        Errno::ACCESS | Errno::PERM | Errno::NXIO => Reason::Forbidden,
        Errno::INVAL | Errno::NAMETOOLONG => Reason::Malformed,
        _ => Reason::Unavailable,
    };
    Failure::new(reason, format!("{uri}: {errno}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn uris_and_paths_become_paths() {
        for (uri, expected) in [
            ("/a/b.png", "/a/b.png"),
            ("file:///a/b.png", "/a/b.png"),
            ("file://localhost/a/b.png", "/a/b.png"),
            ("FILE:///a/with%20space%25.png", "/a/with space%.png"),
            ("file:///a/x/../b.png", "/a/b.png"),
            ("file:///a/%2e%2e/b.png", "/b.png"),
        ] {
            assert_eq!(path(uri).unwrap(), Path::new(expected), "{uri}");
        }
    }

    #[test]
    fn what_is_no_path_is_told() {
        for (uri, reason, word) in [
            ("a/b.png", Reason::Malformed, "must be absolute"),
            ("", Reason::Malformed, "must be absolute"),
            ("file://elsewhere/a.png", Reason::Malformed, "this host"),
            ("s3://bucket/key", Reason::UnsupportedScheme, "s3"),
            ("data:image/png;base64,AAAA", Reason::UnsupportedScheme, "data"),
        ] {
            let failure = path(uri).unwrap_err();
            assert_eq!(failure.reason, reason, "{uri}");
            assert!(failure.detail.contains(word), "{}", failure.detail);
        }
    }

    /// The way without openat2 lets through and refuses the same.
    #[test]
    fn both_ways_of_opening_agree() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(root.join("file"), "inside").unwrap();
        std::fs::write(outside.join("secret"), "outside").unwrap();
        symlink("file", root.join("relative")).unwrap();
        symlink(root.join("file"), root.join("absolute")).unwrap();
        symlink(outside.join("secret"), root.join("leak")).unwrap();
        symlink("../outside", root.join("folder")).unwrap();
        let files = Files::new(std::slice::from_ref(&root), 100).unwrap();
        for (name, opens) in [
            ("file", true),
            ("relative", true),
            ("absolute", true),
            ("leak", false),
            ("folder/secret", false),
            ("none", false),
        ] {
            let path = root.join(name);
            assert_eq!(files.open(&path).is_ok(), opens, "{name}");
            assert_eq!(files.open_resolved(&path).is_ok(), opens, "{name}");
        }
    }
}
