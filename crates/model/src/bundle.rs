//! Reads a bundle from disk, checks it, and derives thresholds from its calibration.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{Calibration, Manifest};
use super::validate;
use dorfman_core::calibration::{CalibrationError, Thresholds};
use dorfman_core::planner::ChainPlan;

/// A bundle whose manifest and checksums have been checked.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The folder of the bundle.
    pub dir: PathBuf,
    /// The contents of `bundle.json`.
    pub manifest: Manifest,
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file is missing or cannot be read.
    #[error(
        "bundle {}: cannot read {file}: {source}. Check the path of the bundle; if the path is \
         right, copy the bundle again",
        dir.display()
    )]
    Read {
        /// The folder of the bundle.
        dir: PathBuf,
        /// The name of the file.
        file: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// `bundle.json` is not JSON, or a field has a wrong type or value.
    #[error("bundle {}: bundle.json: `{field}`: {what}", dir.display())]
    Manifest {
        /// The folder of the bundle.
        dir: PathBuf,
        /// The path of the field.
        field: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// The checksum of a file differs from the checksum in the manifest.
    #[error(
        "bundle {}: {file} has SHA-256 {found}, but bundle.json has {wanted}: the file is damaged \
         or belongs to another version. Copy the bundle again",
        dir.display()
    )]
    Checksum {
        /// The folder of the bundle.
        dir: PathBuf,
        /// The name of the file.
        file: String,
        /// The checksum in the manifest.
        wanted: String,
        /// The checksum of the file.
        found: String,
    },
    /// The calibration cannot be used for planning.
    #[error("bundle {}: the calibration: {source}", dir.display())]
    Calibration {
        /// The folder of the bundle.
        dir: PathBuf,
        /// The error.
        source: CalibrationError,
    },
    /// The file of joint scores does not fit the manifest.
    #[error("bundle {}: the file of joint scores: {what}. Copy the bundle again", dir.display())]
    Joint {
        /// The folder of the bundle.
        dir: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The calibration has no threshold for the required sensitivity.
    #[error(
        "bundle {}: `{field}`: label \"{label}\" has no operating point at arity {arity} with a \
         sensitivity of {wanted} or more. Require at most {best}, or calibrate the bundle at a \
         higher sensitivity",
        dir.display()
    )]
    Sensitivity {
        /// The folder of the bundle.
        dir: PathBuf,
        /// The field of the manifest, such as `calibration` or `confirm.calibration`.
        field: &'static str,
        /// The name of the label.
        label: String,
        /// The number of images in a test.
        arity: usize,
        /// The required sensitivity, 0 to 1.
        wanted: f64,
        /// The highest measured sensitivity, 0 to 1.
        best: f64,
    },
}

impl Bundle {
    /// Reads the bundle in the folder `dir`, and checks the manifest and the checksum of every
    /// file.
    ///
    /// # Errors
    /// [`BundleError::Read`] if a file cannot be read, [`BundleError::Manifest`] if a field of the
    /// manifest is wrong, [`BundleError::Checksum`] if a file is not that of the manifest.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        let manifest = read_manifest(dir)?;
        let stages = manifest.stages.iter().map(|s| (&s.file, &s.sha256));
        let confirm = manifest.confirm.iter().map(|c| (&c.file, &c.sha256));
        let screen = manifest.screen.iter().map(|s| (&s.file, &s.sha256));
        let joint = manifest.joint.iter().map(|j| (&j.file, &j.sha256));
        let mut files = stages.chain(confirm).chain(screen).chain(joint);
        files.try_for_each(|(file, sha256)| check_file(dir, file, sha256))?;
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// Thresholds with at least the given sensitivities (0 to 1), by the bundle's calibration:
    /// `pooled` in tests of several images, `individual` in tests of one image. An arity that was
    /// not measured gets the lower threshold of its nearest measured neighbours.
    ///
    /// # Errors
    /// [`BundleError::Sensitivity`] if the calibration does not reach a sensitivity.
    pub fn thresholds(&self, pooled: f64, individual: f64) -> Result<Thresholds, BundleError> {
        self.thresholds_by(|arity| if arity == 1 { individual } else { pooled })
    }

    /// Thresholds with a sensitivity of at least `wanted(arity)` for each measured arity. Otherwise
    /// like [`Bundle::thresholds`].
    ///
    /// # Errors
    /// [`BundleError::Sensitivity`] if the calibration does not reach a sensitivity.
    pub fn thresholds_by(&self, wanted: impl Fn(usize) -> f64) -> Result<Thresholds, BundleError> {
        self.thresholds_at(None, wanted)
    }

    /// Like [`Bundle::thresholds_by`], for pooled tests of images that pass all exits at
    /// `exit_sensitivity` (0 to 1); `None`: of all images. The individual test has the threshold
    /// of all images in both cases.
    ///
    /// # Errors
    /// [`BundleError::Sensitivity`] if the calibration does not reach a sensitivity.
    pub fn thresholds_at(
        &self,
        exit_sensitivity: Option<f64>,
        wanted: impl Fn(usize) -> f64,
    ) -> Result<Thresholds, BundleError> {
        let individual = |c: &&Calibration| c.arity == 1 && c.exit_sensitivity.is_none();
        let pooled =
            |c: &&Calibration| c.arity > 1 && same_point(c.exit_sensitivity, exit_sensitivity);
        let entries = self.manifest.calibration.iter().filter(|c| individual(c) || pooled(c));
        let entries: Vec<&Calibration> = entries.collect();
        self.thresholds_of("calibration", &entries, wanted)
    }

