//! The test set of Fashion-MNIST, written as files.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use image::GrayImage;

use super::super::CliError;
use super::items::{DemoImages, DemoItem};

/// The file of the images.
pub(super) const IMAGES: &str = "t10k-images-idx3-ubyte.gz";
const LABELS: &str = "t10k-labels-idx1-ubyte.gz";

/// The classes by number, with the names of the data set's authors.
const CLASSES: &[&str] = &[
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
];

const SIDE: u32 = 28;

/// Writes the images into a folder below `root`. Images of the classes `positive` are positive.
pub(super) fn write_images(
    folder: &Path,
    positive: &[String],
    root: &Path,
) -> Result<DemoImages, CliError> {
    let root = root.join("fashion-mnist");
    let images = idx(&folder.join(IMAGES), 16)?;
    let labels = idx(&folder.join(LABELS), 8)?;
    for class in CLASSES {
        fs::create_dir_all(root.join(class))?;
    }
    let pixels = images.chunks_exact((SIDE * SIDE) as usize);
    let mut images = DemoImages::default();
    for (number, (pixels, &label)) in pixels.zip(&labels).enumerate() {
        let class = CLASSES.get(usize::from(label)).copied().unwrap_or("unknown");
        let path = root.join(class).join(format!("{number:05}.png"));
        write(&path, pixels)?;
        let positive = positive.iter().any(|name| name == class);
        images.add(DemoItem { id: format!("{class}-{number:05}"), path, positive });
    }
    Ok(images)
}

/// Writes a PNG, unless it exists from an earlier run.
fn write(path: &Path, pixels: &[u8]) -> Result<(), CliError> {
    if path.exists() {
        return Ok(());
    }
    let image = GrayImage::from_raw(SIDE, SIDE, pixels.to_vec());
    let image =
        image.ok_or_else(|| CliError::Failed("the data set's images are not 28 x 28".into()))?;
    image.save(path).map_err(|e| CliError::Failed(format!("{}: {e}", path.display())))
}

/// The payload of a gzipped IDX file, without its header.
fn idx(path: &Path, header: usize) -> Result<Vec<u8>, CliError> {
    let missing = |e: std::io::Error| {
        let hint =
            "run `scripts/setup.sh dataset`, or set --data to its folder or to labelled images";
        CliError::Failed(format!(
            "{}: {e}. The demo needs Fashion-MNIST's test set: {hint}",
            path.display()
        ))
    };
    let file = fs::File::open(path).map_err(missing)?;
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).map_err(missing)?;
    bytes.drain(..header.min(bytes.len()));
    Ok(bytes)
}
