//! The images as files, and the order of the stream.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::CliError;
use super::super::labelled::{Image, Labelled};
use super::DemoArgs;
use super::fashion;
use crate::model::Bundle;

/// A reference of the stream and whether its image is what the worker looks for.
#[derive(Debug, Clone)]
pub struct DemoItem {
    /// Class and number, and which time the image comes if it has come before; unique.
    pub id: String,
    /// The file.
    pub path: PathBuf,
    /// The truth.
    pub positive: bool,
}

/// The images of each kind, as files.
#[derive(Debug, Default)]
pub(super) struct Pools {
    pub(super) positives: Vec<DemoItem>,
    pub(super) negatives: Vec<DemoItem>,
}

impl Pools {
    pub(super) fn add(&mut self, item: DemoItem) {
        if item.positive { self.positives.push(item) } else { self.negatives.push(item) }
    }
}

/// Writes the images and gives the stream: the negatives asked for, positives at the prevalence, in random order.
pub fn prepare(args: &DemoArgs, bundle: &Bundle) -> Result<Vec<DemoItem>, CliError> {
    let labels = bundle.manifest.labels.iter().filter(|label| label.positive).map(|label| label.name.clone());
    let wanted: Vec<String> = labels.collect();
    let root = args.out.canonicalize()?.join("images");
    let is_fashion = args.data.join(fashion::IMAGES).exists() || !args.data.exists();
    let pools = if is_fashion { fashion::pools(&args.data, &wanted, &root)? } else { labelled(args, &wanted, &root)? };
    stream(args, pools)
}

fn stream(args: &DemoArgs, mut pools: Pools) -> Result<Vec<DemoItem>, CliError> {
    let count = (args.negatives as f64 * args.prevalence / (1.0 - args.prevalence)).round() as usize;
    let there = pools.positives.len();
    if count > there {
        let message = format!("--prevalence {} needs {count} positives, the set has {there}", args.prevalence);
        return Err(CliError::Usage(message));
    }
    if pools.negatives.is_empty() {
        return Err(CliError::Usage("--data: the set has no negatives".into()));
    }
    let mut random = fastrand::Rng::with_seed(args.seed);
    random.shuffle(&mut pools.positives);
    pools.positives.truncate(count);
    let mut items = pools.positives;
    for time in 0..args.negatives.div_ceil(pools.negatives.len()) {
        random.shuffle(&mut pools.negatives);
        let left = args.negatives - time * pools.negatives.len();
        items.extend(pools.negatives.iter().take(left).map(|item| again(item, time)));
    }
    random.shuffle(&mut items);
    Ok(items)
}

/// The same image once more is another item.
fn again(item: &DemoItem, time: usize) -> DemoItem {
    let id = if time == 0 { item.id.clone() } else { format!("{}-{}", item.id, time + 1) };
    DemoItem { id, ..item.clone() }
}

/// Labelled images as files of their own, wherever they came from: a worker reads files and URLs, not archives.
fn labelled(args: &DemoArgs, wanted: &[String], root: &Path) -> Result<Pools, CliError> {
    let set = Labelled::open(&args.data, wanted, None, args.seed)?;
    let failed = |image: &Image, what: &dyn std::fmt::Display| CliError::Failed(format!("{}: {what}", image.name));
    let mut reader = set.reader().map_err(CliError::Failed)?;
    let mut pools = Pools::default();
    for (number, (image, &positive)) in set.images.iter().zip(&set.positive).enumerate() {
        let suffix = Path::new(&image.name).extension().unwrap_or_default().to_string_lossy();
        let path = root.join(&image.class).join(format!("{number:05}.{suffix}"));
        let bytes = reader.read(image).map_err(|e| failed(image, &e))?;
        fs::create_dir_all(root.join(&image.class))?;
        fs::write(&path, bytes).map_err(|e| failed(image, &e))?;
        pools.add(DemoItem { id: format!("{}-{number:05}", image.class), path, positive });
    }
    Ok(pools)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn pools(positives: usize, negatives: usize) -> Pools {
        let mut pools = Pools::default();
        for (kind, count) in [("shoes", positives), ("hat", negatives)] {
            for number in 0..count {
                let path = PathBuf::from(format!("{kind}/{number}"));
                pools.add(DemoItem { id: format!("{kind}-{number}"), path, positive: kind == "shoes" });
            }
        }
        pools
    }

    fn args(negatives: usize, prevalence: f64) -> DemoArgs {
        DemoArgs { negatives, prevalence, ..DemoArgs::defaults().unwrap() }
    }

    #[test]
    fn negatives_come_again_when_they_run_out_and_positives_do_not() {
        let items = stream(&args(25, 0.1), pools(3, 10)).unwrap();
        assert_eq!(items.iter().filter(|item| item.positive).count(), 3);
        assert_eq!(items.len(), 28);
        assert_eq!(items.iter().map(|item| &item.id).collect::<HashSet<_>>().len(), 28, "ids are unique");
        assert_eq!(items.iter().map(|item| &item.path).collect::<HashSet<_>>().len(), 13, "every image is used");
        let refused = stream(&args(25, 0.2), pools(3, 10)).unwrap_err().to_string();
        assert!(refused.contains("needs 6 positives, the set has 3"), "{refused}");
    }
}
