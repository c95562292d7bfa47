//! Reads files below the configured roots.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use url::Url;

use super::attempt::Failed;
use super::root::{Found, Root};
use super::{FetchSetupError, too_large};
use crate::failure::{Failure, Reason};

/// The flags to open files. With `NONBLOCK`, a named pipe cannot block the thread.
const FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Reads files below its roots, and refuses all other files.
#[derive(Debug)]
pub(super) struct Files {
    roots: Vec<Root>,
    max_bytes: usize,
}

/// A file that is open and not read yet.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    /// The bytes of the file.
    pub length: usize,
}

/// Why a file was not opened.
enum Refused {
    /// The file is not below a root.
    Outside,
    /// The folder of the root is gone.
    Gone,
    /// The operating system refused to open the file.
    Failed(Errno),
}

impl Files {
    /// A reader for files of at most `max_bytes` bytes.
    ///
    /// # Errors
    /// [`FetchSetupError::Root`] if a root cannot be opened.
    pub fn new(roots: &[PathBuf], max_bytes: usize) -> Result<Self, FetchSetupError> {
        let roots = roots.iter().map(|root| {
            Root::new(root).map_err(|source| FetchSetupError::Root { root: root.clone(), source })
        });
        Ok(Self { roots: roots.collect::<Result<_, _>>()?, max_bytes })
    }

    /// The path of a `file:` URI or of an absolute path, and the store that its root is.
    ///
    /// # Errors
    /// [`Failure`] if the URI is malformed, or if the path is not below a root.
    pub fn find(&self, uri: &str) -> Result<(PathBuf, Arc<str>), Failure> {
        let path = path(uri)?;
        match self.root(&path) {
            Some((root, _)) => Ok((path, Arc::clone(root.store()))),
            None => Err(failure(&path, &Refused::Outside).failure),
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`Failed`] if the file is not below a root, is not a regular file, is too large or cannot be
    /// opened.
    pub fn open(&self, path: &Path) -> Result<Opened, Failed> {
        let file = self.find_and_open(path).map_err(|refused| failure(path, &refused))?;
        let metadata = file.metadata().map_err(|e| broken(path, &e))?;
        if !metadata.is_file() {
            let detail = format!("{} is not a regular file", path.display());
            return Err(Failed::for_good(Failure::new(Reason::Forbidden, detail)));
        }
        if metadata.len() > self.max_bytes as u64 {
            return Err(Failed::for_good(too_large(self.max_bytes)));
        }
        Ok(Opened { file, length: metadata.len() as usize })
    }

    /// Opens a file. If the file is not found, looks whether its root is still there.
    fn find_and_open(&self, path: &Path) -> Result<File, Refused> {
        let refused = match self.open_below(path) {
            Err(Refused::Failed(errno @ (Errno::NOENT | Errno::STALE))) => errno,
            other => return other,
        };
        match self.root(path).map(|(root, _)| root.look()) {
            Some(Found::Replaced) => self.open_below(path),
            Some(Found::Gone) => Err(Refused::Gone),
            Some(Found::Same) | None => Err(Refused::Failed(refused)),
        }
    }

    /// The root of a path, and the path below it.
    fn root<'a>(&self, path: &'a Path) -> Option<(&Root, &'a Path)> {
        self.roots.iter().find_map(|root| Some((root, root.below(path)?)))
    }

