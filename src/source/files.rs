//! Items from a folder or a list: no broker, the same flow.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crossbeam_channel::Sender;

use super::{BATCH, Incoming, Origin};
use crate::message::{Location, Reference};
use crate::offsets::Tracker;

/// File names taken for images when a folder is walked.
const EXTENSIONS: &[&str] = &["jpg", "jpeg", "png", "webp", "gif"];

/// The images below a folder (by their extension, sorted), or the lines of a list file.
///
/// # Errors
/// What can't be read, with its path.
pub fn find(path: &Path) -> Result<Vec<String>, String> {
    let unreadable = |p: &Path, e: std::io::Error| format!("can't read {}: {e}", p.display());
    if path.is_dir() {
        let mut found = Vec::new();
        walk(path, &mut found).map_err(|(p, e)| unreadable(&p, e))?;
        found.sort();
        return Ok(found.into_iter().map(|p| p.to_string_lossy().into_owned()).collect());
    }
    let text = fs::read_to_string(path).map_err(|e| unreadable(path, e))?;
    Ok(text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned).collect())
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), (PathBuf, std::io::Error)> {
    let failed = |e| (dir.to_owned(), e);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // A link is not followed into a folder: it could lead back.
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&path, found)?;
        } else if is_image(&path) {
            found.push(path);
        }
    }
    Ok(())
}

/// Whether a file name's extension is that of an image.
pub fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_lowercase);
    extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

/// Sends every location as an item, in order, as fast as the next stage takes them. Returns the books: all of it has its verdict when
/// nothing in them is unresolved.
pub fn send(locations: &[String], out: &Sender<Vec<Incoming>>, tracker: &std::sync::Arc<Tracker>) {
    for (first, batch) in locations.chunks(BATCH).enumerate().map(|(i, b)| (i * BATCH, b)) {
        let items = batch.iter().enumerate().filter_map(|(i, location)| {
            let ticket = tracker.take((first + i) as i64)?;
            let reference = Reference {
                id: location.clone(),
                location: Location::Uri(location.clone()),
                content_type: None,
                risk: None,
                metadata: None,
            };
            Some(Incoming {
                origin: Origin { ticket, headers: Vec::new(), key: None, received: Instant::now() },
                content: Ok(reference),
            })
        });
        if out.send(items.collect()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_images_and_a_list_its_lines() {
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
        assert!(find(&dir.path().join("none")).unwrap_err().contains("none"));
    }
}
