//! Reads files below the configured roots.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use url::Url;

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

/// A folder below which files may be read.
#[derive(Debug)]
struct Root {
    /// The path as configured.
    given: PathBuf,
    /// The path with symbolic links resolved.
    real: PathBuf,
    folder: OwnedFd,
}

/// Why a file was not opened.
enum Refused {
    /// The file is not below a root.
    Outside,
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

    /// Reads the file at a `file:` URI or an absolute path.
    ///
    /// # Errors
    /// [`Failure`] if the file is not below a root, is not a regular file, is too large or cannot
    /// be read.
    pub fn read(&self, uri: &str) -> Result<Bytes, Failure> {
        let path = path(uri)?;
        let mut file = self.open(&path).map_err(|refused| failure(uri, &refused))?;
        let failed = |e: &std::io::Error| Failure::new(Reason::Unavailable, format!("{uri}: {e}"));
        let metadata = file.metadata().map_err(|e| failed(&e))?;
        if !metadata.is_file() {
            return Err(Failure::new(Reason::Forbidden, format!("{uri} is not a regular file")));
        }
        if metadata.len() > self.max_bytes as u64 {
            return Err(too_large(self.max_bytes));
        }
        // At most the length above is read. A file that grows in the meantime cannot exceed the
        // limit, and no further read is needed to detect the end of the file.
        let mut bytes = vec![0; metadata.len() as usize];
        let read = fill(&mut file, &mut bytes).map_err(|e| failed(&e))?;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// Opens a file if it is below a root after links are resolved. A file outside the roots is
    /// never returned, even if a link or a folder is replaced at the same time.
    fn open(&self, path: &Path) -> Result<File, Refused> {
        if !path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_))) {
            return Err(Refused::Outside);
        }
        let (root, relative) = self
            .roots
            .iter()
            .find_map(|root| Some((root, root.below(path)?)))
            .ok_or(Refused::Outside)?;
        match rustix::fs::openat2(
            &root.folder,
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

    /// Does the same as [`Files::open`] in more steps: resolves links, opens the file, then checks
    /// the path of the open file.
    fn open_resolved(&self, path: &Path) -> Result<File, Refused> {
        let failed =
            |e: std::io::Error| Refused::Failed(Errno::from_io_error(&e).unwrap_or(Errno::IO));
        let inside = |real: &Path| self.roots.iter().any(|root| real.starts_with(&root.real));
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

impl Root {
    /// Opens the folder of a root.
    fn new(root: &Path) -> std::io::Result<Self> {
        let real = root.canonicalize()?;
        let folder = rustix::fs::open(
            &real,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self { given: root.to_owned(), real, folder })
    }

    /// The part of a path below this root. `None` if the path does not start with the root. Links
    /// are not resolved.
    fn below<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        let relative =
            path.strip_prefix(&self.given).or_else(|_| path.strip_prefix(&self.real)).ok()?;
        Some(if relative.as_os_str().is_empty() { Path::new(".") } else { relative })
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

/// The failure for a file that was not opened.
fn failure(uri: &str, refused: &Refused) -> Failure {
    let Refused::Failed(errno) = refused else {
        let detail = format!("{uri} is not below a folder of `fetch.roots`; add its folder there");
        return Failure::new(Reason::Forbidden, detail);
    };
    let reason = match *errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Reason::NotFound,
        // NXIO: the file is a socket.
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
            assert_eq!(files.open(&path).is_ok(), opens, "{name}");
            assert_eq!(files.open_resolved(&path).is_ok(), opens, "{name}");
        }
    }
}
