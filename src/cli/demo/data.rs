//! Writes the images of the demo as files, and chooses the order of the stream.

use std::fs;
use std::path::Path;

use dorfman_lab::labelled::{LabelledImage, LabelledImages};
use dorfman_model::Bundle;

use super::super::CliError;
use super::items::{DemoImages, DemoItem};
use super::{DemoArgs, fashion};

/// Writes the images as files and returns the stream in random order: the configured number of
/// negatives, and positives at the prevalence.
///
/// # Errors
/// [`CliError`] if the data cannot be read, or has too few positives.
pub fn prepare(args: &DemoArgs, bundle: &Bundle) -> Result<Vec<DemoItem>, CliError> {
    let positive = bundle.manifest.labels.iter().filter(|label| label.positive);
    let positive: Vec<String> = positive.map(|label| label.name.clone()).collect();
    let root = args.out.canonicalize()?.join("images");
    let is_fashion = args.data.join(fashion::IMAGES).exists() || !args.data.exists();
    let images = if is_fashion {
        fashion::write_images(&args.data, &positive, &root)?
    } else {
        write_labelled(args, &positive, &root)?
    };
    stream(args, images)
}

fn stream(args: &DemoArgs, mut images: DemoImages) -> Result<Vec<DemoItem>, CliError> {
    let prevalence = args.prevalence;
    let count = (args.negatives as f64 * prevalence / (1.0 - prevalence)).round() as usize;
    let available = images.positives.len();
    if count > available {
        return Err(CliError::Usage(format!(
            "--prevalence {prevalence} needs {count} positives, the set has {available}; \
             lower --prevalence or --negatives"
        )));
    }
    if images.negatives.is_empty() {
        return Err(CliError::Usage("--data: the set has no negatives".into()));
    }
    let mut random = fastrand::Rng::with_seed(args.seed);
    random.shuffle(&mut images.positives);
    images.positives.truncate(count);
    let mut items = images.positives;
    for repetition in 0..args.negatives.div_ceil(images.negatives.len()) {
        random.shuffle(&mut images.negatives);
        let left = args.negatives - repetition * images.negatives.len();
        items.extend(images.negatives.iter().take(left).map(|item| repeated(item, repetition)));
    }
    random.shuffle(&mut items);
    Ok(items)
}

/// A repeated image is an item with its own id.
fn repeated(item: &DemoItem, repetition: usize) -> DemoItem {
    let id = match repetition {
        0 => item.id.clone(),
        _ => format!("{}-{}", item.id, repetition + 1),
    };
    DemoItem { id, ..item.clone() }
}

/// Writes labelled images as files. A worker reads files and URLs, not archives.
fn write_labelled(
    args: &DemoArgs,
    positive: &[String],
    root: &Path,
) -> Result<DemoImages, CliError> {
    let data = |e: dorfman_lab::labelled::DataError| CliError::Usage(e.to_string());
    let set = LabelledImages::open(&args.data, positive, None, args.seed).map_err(data)?;
    let failed = |image: &LabelledImage, what: &dyn std::fmt::Display| {
        CliError::Failed(format!("{}: {what}", image.name))
    };
    let mut reader = set.reader().map_err(|e| CliError::Failed(e.to_string()))?;
    let mut images = DemoImages::default();
    for (number, (image, &positive)) in set.images.iter().zip(&set.positive).enumerate() {
        let suffix = Path::new(&image.name).extension().unwrap_or_default().to_string_lossy();
        let path = root.join(&image.class).join(format!("{number:05}.{suffix}"));
        let bytes = reader.read(image).map_err(|e| failed(image, &e))?;
        fs::create_dir_all(root.join(&image.class))?;
        fs::write(&path, bytes).map_err(|e| failed(image, &e))?;
        images.add(DemoItem { id: format!("{}-{number:05}", image.class), path, positive });
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::PathBuf;

    use super::*;

    fn images(positives: usize, negatives: usize) -> DemoImages {
        let mut images = DemoImages::default();
        for (kind, count) in [("shoes", positives), ("hat", negatives)] {
            for number in 0..count {
                let path = PathBuf::from(format!("{kind}/{number}"));
                images.add(DemoItem {
                    id: format!("{kind}-{number}"),
                    path,
                    positive: kind == "shoes",
                });
            }
        }
        images
    }

    fn args(negatives: usize, prevalence: f64) -> DemoArgs {
        DemoArgs { negatives, prevalence, ..DemoArgs::defaults().unwrap() }
    }

    #[test]
    fn negatives_are_repeated_and_positives_are_not() {
        let items = stream(&args(25, 0.1), images(3, 10)).unwrap();
        assert_eq!(items.iter().filter(|item| item.positive).count(), 3);
        assert_eq!(items.len(), 28);
        assert_eq!(
            items.iter().map(|item| &item.id).collect::<HashSet<_>>().len(),
            28,
            "ids are unique"
        );
        assert_eq!(
            items.iter().map(|item| &item.path).collect::<HashSet<_>>().len(),
            13,
            "every image is used"
        );
        let refused = stream(&args(25, 0.2), images(3, 10)).unwrap_err().to_string();
        assert!(refused.contains("needs 6 positives, the set has 3"), "{refused}");
    }
}
