//! A bundle on disk: read, checked, and turned into thresholds.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{Calibration, Manifest};
use super::validate;
use dorfman_core::calibration::Thresholds;

/// A bundle whose manifest and files are what they should be.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The folder.
    pub dir: PathBuf,
    /// What `bundle.json` says.
    pub manifest: Manifest,
}

/// Why a folder is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file is missing or can't be read.
    #[error("bundle {}: can't read {}: {source}", dir.display(), file)]
    Read {
        /// The bundle.
        dir: PathBuf,
        /// Which file of it.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// `bundle.json` is not JSON of the right form.
    #[error("bundle {}: bundle.json: `{field}`: {what}", dir.display())]
    Manifest {
        /// The bundle.
        dir: PathBuf,
        /// Which field.
        field: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// A file is not the one that the manifest names.
    #[error("bundle {}: {file} has SHA-256 {found}, the manifest says {wanted}: a broken copy, or of another version", dir.display())]
    Checksum {
        /// The bundle.
        dir: PathBuf,
        /// Which file.
        file: String,
        /// The checksum in the manifest.
        wanted: String,
        /// The checksum of the file.
        found: String,
    },
    /// The calibration has no threshold for the sensitivity asked for.
    #[error("bundle {}: `{field}`: label \"{label}\" was not measured at a sensitivity of {wanted} or more at arity {arity}; it has {best} at most", dir.display())]
    Sensitivity {
        /// The bundle.
        dir: PathBuf,
        /// Which calibration of it: the network's or the confirm network's.
        field: &'static str,
        /// The label.
        label: String,
        /// The arity.
        arity: usize,
        /// What was asked for.
        wanted: f64,
        /// The highest sensitivity measured.
        best: f64,
    },
}

impl Bundle {
    /// Reads a bundle and checks the manifest and every file's checksum.
    ///
    /// # Errors
    /// [`BundleError`], which names the file or field.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        let manifest = read_manifest(dir)?;
        let stages = manifest.stages.iter().map(|s| (&s.file, &s.sha256));
        let confirm = manifest.confirm.iter().map(|c| (&c.file, &c.sha256));
        stages.chain(confirm).try_for_each(|(file, sha256)| check_file(dir, file, sha256))?;
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// Thresholds that keep at least `pooled` of the positive groups in tests of several images and
    /// `individual` of the positives in tests of one, by the bundle's calibration. An arity that
    /// was not measured gets the lower of its neighbours' thresholds.
    ///
    /// # Errors
    /// [`BundleError::Sensitivity`] if the calibration does not reach it.
    pub fn thresholds(&self, pooled: f64, individual: f64) -> Result<Thresholds, BundleError> {
        self.thresholds_by(|arity| if arity == 1 { individual } else { pooled })
    }

    /// Thresholds that keep at least `wanted(arity)` of the positive groups of each measured arity;
    /// else as [`Bundle::thresholds`].
    ///
    /// # Errors
    /// [`BundleError::Sensitivity`] if the calibration does not reach it.
    pub fn thresholds_by(&self, wanted: impl Fn(usize) -> f64) -> Result<Thresholds, BundleError> {
        self.thresholds_of("calibration", &self.manifest.calibration, wanted)
    }

    /// The highest sensitivity that every positive label was measured at, for tests of so many
    /// images; 0 for an arity that was not.
    pub fn most_sensitive(&self, arity: usize) -> f64 {
        let entries = self.manifest.calibration.iter().filter(|c| c.arity == arity);
        let most =
            |c: &Calibration| c.operating_points.iter().map(|p| p.sensitivity).fold(0.0, f64::max);
        entries.map(most).reduce(f64::min).unwrap_or(0.0)
    }

    /// Thresholds of the confirm network, if the bundle has one, that keep at least `sensitivity`
    /// of the positives. They don't vary with the arity, which is always 1.
    ///
    /// # Errors
    /// [`BundleError::Sensitivity`] if its calibration does not reach it.
    pub fn confirm_thresholds(&self, sensitivity: f64) -> Result<Option<Thresholds>, BundleError> {
        let Some(confirm) = &self.manifest.confirm else { return Ok(None) };
        self.thresholds_of("confirm.calibration", &confirm.calibration, |_| sensitivity).map(Some)
    }

    fn thresholds_of(
        &self,
        field: &'static str,
        calibration: &[Calibration],
        wanted: impl Fn(usize) -> f64,
    ) -> Result<Thresholds, BundleError> {
        let labels = self.manifest.labels.iter().enumerate().filter(|(_, l)| l.positive);
        let mut columns = Vec::new();
        let mut tables = Vec::new();
        for (column, label) in labels {
            let mut table = Vec::new();
            for c in calibration.iter().filter(|c| c.label == label.name) {
                table.push((c.arity, self.threshold(field, c, wanted(c.arity))?));
            }
            table.sort_by_key(|&(arity, _)| arity);
            columns.push(column);
            tables.push(table);
        }
        Ok(Thresholds::new(columns, |arity, label| interpolate(&tables[label], arity)))
    }

    /// The names of the labels, a column each.
    pub fn labels(&self) -> Vec<String> {
        self.manifest.labels.iter().map(|l| l.name.clone()).collect()
    }

    fn threshold(
        &self,
        field: &'static str,
        c: &Calibration,
        wanted: f64,
    ) -> Result<f32, BundleError> {
        let enough = c.operating_points.iter().filter(|p| p.sensitivity >= wanted);
        let best = enough.max_by(|a, b| a.threshold.total_cmp(&b.threshold));
        best.map(|p| p.threshold).ok_or_else(|| BundleError::Sensitivity {
            dir: self.dir.clone(),
            field,
            label: c.label.clone(),
            arity: c.arity,
            wanted,
            best: c.operating_points.iter().map(|p| p.sensitivity).fold(0.0, f64::max),
        })
    }
}

fn read_manifest(dir: &Path) -> Result<Manifest, BundleError> {
    let bytes = read(dir, "bundle.json")?;
    let wrong =
        |field: String, what: String| BundleError::Manifest { dir: dir.to_owned(), field, what };
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let manifest: Manifest = serde_path_to_error::deserialize(&mut json)
        .map_err(|e| wrong(e.path().to_string(), e.inner().to_string()))?;
    validate::check(&manifest).map_err(|(field, what)| wrong(field, what))?;
    Ok(manifest)
}

fn read(dir: &Path, file: &str) -> Result<Vec<u8>, BundleError> {
    fs::read(dir.join(file)).map_err(|source| BundleError::Read {
        dir: dir.to_owned(),
        file: file.to_owned(),
        source,
    })
}

fn check_file(dir: &Path, file: &str, wanted: &str) -> Result<(), BundleError> {
    let found = hex(&Sha256::digest(read(dir, file)?));
    if found.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(BundleError::Checksum {
        dir: dir.to_owned(),
        file: file.to_owned(),
        wanted: wanted.to_owned(),
        found,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The threshold at an arity, or the lower one of the nearest measured arities around it.
fn interpolate(table: &[(usize, f32)], arity: usize) -> f32 {
    let below = table.iter().rev().find(|&&(a, _)| a <= arity);
    let above = table.iter().find(|&&(a, _)| a >= arity);
    match (below, above) {
        (Some(&(_, b)), Some(&(_, a))) => a.min(b),
        (Some(&(_, t)), None) | (None, Some(&(_, t))) => t,
        (None, None) => f32::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arity_between_two_measured_ones_takes_the_lower_threshold() {
        let table = [(1, 0.9), (4, 0.5), (16, 0.6)];
        assert_eq!(interpolate(&table, 1), 0.9);
        assert_eq!(interpolate(&table, 3), 0.5);
        assert_eq!(interpolate(&table, 8), 0.5);
        assert_eq!(interpolate(&table, 20), 0.6);
    }
}
