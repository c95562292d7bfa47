//! Labelled images: a folder, an archive or a list, with the class of each image.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use dorfman_model::image_files;
use zip::ZipArchive;
use zip::result::ZipError;

/// Why there are no labelled images.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The folder or file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A folder of a class cannot be read.
    #[error(transparent)]
    Class(#[from] image_files::ReadError),
    /// The archive is not a ZIP file, or it is broken.
    #[error("{}: {source}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The error.
        source: ZipError,
    },
    /// The list cannot be read, or it is not a CSV file.
    #[error("{}: {source}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// The error.
        source: csv::Error,
    },
    /// A column of the list is missing.
    #[error("{}: its header has no column `{column}`, only {known}", path.display())]
    Column {
        /// The list.
        path: PathBuf,
        /// The missing column.
        column: &'static str,
        /// The columns of the list.
        known: String,
    },
    /// There is no image.
    #[error("{} has no images", .0.display())]
    NoImages(PathBuf),
    /// No image has a class that was declared positive.
    #[error("{}: there is no class {class}, only {known}", path.display())]
    UnknownClass {
        /// The folder, archive or list.
        path: PathBuf,
        /// The unknown class.
        class: String,
        /// The classes of the images.
        known: String,
    },
    /// All classes were declared positive.
    #[error("{}: every class is positive, so there are no negatives", .0.display())]
    NoNegatives(PathBuf),
}

/// Why the bytes of one image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageReadError {
    /// The file or the archive cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The entry of the archive is broken.
    #[error(transparent)]
    Archive(#[from] ZipError),
    /// The image belongs to an archive, and the reader belongs to other data.
    #[error("a bug: no archive is open")]
    NoArchive,
}

/// A labelled image.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledImage {
    /// Its path, as the data names it.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Its source, such as a camera, if the list has sources.
    pub source: Option<String>,
    location: ImageLocation,
}

#[derive(Debug, Clone, PartialEq)]
enum ImageLocation {
    File(PathBuf),
    /// The index of an entry of the archive.
    Entry(usize),
}

/// The images of a data set.
#[derive(Debug)]
pub struct LabelledImages {
    /// The folder, archive or list.
    pub path: PathBuf,
    /// The images.
    pub images: Vec<LabelledImage>,
    /// Whether each image is positive.
    pub positive: Vec<bool>,
}

impl LabelledImages {
    /// Lists a data set. Images of the classes `positive` are positive, all others are negative. At
    /// most `limit` negatives are kept; `seed` decides which.
    ///
    /// # Errors
    /// [`DataError`] if the data cannot be read, if it lacks a class of `positive`, or if it has no
    /// positives or no negatives.
    pub fn open(
        path: &Path,
        positive: &[String],
        limit: Option<usize>,
        seed: u64,
    ) -> Result<Self, DataError> {
        let mut images = list(path)?;
        check_classes(path, &images, positive)?;
        let is_positive = |image: &LabelledImage| positive.contains(&image.class);
        if let Some(limit) = limit {
            keep_negatives(&mut images, is_positive, limit, seed);
        }
        let positive = images.iter().map(is_positive).collect();
        Ok(Self { path: path.to_owned(), images, positive })
    }

    /// A reader of the images' bytes. Each thread needs its own reader.
    ///
    /// # Errors
    /// [`DataError`] if the archive cannot be opened again.
    pub fn reader(&self) -> Result<ImageReader, DataError> {
        let archive = match self.images.first().map(|image| &image.location) {
            Some(ImageLocation::Entry(_)) => Some(archive(&self.path)?),
            _ => None,
        };
        Ok(ImageReader { archive })
    }
}

fn check_classes(
    path: &Path,
    images: &[LabelledImage],
    positive: &[String],
) -> Result<(), DataError> {
    let mut classes: Vec<&str> = images.iter().map(|image| &*image.class).collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.is_empty() {
        return Err(DataError::NoImages(path.to_owned()));
    }
    if let Some(unknown) = positive.iter().find(|class| !classes.contains(&class.as_str())) {
        return Err(DataError::UnknownClass {
            path: path.to_owned(),
            class: unknown.clone(),
            known: classes.join(", "),
        });
    }
    if classes.iter().all(|class| positive.iter().any(|p| p == class)) {
        return Err(DataError::NoNegatives(path.to_owned()));
    }
    Ok(())
}

/// Removes negatives at random until at most `limit` are left.
fn keep_negatives(
    images: &mut Vec<LabelledImage>,
    is_positive: impl Fn(&LabelledImage) -> bool,
    limit: usize,
    seed: u64,
) {
    let mut negatives: Vec<usize> =
        (0..images.len()).filter(|&i| !is_positive(&images[i])).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut negatives);
    let mut kept = vec![true; images.len()];
    negatives.into_iter().skip(limit).for_each(|i| kept[i] = false);
    let mut kept = kept.into_iter();
    images.retain(|_| kept.next().unwrap_or(true));
}

/// Reads the bytes of images.
pub struct ImageReader {
    archive: Option<ZipArchive<BufReader<File>>>,
}

