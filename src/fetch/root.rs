//! A folder below which files may be read.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::{Mode, OFlags, Stat};

/// A folder below which files may be read. The folder stays open, so that a file is found even if the
/// path of the folder is being replaced.
#[derive(Debug)]
pub(super) struct Root {
    /// The path as configured.
    given: PathBuf,
    /// The path with symbolic links resolved.
    real: PathBuf,
    /// The name of the folder among the stores of images.
    store: Arc<str>,
    /// Whether the folder was a mount point when the worker started.
    mounted: bool,
    folder: RwLock<Arc<OwnedFd>>,
}

/// What has become of a folder in which a file was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It is the same folder: the file does not exist.
    Same,
    /// Another folder has taken its place and is open now: the file may exist.
    Replaced,
    /// It is gone, or its file system is not mounted.
    Gone,
}

impl Root {
    /// Opens the folder of a root.
    pub fn new(root: &Path) -> std::io::Result<Self> {
        let real = root.canonicalize()?;
        Ok(Self {
            given: root.to_owned(),
            store: format!("file:{}", root.display()).into(),
            mounted: is_mount_point(&real)?,
            folder: RwLock::new(Arc::new(open(&real)?)),
            real,
        })
    }

    /// The name of the folder among the stores of images.
    pub fn store(&self) -> &Arc<str> {
        &self.store
    }

    /// The path with symbolic links resolved.
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// The open folder.
    pub fn folder(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.folder.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The part of a path below this root. `None` if the path does not start with the root. Links
    /// are not resolved.
    pub fn below<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        let relative =
            path.strip_prefix(&self.given).or_else(|_| path.strip_prefix(&self.real)).ok()?;
        Some(if relative.as_os_str().is_empty() { Path::new(".") } else { relative })
    }

    /// What has become of the folder. After an unmount or a new mount, the path of the folder is
    /// another folder.
    pub fn look(&self) -> Found {
        let same = |a: &Stat, b: &Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        let Ok(now) = rustix::fs::stat(&self.real) else { return Found::Gone };
        if rustix::fs::fstat(self.folder()).is_ok_and(|open| same(&open, &now)) {
            return Found::Same;
        }
        // The empty folder below a lost mount.
        if self.mounted && !is_mount_point(&self.real).unwrap_or(false) {
            return Found::Gone;
        }
        let Ok(folder) = open(&self.real) else { return Found::Gone };
        *self.folder.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(folder);
        Found::Replaced
    }
}

fn open(folder: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether a folder is on another file system than the folder that contains it.
fn is_mount_point(folder: &Path) -> rustix::io::Result<bool> {
    let Some(parent) = folder.parent() else { return Ok(true) };
    Ok(rustix::fs::stat(folder)?.st_dev != rustix::fs::stat(parent)?.st_dev)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_gone_or_replaced_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, away) = (dir.path().join("root"), dir.path().join("away"));
        std::fs::create_dir(&path).unwrap();
        let root = Root::new(&path).unwrap();
        assert_eq!(root.look(), Found::Same);
        std::fs::rename(&path, &away).unwrap();
        assert_eq!(root.look(), Found::Gone);
        std::fs::rename(&away, &path).unwrap();
        assert_eq!(root.look(), Found::Same);
        std::fs::rename(&path, &away).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!((root.look(), root.look()), (Found::Replaced, Found::Same));
    }
}