    /// Like [`Bundle::thresholds_at`], with a sensitivity of `individual` (0 to 1) in tests of one
    /// image and of `pooled(arity)` in tests of several. A pooled sensitivity that the calibration
    /// does not reach is lowered to the highest calibrated one.
    ///
    /// # Errors
    /// [`BundleError::Sensitivity`] if the calibration does not reach `individual`.
    pub fn thresholds_behind(
        &self,
        exit_sensitivity: Option<f64>,
        pooled: impl Fn(usize) -> f64,
        individual: f64,
    ) -> Result<Thresholds, BundleError> {
        self.thresholds_at(exit_sensitivity, |arity| match arity {
            1 => individual,
            _ => pooled(arity).min(self.most_sensitive_at(exit_sensitivity, arity)),
        })
    }

    /// The thresholds of a plan. Individual tests have a sensitivity of at least `individual` (0 to
    /// 1), and pooled tests that of their size in the plan, or the highest calibrated one if that
    /// is lower.
    ///
    /// # Errors
    /// [`BundleError::Sensitivity`] if the calibration does not reach `individual`.
    pub fn plan_thresholds(
        &self,
        plan: &ChainPlan,
        individual: f64,
    ) -> Result<Thresholds, BundleError> {
        self.thresholds_behind(plan.measured_at, |arity| plan.sensitivity(arity), individual)
    }

    /// The highest sensitivity (0 to 1) that the calibration of every positive label reaches in
    /// tests of `arity` images. 0 for an arity that was not measured.
    pub fn most_sensitive(&self, arity: usize) -> f64 {
        self.most_sensitive_at(None, arity)
    }

    fn most_sensitive_at(&self, exit_sensitivity: Option<f64>, arity: usize) -> f64 {
        let same =
            |c: &&Calibration| c.arity == arity && same_point(c.exit_sensitivity, exit_sensitivity);
        let entries = self.manifest.calibration.iter().filter(same);
        entries.map(highest_sensitivity).reduce(f64::min).unwrap_or(0.0)
    }

    /// Thresholds of the confirm network with a sensitivity of at least `sensitivity` (0 to 1).
    /// `None` if the bundle has no confirm network. The thresholds are the same for every arity,
    /// because the confirm network tests images alone.
    ///
    /// # Errors
    /// [`BundleError::Sensitivity`] if the confirm network's calibration does not reach the
    /// sensitivity.
    pub fn confirm_thresholds(&self, sensitivity: f64) -> Result<Option<Thresholds>, BundleError> {
        let Some(confirm) = &self.manifest.confirm else { return Ok(None) };
        let entries: Vec<&Calibration> = confirm.calibration.iter().collect();
        self.thresholds_of("confirm.calibration", &entries, |_| sensitivity).map(Some)
    }

    /// Thresholds from `calibration`, which is at `field` of the manifest. Otherwise like
    /// [`Bundle::thresholds_by`].
    pub(super) fn thresholds_of(
        &self,
        field: &'static str,
        calibration: &[&Calibration],
        wanted: impl Fn(usize) -> f64,
    ) -> Result<Thresholds, BundleError> {
        let labels = self.manifest.labels.iter().enumerate().filter(|(_, l)| l.positive);
        let mut columns = Vec::new();
        let mut tables = Vec::new();
        for (column, label) in labels {
            let mut table = Vec::new();
            for &c in calibration.iter().filter(|c| c.label == label.name) {
                table.push((c.arity, self.threshold(field, c, wanted(c.arity))?));
            }
            table.sort_by_key(|&(arity, _)| arity);
            columns.push(column);
            tables.push(table);
        }
        Ok(Thresholds::new(columns, |arity, label| interpolate(&tables[label], arity)))
    }

    /// The names of the labels, one per column of the scores, in order.
    pub fn labels(&self) -> Vec<String> {
        self.manifest.labels.iter().map(|l| l.name.clone()).collect()
    }

    /// The highest threshold of a calibration entry with a sensitivity of at least `wanted`.
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
            best: highest_sensitivity(c),
        })
    }
}

/// The highest sensitivity of an entry's operating points, 0 to 1. 0 without any.
pub(super) fn highest_sensitivity(entry: &Calibration) -> f64 {
    entry.operating_points.iter().map(|point| point.sensitivity).fold(0.0, f64::max)
}

/// Whether two entries were measured at the same sensitivity of the exits.
pub(super) fn same_point(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-9,
        (None, None) => true,
        _ => false,
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

pub(super) fn read(dir: &Path, file: &str) -> Result<Vec<u8>, BundleError> {
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

/// The threshold at an arity, or the lower threshold of the nearest measured arities around it.
/// Infinity if no arity was measured: no test is then positive. `table` is sorted by arity.
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
    fn an_arity_between_two_measured_arities_gets_the_lower_threshold() {
        let table = [(1, 0.9), (4, 0.5), (16, 0.6)];
        assert_eq!(interpolate(&table, 1), 0.9);
        assert_eq!(interpolate(&table, 3), 0.5);
        assert_eq!(interpolate(&table, 8), 0.5);
        assert_eq!(interpolate(&table, 20), 0.6);
    }
}