    /// Opens a file if it is below a root after links are resolved. A file outside the roots is
    /// never returned, even if a link or a folder is replaced at the same time.
    fn open_below(&self, path: &Path) -> Result<File, Refused> {
        if !path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_))) {
            return Err(Refused::Outside);
        }
        let (root, relative) = self.root(path).ok_or(Refused::Outside)?;
        match rustix::fs::openat2(
            root.folder(),
            relative,
            FLAGS,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        ) {
            Ok(file) => Ok(file.into()),
            // XDEV: a link leads out of this root, perhaps into another root. NOSYS, PERM: the
            // kernel or the sandbox does not provide this call. AGAIN: a folder is being moved.
            Err(Errno::XDEV | Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {
                self.open_resolved(path)
            }
            Err(e) => Err(Refused::Failed(e)),
        }
    }

    /// Does the same as [`Files::open_below`] in more steps: resolves links, opens the file, then checks
    /// the path of the open file.
    fn open_resolved(&self, path: &Path) -> Result<File, Refused> {
        let failed =
            |e: std::io::Error| Refused::Failed(Errno::from_io_error(&e).unwrap_or(Errno::IO));
        let inside = |real: &Path| self.roots.iter().any(|root| real.starts_with(root.real()));
        let real = path.canonicalize().map_err(failed)?;
        if !inside(&real) {
            return Err(Refused::Outside);
        }
        let file = File::from(
            rustix::fs::open(&real, FLAGS | OFlags::NOFOLLOW, Mode::empty())
                .map_err(Refused::Failed)?,
        );
        let opened =
            std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(failed)?;
        if inside(&opened) { Ok(file) } else { Err(Refused::Outside) }
    }
}

impl Opened {
    /// Reads the file. Blocks the thread.
    ///
    /// # Errors
    /// [`Failed`] if the file cannot be read.
    pub fn read(mut self, path: &Path) -> Result<Bytes, Failed> {
        // At most the length above is read. A file that grows in the meantime cannot exceed the
        // limit, and no further read is needed to detect the end of the file.
        let mut bytes = vec![0; self.length];
        let read = fill(&mut self.file, &mut bytes).map_err(|e| broken(path, &e))?;
        bytes.truncate(read);
        Ok(bytes.into())
    }
}

/// The path of a `file:` URI or of an absolute path.
fn path(uri: &str) -> Result<PathBuf, Failure> {
    if uri.starts_with('/') {
        return Ok(PathBuf::from(uri));
    }
    let malformed = |what: &str| Failure::new(Reason::Malformed, format!("{uri}: {what}"));
    match Url::parse(uri) {
        Ok(url) if url.scheme() == "file" => {
            url.to_file_path().map_err(|()| malformed("must be an absolute path on this host"))
        }
        Ok(url) => {
            let detail =
                format!("scheme `{}` is not supported; use file, http or https", url.scheme());
            Err(Failure::new(Reason::UnsupportedScheme, detail))
        }
        Err(url::ParseError::RelativeUrlWithoutBase) => Err(malformed("a path must be absolute")),
        Err(e) => Err(malformed(&e.to_string())),
    }
}

/// Reads until the buffer is full or the file ends. Returns the number of bytes read.
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

/// The failure of a file that was not opened.
fn failure(path: &Path, refused: &Refused) -> Failed {
    let shown = path.display();
    let errno = match *refused {
        Refused::Outside => {
            let detail =
                format!("{shown} is not below a folder of `fetch.roots`; add its folder there");
            return Failed::for_good(Failure::new(Reason::Forbidden, detail));
        }
        Refused::Gone => {
            let detail = format!("{shown}: its folder in `fetch.roots` is gone or not mounted");
            return Failed::for_now(Failure::new(Reason::Unavailable, detail));
        }
        Refused::Failed(errno) => errno,
    };
    let reason = match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Reason::NotFound,
        // NXIO: the file is a socket.
        Errno::ACCESS | Errno::PERM | Errno::NXIO => Reason::Forbidden,
        Errno::INVAL | Errno::NAMETOOLONG => Reason::Malformed,
        _ => return broken(path, &errno.into()),
    };
    Failed::for_good(Failure::new(reason, format!("{shown}: {errno}")))
}

/// The failure of a file that could not be read for now, such as by an error of the disk or of the
/// network behind the file system, or because the process has too many open files.
fn broken(path: &Path, error: &std::io::Error) -> Failed {
    Failed::for_now(Failure::new(Reason::Unavailable, format!("{}: {error}", path.display())))
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
    fn invalid_paths_are_refused_with_a_reason() {
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

    /// Without openat2, the same files are opened and the same files are refused.
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
            assert_eq!(files.open_below(&path).is_ok(), opens, "{name}");
            assert_eq!(files.open_resolved(&path).is_ok(), opens, "{name}");
        }
    }
}
