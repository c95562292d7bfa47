//! The profile of a bundle: the measured seconds of each part of its network on one device.
//!
//! [`Cells`] measures a network. [`Profile::find`] reads a profile that was measured before. Plans,
//! reports and metrics use its seconds. Only `measure` (clock), `store` (files) and `detect` (files
//! of the kernel) do I/O; the rest is pure.

mod detect;
mod machine;
mod measure;
mod spread;
mod store;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use machine::Machine;
pub use measure::{Cells, Measured, Networks};
pub use spread::Spread;
pub use store::ProfileError;

use super::manifest::Manifest;
use dorfman_core::engine::NetworkPart;

/// The seconds that runs of a bundle's parts take on one device, by arity and batch size. See
/// `docs/profile.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The version of this format: 1.
    pub format: u32,
    /// The bundle that was measured.
    pub bundle: BundleFiles,
    /// The machine on which the bundle was measured.
    pub machine: Machine,
    /// The date and time of the measurement, in the format of RFC 3339.
    pub date: String,
    /// The batch sizes to which the engine rounded up, in ascending order. Empty if the engine ran
    /// any size as it was.
    pub buckets: Vec<usize>,
    /// The engine's preferred batch size, in rows. A larger batch was assumed to be no more
    /// efficient.
    pub preferred_batch: usize,
    /// One entry per stage, numbered as in the metrics. A pixel network has a stage 0 that only
    /// keeps the images.
    pub stages: Vec<PartProfile>,
    /// The confirm network. Absent if the bundle has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<PartProfile>,
    /// The screen. Absent if the bundle has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<PartProfile>,
}

/// The bundle to which a profile belongs, with the checksums of its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleFiles {
    /// The name of the bundle.
    pub name: String,
    /// The version of the bundle.
    pub version: String,
    /// The SHA-256 of the file of each stage, 64 hex digits, in order.
    pub stages: Vec<String>,
    /// The SHA-256 of the confirm network's file, 64 hex digits. Absent if the bundle has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
    /// The SHA-256 of the screen's file, 64 hex digits. Absent if the bundle has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<String>,
}

/// The measurements of one part of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartProfile {
    /// Multiply-adds for one row, from the manifest.
    pub macs: u64,
    /// The measurements, one per arity and batch size.
    pub measured: Vec<Point>,
}

/// The measurement at one arity and batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// The number of rows of the previous stage that one row merged. 1 in a part that merges
    /// nothing.
    pub arity: usize,
    /// The batch size: the number of rows of a run.
    pub rows: usize,
    /// The number of runs that were timed.
    pub runs: usize,
    /// The seconds of one run.
    pub seconds: Spread,
}

impl BundleFiles {
    /// The name, version and checksums in a bundle's manifest.
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            stages: manifest.stages.iter().map(|s| s.sha256.clone()).collect(),
            confirm: manifest.confirm.as_ref().map(|c| c.sha256.clone()),
            screen: manifest.screen.as_ref().map(|s| s.sha256.clone()),
        }
    }
}

impl Profile {
    /// The measurements of a part. `None` if the part was not measured.
    pub fn part(&self, part: NetworkPart) -> Option<&PartProfile> {
        match part {
            NetworkPart::Stage(stage) => self.stages.get(stage),
            NetworkPart::Confirm => self.confirm.as_ref(),
            NetworkPart::Screen => self.screen.as_ref(),
        }
    }

    /// Every part with its measurements: the stages in order, the confirm network, the screen.
    pub fn parts(&self) -> impl Iterator<Item = (NetworkPart, &PartProfile)> {
        let stages =
            self.stages.iter().enumerate().map(|(i, stage)| (NetworkPart::Stage(i), stage));
        let confirm = self.confirm.iter().map(|confirm| (NetworkPart::Confirm, confirm));
        let screen = self.screen.iter().map(|screen| (NetworkPart::Screen, screen));
        stages.chain(confirm).chain(screen)
    }

    /// The seconds of one run of `part` on `rows` rows at `arity`. `rows` is first rounded up to a
    /// bucket, as in the engine. `None` if the part was not measured.
    pub fn seconds(&self, part: NetworkPart, arity: usize, rows: usize) -> Option<f64> {
        let batch = self.buckets.iter().copied().find(|&b| b >= rows).unwrap_or(rows);
        self.part(part)?.seconds(arity, batch)
    }

