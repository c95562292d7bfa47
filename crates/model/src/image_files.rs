//! Finds image files by their names.

use std::fs;
use std::path::{Path, PathBuf};

/// File extensions of images, in lower case.
const EXTENSIONS: &[&str] = &["jpg", "jpeg", "png", "webp", "gif", "avif", "bmp", "tif", "tiff"];

/// A file or folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct ReadError {
    /// The file or folder.
    pub path: PathBuf,
    /// The error of the operating system.
    pub source: std::io::Error,
}

/// The images below a folder or in a list file.
///
/// If `path` is a folder: the paths of all files below it with the extension of an image, sorted.
/// Otherwise `path` is a list: its lines, trimmed, without empty lines and lines that start with
/// `#`.
///
/// # Errors
/// [`ReadError`] for the first file or folder that cannot be read.
pub fn find(path: &Path) -> Result<Vec<String>, ReadError> {
    if path.is_dir() {
        let mut found = Vec::new();
        walk(path, &mut found)?;
        found.sort();
        return Ok(found.into_iter().map(|p| p.to_string_lossy().into_owned()).collect());
    }
    let failed = |source| ReadError { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(failed)?;
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    let failed = |source| ReadError { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // A link to a folder is not followed: it could lead back to this folder.
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&path, found)?;
        } else if is_image(&path) {
            found.push(path);
        }
    }
    Ok(())
}

/// Whether a file name has the extension of an image in a supported format, in any case.
pub fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_lowercase);
    extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_lists_are_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        for name in ["b.PNG", "deep/a.jpg", "notes.txt"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let found = find(dir.path()).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].ends_with("b.PNG") && found[1].ends_with("deep/a.jpg"));
        let list = dir.path().join("list");
        fs::write(&list, "# images\n/a.png\n\n http://x/b.png \n").unwrap();
        assert_eq!(find(&list).unwrap(), ["/a.png", "http://x/b.png"]);
        assert!(find(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
