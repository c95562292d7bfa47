//! The labelled images: where each is, and its class.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::CliError;
use crate::source::files;

/// A labelled image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Image {
    /// Its path, as the data names it.
    pub(super) name: String,
    /// Its class.
    pub(super) class: String,
    /// Where it comes from, if the list says so.
    pub(super) source: Option<String>,
    place: Place,
}

#[derive(Debug, Clone, PartialEq)]
enum Place {
    File(PathBuf),
    Entry(usize),
}

/// A data set, cut down to what is to be used.
#[derive(Debug)]
pub(super) struct Labelled {
    /// The folder, archive or list.
    pub(super) path: PathBuf,
    /// The images.
    pub(super) images: Vec<Image>,
    /// Whether each is positive.
    pub(super) positive: Vec<bool>,
}

impl Labelled {
    /// Lists a data set; of the negatives at most `limit`, drawn by `seed`.
    ///
    /// # Errors
    /// [`CliError::Usage`]: there is no such data, it has no such class, or one of the two sides is empty.
    pub(super) fn open(path: &Path, positive: &[String], limit: Option<usize>, seed: u64) -> Result<Self, CliError> {
        let mut images = list(path).map_err(|what| CliError::Usage(format!("--data {}: {what}", path.display())))?;
        let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
        images.iter().for_each(|image| *classes.entry(&image.class).or_default() += 1);
        if classes.is_empty() {
            return Err(CliError::Usage(format!("--data {} has no images", path.display())));
        }
        if let Some(unknown) = positive.iter().find(|p| !classes.contains_key(p.as_str())) {
            let known: Vec<&str> = classes.keys().copied().collect();
            return Err(CliError::Usage(format!(
                "--data {}: there is no class {unknown}, only {}",
                path.display(),
                known.join(", ")
            )));
        }
        if classes.keys().all(|class| positive.iter().any(|p| p == class)) {
            return Err(CliError::Usage("--data: every class of it is positive: no negatives are left".into()));
        }
        let is_positive = |image: &Image| positive.contains(&image.class);
        if let Some(limit) = limit {
            let mut negatives: Vec<usize> = (0..images.len()).filter(|&i| !is_positive(&images[i])).collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut negatives);
            let mut kept = vec![true; images.len()];
            negatives.into_iter().skip(limit).for_each(|i| kept[i] = false);
            let mut kept = kept.into_iter();
            images.retain(|_| kept.next().unwrap_or(true));
        }
        let positive = images.iter().map(is_positive).collect();
        Ok(Self { path: path.to_owned(), images, positive })
    }

    /// A reader of the images' bytes; each thread has its own.
    ///
    /// # Errors
    /// If the archive can't be opened again.
    pub(super) fn reader(&self) -> Result<Reader, String> {
        let archive = match self.images.first().map(|image| &image.place) {
            Some(Place::Entry(_)) => Some(archive(&self.path)?),
            _ => None,
        };
        Ok(Reader { archive })
    }
}

/// Reads bytes.
pub(super) struct Reader {
    archive: Option<ZipArchive<BufReader<File>>>,
}

impl Reader {
    /// The bytes of an image.
    ///
    /// # Errors
    /// Why they can't be read.
    pub(super) fn read(&mut self, image: &Image) -> Result<Vec<u8>, String> {
        match (&image.place, &mut self.archive) {
            (Place::File(path), _) => fs::read(path).map_err(|e| e.to_string()),
            (Place::Entry(index), Some(archive)) => {
                let mut bytes = Vec::new();
                let mut entry = archive.by_index(*index).map_err(|e| e.to_string())?;
                entry.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
                Ok(bytes)
            }
            (Place::Entry(_), None) => Err("a bug: no archive is open".into()),
        }
    }
}

fn list(path: &Path) -> Result<Vec<Image>, String> {
    if path.is_dir() {
        return folder(path);
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some(e) if e.eq_ignore_ascii_case("zip") => entries(path),
        _ => lines(path),
    }
}

/// A class a subfolder; images deeper in it are of the same class.
fn folder(path: &Path) -> Result<Vec<Image>, String> {
    let mut classes: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| e.to_string())? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.is_dir() {
            classes.push(path);
        }
    }
    classes.sort();
    let mut images = Vec::new();
    for class in classes {
        let name = class.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for found in files::find(&class)? {
            let place = Place::File(PathBuf::from(&found));
            images.push(Image { name: found, class: name.clone(), source: None, place });
        }
    }
    Ok(images)
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    ZipArchive::new(BufReader::new(file)).map_err(|e| e.to_string())
}

