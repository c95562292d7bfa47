//! What a run of each part of a network costs on a device, measured once for whoever plans, reports or watches.
//!
//! In: a network ([`Cells`]) or a file ([`Profile::find`]). Out: seconds. Measuring has a clock and the store has files; the rest is pure.

mod detect;
mod machine;
mod measure;
mod spread;
mod store;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use machine::Machine;
pub use measure::{Cells, Measured};
pub use spread::Spread;
pub use store::ProfileError;

use super::manifest::Manifest;
use dorfman_core::engine::NetworkPart;

/// The seconds that runs of a bundle's parts take on one device, by arity and batch; see `docs/profile.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Version of this format: 1.
    pub format: u32,
    /// What was measured.
    pub bundle: BundleFiles,
    /// What it was measured on.
    pub machine: Machine,
    /// When, by RFC 3339.
    pub date: String,
    /// Batch sizes that the engine rounded up to, rising; empty where it ran any size as it was.
    pub buckets: Vec<usize>,
    /// The batch in rows from which a larger one was held to be no more efficient.
    pub preferred_batch: usize,
    /// Stage by stage, numbered as in the metrics: a pixel network has a stage 0 that only keeps the images.
    pub stages: Vec<PartProfile>,
    /// The confirm network, if the bundle has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<PartProfile>,
}

/// The bundle that a profile belongs to, by its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleFiles {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of each stage's file, 64 hex digits.
    pub stages: Vec<String>,
    /// SHA-256 of the confirm network's file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

/// What was measured of one part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartProfile {
    /// Multiply-adds for one row, by the manifest.
    pub macs: u64,
    /// Seconds by arity and batch.
    pub measured: Vec<Point>,
}

/// What was measured at one arity and batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// How many rows of the stage before a row merged; 1 where nothing is merged.
    pub arity: usize,
    /// Rows of a run.
    pub rows: usize,
    /// How many runs were timed.
    pub runs: usize,
    /// Seconds of a run.
    pub seconds: Spread,
}

impl BundleFiles {
    /// The files of a bundle.
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            stages: manifest.stages.iter().map(|s| s.sha256.clone()).collect(),
            confirm: manifest.confirm.as_ref().map(|c| c.sha256.clone()),
        }
    }
}

impl Profile {
    /// What was measured of a part.
    pub fn part(&self, part: NetworkPart) -> Option<&PartProfile> {
        match part {
            NetworkPart::Stage(stage) => self.stages.get(stage),
            NetworkPart::Confirm => self.confirm.as_ref(),
        }
    }

    /// Every part that was measured, in order.
    pub fn parts(&self) -> impl Iterator<Item = (NetworkPart, &PartProfile)> {
        let stages =
            self.stages.iter().enumerate().map(|(i, stage)| (NetworkPart::Stage(i), stage));
        stages.chain(self.confirm.iter().map(|confirm| (NetworkPart::Confirm, confirm)))
    }

    /// Seconds of a run that `rows` rows are wanted of: they are rounded up to a bucket, as the engine does. None for a part that was not
    /// measured.
    pub fn seconds(&self, part: NetworkPart, arity: usize, rows: usize) -> Option<f64> {
        let batch = self.buckets.iter().copied().find(|&b| b >= rows).unwrap_or(rows);
        self.part(part)?.seconds(arity, batch)
    }

    /// Seconds a row of a run at the preferred batch. None for a part that was not measured.
    pub fn seconds_per_row(&self, part: NetworkPart, arity: usize) -> Option<f64> {
        let rows = self.preferred_batch.max(1);
        self.seconds(part, arity, rows).map(|seconds| seconds / rows as f64)
    }
}

impl PartProfile {
    /// Seconds of a run of exactly `rows` rows: on the line between the measured batches and arities around it. A batch below all that were
    /// measured costs as much as the smallest, one above all in proportion to the largest; an arity beyond them as much as the nearest.
    pub fn seconds(&self, arity: usize, rows: usize) -> Option<f64> {
        let (below, above) = around(self.measured.iter().map(|p| p.arity), arity);
        let at = |arity: usize| Some((arity, self.at_arity(arity, rows)?));
        match (below.and_then(at), above.and_then(at)) {
            (Some(below), Some(above)) => Some(on_line(below, above, arity)),
            (Some((_, seconds)), None) | (None, Some((_, seconds))) => Some(seconds),
            (None, None) => None,
        }
    }