impl ImageReader {
    /// The bytes of an image.
    ///
    /// # Errors
    /// [`ImageReadError`] if the file or the entry of the archive cannot be read.
    pub fn read(&mut self, image: &LabelledImage) -> Result<Vec<u8>, ImageReadError> {
        match (&image.location, &mut self.archive) {
            (ImageLocation::File(path), _) => Ok(fs::read(path)?),
            (ImageLocation::Entry(index), Some(archive)) => {
                let mut bytes = Vec::new();
                archive.by_index(*index)?.read_to_end(&mut bytes)?;
                Ok(bytes)
            }
            (ImageLocation::Entry(_), None) => Err(ImageReadError::NoArchive),
        }
    }
}

fn list(path: &Path) -> Result<Vec<LabelledImage>, DataError> {
    if path.is_dir() {
        return folder(path);
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some(e) if e.eq_ignore_ascii_case("zip") => entries(path),
        _ => lines(path),
    }
}

/// One class per subfolder. Images in deeper folders have the same class.
fn folder(path: &Path) -> Result<Vec<LabelledImage>, DataError> {
    let failed = |source| DataError::Io { path: path.to_owned(), source };
    let mut classes: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            classes.push(path);
        }
    }
    classes.sort();
    let mut images = Vec::new();
    for folder in classes {
        let class = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for name in image_files::find(&folder)? {
            let location = ImageLocation::File(PathBuf::from(&name));
            images.push(LabelledImage { name, class: class.clone(), source: None, location });
        }
    }
    Ok(images)
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>, DataError> {
    let file =
        File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    ZipArchive::new(BufReader::new(file)).map_err(|source| broken(path, source))
}

fn broken(path: &Path, source: ZipError) -> DataError {
    DataError::Archive { path: path.to_owned(), source }
}

/// The entries CLASS/name of an archive.
fn entries(path: &Path) -> Result<Vec<LabelledImage>, DataError> {
    let archive = archive(path)?;
    let mut images = Vec::new();
    for index in 0..archive.len() {
        let name = archive.name_for_index(index).transpose().map_err(|e| broken(path, e))?;
        let Some(name) = name else { continue };
        let Some((class, _)) = name.split_once('/') else { continue };
        if !image_files::is_image(Path::new(&*name)) {
            continue;
        }
        images.push(LabelledImage {
            class: class.to_owned(),
            name: name.into_owned(),
            source: None,
            location: ImageLocation::Entry(index),
        });
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(images)
}

/// The rows of a CSV file.
fn lines(path: &Path) -> Result<Vec<LabelledImage>, DataError> {
    let failed = |source| DataError::List { path: path.to_owned(), source };
    let mut rows = csv::Reader::from_path(path).map_err(failed)?;
    let header = rows.headers().map_err(failed)?.clone();
    let column = |name: &str| header.iter().position(|h| h.trim() == name);
    let required = |name: &'static str| {
        column(name).ok_or_else(|| DataError::Column {
            path: path.to_owned(),
            column: name,
            known: header.iter().collect::<Vec<_>>().join(", "),
        })
    };
    let (name, class, source) = (required("path")?, required("class")?, column("source"));
    let base = path.parent().unwrap_or(Path::new(""));
    let mut images = Vec::new();
    for row in rows.records() {
        let row = row.map_err(failed)?;
        images.push(LabelledImage {
            location: ImageLocation::File(base.join(&row[name])),
            name: row[name].to_owned(),
            class: row[class].to_owned(),
            source: source.map(|source| row[source].to_owned()),
        });
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn error(result: Result<LabelledImages, DataError>) -> String {
        result.unwrap_err().to_string()
    }

    fn open(path: &Path, positive: &str) -> Result<LabelledImages, DataError> {
        LabelledImages::open(path, &[positive.to_owned()], None, 1)
    }

    #[test]
    fn a_folder_an_archive_and_a_list_give_the_same_images() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let mut zip = zip::ZipWriter::new(File::create(dir.path().join("set.zip")).unwrap());
        let mut list = String::from("path,note,class,source\n");
        for (class, name) in
            [("bag", "a.png"), ("bag", "b.jpg"), ("hat", "deep/c.png"), ("hat", "notes.txt")]
        {
            let path = root.join(class).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            zip.start_file(format!("{class}/{name}"), zip::write::SimpleFileOptions::default())
                .unwrap();
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
        assert!(error(open(&root, "cat")).contains("only bag, hat"));
        fs::remove_dir_all(root.join("hat")).unwrap();
        assert!(error(open(&root, "bag")).contains("no negatives"));
        assert!(error(open(&root.join("bag"), "bag")).contains("no images"));
        assert!(error(open(&dir.path().join("none.zip"), "bag")).contains("none.zip"));
        fs::write(dir.path().join("list.csv"), "file,class\n").unwrap();
        assert!(
            error(open(&dir.path().join("list.csv"), "bag"))
                .contains("no column `path`, only file, class")
        );
    }

    #[test]
    fn negatives_are_limited_and_positives_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let rows: String = (0..40)
            .map(|i| format!("{i}.png,{}\n", if i % 4 == 0 { "bag" } else { "hat" }))
            .collect();
        fs::write(dir.path().join("list.csv"), format!("path,class\n{rows}")).unwrap();
        let limited = |seed| {
            LabelledImages::open(&dir.path().join("list.csv"), &["bag".to_owned()], Some(5), seed)
                .unwrap()
        };
        let set = limited(1);
        assert_eq!((set.images.len(), set.positive.iter().filter(|p| **p).count()), (15, 10));
        assert_eq!(set.images, limited(1).images);
        assert_ne!(set.images, limited(2).images);
    }
}