    /// The seconds per row of a run at the preferred batch size. `None` if the part was not
    /// measured.
    pub fn seconds_per_row(&self, part: NetworkPart, arity: usize) -> Option<f64> {
        let rows = self.preferred_batch.max(1);
        self.seconds(part, arity, rows).map(|seconds| seconds / rows as f64)
    }
}

impl PartProfile {
    /// The seconds of one run of exactly `rows` rows at `arity`, interpolated linearly between the
    /// nearest measured batch sizes and between the nearest measured arities.
    ///
    /// A batch below all measured sizes costs as much as the smallest. A batch above all measured
    /// sizes costs as much as the largest, in proportion to its size. An arity outside the measured
    /// range costs as much as the nearest measured arity. `None` if nothing was measured.
    pub fn seconds(&self, arity: usize, rows: usize) -> Option<f64> {
        let (below, above) = around(self.measured.iter().map(|p| p.arity), arity);
        let at = |arity: usize| Some((arity, self.at_arity(arity, rows)?));
        match (below.and_then(at), above.and_then(at)) {
            (Some(below), Some(above)) => Some(on_line(below, above, arity)),
            (Some((_, seconds)), None) | (None, Some((_, seconds))) => Some(seconds),
            (None, None) => None,
        }
    }

    /// The seconds of one run of exactly `rows` rows at a measured arity.
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

/// The largest value at or below `x`, and the smallest value at or above `x`.
fn around(values: impl Iterator<Item = usize> + Clone, x: usize) -> (Option<usize>, Option<usize>) {
    (values.clone().filter(|&v| v <= x).max(), values.filter(|&v| v >= x).min())
}

/// The value at `x` on the line through two points. The first point must not be to the right of the
/// second.
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

    /// A profile of two stages. The second stage merges.
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
                screen: None,
            },
            machine: super::machine::tests::machine(),
            date: "2026-01-01T00:00:00Z".into(),
            buckets: vec![],
            preferred_batch: 4,
            stages: vec![embed, PartProfile { macs: 100, measured: tests }],
            confirm: None,
            screen: None,
        }
    }

    #[test]
    fn batch_sizes_between_measured_ones_are_interpolated() {
        let p = profile();
        let seconds = |rows| p.seconds(NetworkPart::Stage(0), 1, rows).unwrap();
        assert_eq!([1, 2, 4, 6, 8].map(seconds), [1.0, 1.5, 2.5, 3.25, 4.0]);
        assert_eq!(seconds(16), 8.0);
        assert_eq!(p.seconds_per_row(NetworkPart::Stage(0), 1), Some(0.625));
    }

    #[test]
    fn a_batch_below_all_measured_sizes_costs_as_much_as_the_smallest() {
        let part = PartProfile { macs: 1, measured: vec![point(1, 4, 2.0)] };
        assert_eq!([1, 4, 6].map(|rows| part.seconds(1, rows)), [Some(2.0), Some(2.0), Some(3.0)]);
    }

    #[test]
    fn rows_are_rounded_up_to_a_bucket() {
        let p = Profile { buckets: vec![1, 4, 8], ..profile() };
        let seconds = |rows| p.seconds(NetworkPart::Stage(0), 1, rows).unwrap();
        assert_eq!([1, 2, 4, 5, 8].map(seconds), [1.0, 2.5, 2.5, 4.0, 4.0]);
        assert_eq!(p.stages[0].seconds(1, 2), Some(1.5));
    }

    #[test]
    fn arities_are_interpolated_within_the_measured_range_and_clamped_to_it() {
        let p = profile();
        let seconds = |arity| p.seconds(NetworkPart::Stage(1), arity, 8).unwrap();
        assert_eq!([1, 2, 4, 16, 64].map(seconds), [8.0, 9.0, 11.0, 23.0, 23.0]);
    }

    #[test]
    fn a_part_without_measurements_has_no_seconds() {
        let p = profile();
        assert_eq!(
            (p.seconds(NetworkPart::Confirm, 1, 1), p.seconds(NetworkPart::Stage(2), 1, 1)),
            (None, None)
        );
        assert_eq!(PartProfile { macs: 1, measured: vec![] }.seconds(1, 1), None);
    }
}