    fn at_arity(&self, arity: usize, rows: usize) -> Option<f64> {
        let points = || self.measured.iter().filter(|p| p.arity == arity);
        let (below, above) = around(points().map(|p| p.rows), rows);
        let at = |rows: usize| points().find(|p| p.rows == rows).map(|p| (rows, p.seconds.median));
        match (below.and_then(at), above.and_then(at)) {
            (Some(below), Some(above)) => Some(on_line(below, above, rows)),
            (Some((most, seconds)), None) => Some(seconds * rows as f64 / most as f64),
            (None, Some((_, seconds))) => Some(seconds),
            (None, None) => None,
        }
    }
}

/// The values nearest to `x`: at or below it, and at or above it.
fn around(values: impl Iterator<Item = usize> + Clone, x: usize) -> (Option<usize>, Option<usize>) {
    (values.clone().filter(|&v| v <= x).max(), values.filter(|&v| v >= x).min())
}

/// The value at `x` on the line through two points, the first of which is not to the right of the second.
fn on_line((left, low): (usize, f64), (right, high): (usize, f64), x: usize) -> f64 {
    if left == right {
        return low;
    }
    low + (high - low) * (x - left) as f64 / (right - left) as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn point(arity: usize, rows: usize, median: f64) -> Point {
        Point { arity, rows, runs: 5, seconds: Spread { p10: median, median, p90: median } }
    }

    /// A profile of two stages, the second of which merges.
    pub fn profile() -> Profile {
        let embed = PartProfile {
            macs: 10,
            measured: vec![point(1, 1, 1.0), point(1, 4, 2.5), point(1, 8, 4.0)],
        };
        let tests = vec![point(1, 1, 1.0), point(1, 8, 8.0), point(16, 1, 2.5), point(16, 8, 23.0)];
        Profile {
            format: 1,
            bundle: BundleFiles {
                name: "b".into(),
                version: "1".into(),
                stages: vec![],
                confirm: None,
            },
            machine: super::machine::tests::machine(),
            date: "2026-01-01T00:00:00Z".into(),
            buckets: vec![],
            preferred_batch: 4,
            stages: vec![embed, PartProfile { macs: 100, measured: tests }],
            confirm: None,
        }
    }

    #[test]
    fn batches_between_the_measured_ones_lie_on_a_line() {
        let p = profile();
        let seconds = |rows| p.seconds(NetworkPart::Stage(0), 1, rows).unwrap();
        assert_eq!([1, 2, 4, 6, 8].map(seconds), [1.0, 1.5, 2.5, 3.25, 4.0]);
        assert_eq!(seconds(16), 8.0);
        assert_eq!(p.seconds_per_row(NetworkPart::Stage(0), 1), Some(0.625));
    }

    #[test]
    fn batches_below_the_measured_ones_cost_as_much_as_the_smallest() {
        let part = PartProfile { macs: 1, measured: vec![point(1, 4, 2.0)] };
        assert_eq!([1, 4, 6].map(|rows| part.seconds(1, rows)), [Some(2.0), Some(2.0), Some(3.0)]);
    }

    #[test]
    fn where_the_engine_rounds_up_so_does_the_profile() {
        let p = Profile { buckets: vec![1, 4, 8], ..profile() };
        let seconds = |rows| p.seconds(NetworkPart::Stage(0), 1, rows).unwrap();
        assert_eq!([1, 2, 4, 5, 8].map(seconds), [1.0, 2.5, 2.5, 4.0, 4.0]);
        assert_eq!(p.stages[0].seconds(1, 2), Some(1.5));
    }

    #[test]
    fn arities_between_the_measured_ones_lie_on_a_line_and_beyond_them_cost_as_much_as_the_nearest()
    {
        let p = profile();
        let seconds = |arity| p.seconds(NetworkPart::Stage(1), arity, 8).unwrap();
        assert_eq!([1, 2, 4, 16, 64].map(seconds), [8.0, 9.0, 11.0, 23.0, 23.0]);
    }

    #[test]
    fn what_was_not_measured_has_no_seconds() {
        let p = profile();
        assert_eq!(
            (p.seconds(NetworkPart::Confirm, 1, 1), p.seconds(NetworkPart::Stage(2), 1, 1)),
            (None, None)
        );
        assert_eq!(PartProfile { macs: 1, measured: vec![] }.seconds(1, 1), None);
    }
}