/// The entries CLASS/name of an archive.
fn entries(path: &Path) -> Result<Vec<Image>, String> {
    let archive = archive(path)?;
    let mut images = Vec::new();
    for index in 0..archive.len() {
        let Some(name) = archive.name_for_index(index).transpose().map_err(|e| e.to_string())? else { continue };
        let Some((class, _)) = name.split_once('/') else { continue };
        if !files::is_image(Path::new(&*name)) {
            continue;
        }
        let place = Place::Entry(index);
        images.push(Image { class: class.to_owned(), name: name.into_owned(), source: None, place });
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(images)
}

/// The rows of a CSV file.
fn lines(path: &Path) -> Result<Vec<Image>, String> {
    let mut rows = csv::Reader::from_path(path).map_err(|e| e.to_string())?;
    let header = rows.headers().map_err(|e| e.to_string())?.clone();
    let column = |name: &str| header.iter().position(|h| h.trim() == name);
    let missing = |name: &str| {
        format!("its header has no column `{name}`, only {}", header.iter().collect::<Vec<_>>().join(", "))
    };
    let at = column("path").ok_or_else(|| missing("path"))?;
    let class = column("class").ok_or_else(|| missing("class"))?;
    let source = column("source");
    let base = path.parent().unwrap_or(Path::new(""));
    let mut images = Vec::new();
    for row in rows.records() {
        let row = row.map_err(|e| e.to_string())?;
        let (name, class) = (row[at].to_owned(), row[class].to_owned());
        let source = source.map(|s| row[s].to_owned());
        images.push(Image { place: Place::File(base.join(&name)), name, class, source });
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn usage(result: Result<Labelled, CliError>) -> String {
        match result {
            Err(CliError::Usage(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    fn open(path: &Path, positive: &str) -> Result<Labelled, CliError> {
        Labelled::open(path, &[positive.to_owned()], None, 1)
    }

    #[test]
    fn folder_archive_and_list_say_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let mut zip = zip::ZipWriter::new(File::create(dir.path().join("set.zip")).unwrap());
        let mut list = String::from("path,note,class,source\n");
        for (class, name) in [("bag", "a.png"), ("bag", "b.jpg"), ("hat", "deep/c.png"), ("hat", "notes.txt")] {
            let path = root.join(class).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            zip.start_file(format!("{class}/{name}"), zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
            if !name.ends_with("txt") {
                list += &format!("root/{class}/{name},\"x, y\",{class},here\n");
            }
        }
        zip.finish().unwrap();
        fs::write(dir.path().join("list.csv"), list).unwrap();
        for data in ["root", "set.zip", "list.csv"] {
            let set = open(&dir.path().join(data), "bag").unwrap();
            assert_eq!(set.positive, [true, true, false], "{data}");
            let mut reader = set.reader().unwrap();
            let bytes: Vec<Vec<u8>> = set.images.iter().map(|i| reader.read(i).unwrap()).collect();
            assert_eq!(bytes, [&b"a.png"[..], b"b.jpg", b"deep/c.png"], "{data}");
            assert_eq!(set.images[2].source.is_some(), data == "list.csv");
        }
        assert!(usage(open(&root, "cat")).contains("only bag, hat"));
        fs::remove_dir_all(root.join("hat")).unwrap();
        assert!(usage(open(&root, "bag")).contains("no negatives"));
        assert!(usage(open(&root.join("bag"), "bag")).contains("no images"));
        assert!(usage(open(&dir.path().join("none.zip"), "bag")).contains("none.zip"));
        fs::write(dir.path().join("list.csv"), "file,class\n").unwrap();
        assert!(usage(open(&dir.path().join("list.csv"), "bag")).contains("no column `path`, only file, class"));
    }

    #[test]
    fn negatives_are_limited_and_positives_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let rows: String = (0..40).map(|i| format!("{i}.png,{}\n", if i % 4 == 0 { "bag" } else { "hat" })).collect();
        fs::write(dir.path().join("list.csv"), format!("path,class\n{rows}")).unwrap();
        let limited = |seed| Labelled::open(&dir.path().join("list.csv"), &["bag".to_owned()], Some(5), seed).unwrap();
        let set = limited(1);
        assert_eq!((set.images.len(), set.positive.iter().filter(|p| **p).count()), (15, 10));
        assert_eq!(set.images, limited(1).images);
        assert_ne!(set.images, limited(2).images);
    }
}
