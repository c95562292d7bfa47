//! Fashion-MNIST's test set as files, and the order of the stream.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use image::GrayImage;

use super::super::CliError;
use super::DemoArgs;
use crate::model::Bundle;

/// The classes by number, as the data set's authors name them.
const CLASSES: &[&str] =
    &["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"];

const SIDE: u32 = 28;

/// An image of the stream and whether it is what the worker looks for.
#[derive(Debug, Clone)]
pub struct DemoItem {
    /// Class and number, unique.
    pub id: String,
    /// The file.
    pub path: PathBuf,
    /// The truth.
    pub positive: bool,
}

/// Writes the images and gives the stream: all negatives asked for, positives at the prevalence, in random order.
pub fn prepare(args: &DemoArgs, bundle: &Bundle) -> Result<Vec<DemoItem>, CliError> {
    let wanted = |class: &str| bundle.manifest.labels.iter().any(|l| l.positive && l.name == class);
    let images = idx(&args.data.join("t10k-images-idx3-ubyte.gz"), 16)?;
    let labels = idx(&args.data.join("t10k-labels-idx1-ubyte.gz"), 8)?;
    let root = args.out.canonicalize()?.join("images");
    let mut pools = (Vec::new(), Vec::new());
    for (number, (pixels, &label)) in images.chunks_exact((SIDE * SIDE) as usize).zip(&labels).enumerate() {
        let class = CLASSES.get(usize::from(label)).copied().unwrap_or("unknown");
        let positive = wanted(class);
        let item = DemoItem {
            id: format!("{class}-{number:05}"),
            path: root.join(class).join(format!("{number:05}.png")),
            positive,
        };
        if positive { pools.0.push((item, pixels)) } else { pools.1.push((item, pixels)) }
    }
    let mut random = fastrand::Rng::with_seed(args.seed);
    let (mut positives, mut negatives) = pools;
    random.shuffle(&mut positives);
    random.shuffle(&mut negatives);
    let negatives = negatives.into_iter().take(args.negatives);
    let count = (negatives.len() as f64 * args.prevalence / (1.0 - args.prevalence)).round() as usize;
    if count > positives.len() {
        let message =
            format!("--prevalence {} needs {count} positives, the set has {}", args.prevalence, positives.len());
        return Err(CliError::Usage(message));
    }
    let mut stream: Vec<(DemoItem, &[u8])> = negatives.chain(positives.into_iter().take(count)).collect();
    random.shuffle(&mut stream);
    for class in CLASSES {
        fs::create_dir_all(root.join(class))?;
    }
    stream.iter().try_for_each(|(item, pixels)| write(&item.path, pixels))?;
    Ok(stream.into_iter().map(|(item, _)| item).collect())
}

/// Writes a PNG, unless it is there from an earlier run.
fn write(path: &Path, pixels: &[u8]) -> Result<(), CliError> {
    if path.exists() {
        return Ok(());
    }
    let image = GrayImage::from_raw(SIDE, SIDE, pixels.to_vec());
    let image = image.ok_or_else(|| CliError::Failed("the data set's images are not 28 x 28".into()))?;
    image.save(path).map_err(|e| CliError::Failed(format!("{}: {e}", path.display())))
}

/// The payload of a gzipped IDX file behind its header.
fn idx(path: &Path, header: usize) -> Result<Vec<u8>, CliError> {
    let missing = |e: std::io::Error| {
        let hint = "`scripts/setup.sh dataset` gets it, --data names another place";
        CliError::Failed(format!("{}: {e}. The demo needs Fashion-MNIST's test set: {hint}", path.display()))
    };
    let file = fs::File::open(path).map_err(missing)?;
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).map_err(missing)?;
    bytes.drain(..header.min(bytes.len()));
    Ok(bytes)
}
