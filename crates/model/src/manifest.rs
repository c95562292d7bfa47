//! `bundle.json`: what a bundle says of itself. Pure: reading files is `bundle.rs`'s business.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The manifest of a bundle; see `docs/bundle.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub format: u32,
    /// Name of the bundle, repeated in flags.
    pub name: String,
    /// Version of the bundle, repeated in flags.
    pub version: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// SPDX expression for the weights.
    pub licence: String,
    /// What it was made from, and how.
    #[serde(default)]
    pub provenance: Provenance,
    /// A column of `scores` each, in order.
    pub labels: Vec<Label>,
    /// What stage 0 wants to see.
    pub input: InputSpec,
    /// How features of several images become one.
    pub merge: Merge,
    /// The network, cut.
    pub stages: Vec<Stage>,
    /// Measured score distributions and thresholds, an entry for each positive label and arity.
    pub calibration: Vec<Calibration>,
    /// A network of its own for the last word on what would be flagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
}

/// Where a bundle comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The data it was trained on.
    #[serde(default)]
    pub data: String,
    /// The licence of that data.
    #[serde(default)]
    pub data_licence: String,
    /// The command that makes the bundle.
    #[serde(default)]
    pub command: String,
}

/// A column of `scores`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Its name, repeated in flags.
    pub name: String,
    /// Whether this label is what the worker looks for.
    #[serde(default)]
    pub positive: bool,
}

/// The preprocessing of an image, in the order of `docs/bundle.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Width of the tensor in pixels.
    pub width: u32,
    /// Height of the tensor in pixels.
    pub height: u32,
    /// Colour channels and their order.
    pub channels: Channels,
    /// Axis order of the tensor.
    #[serde(default)]
    pub layout: Layout,
    /// How an image of another size is brought to width x height.
    pub resize: Resize,
    /// Subtracted from each channel, in units of 0..255, in the order of the channels.
    pub mean: Vec<f32>,
    /// Divides each channel after the mean is taken off.
    pub std: Vec<f32>,
}

impl InputSpec {
    /// Number of f32 values of one preprocessed image.
    pub fn len(&self) -> usize {
        self.width as usize * self.height as usize * self.channels.count()
    }

    /// True for an image of no pixels, which validation refuses.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Colour channels and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// One channel, ITU-R 601 luma.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl Channels {
    /// How many.
    pub fn count(self) -> usize {
        match self {
            Channels::Grey => 1,
            Channels::Rgb | Channels::Bgr => 3,
        }
    }
}

/// Axis order of the input tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channels, height, width.
    #[default]
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

/// How an image is brought to the network's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "rule", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Resize {
    /// To width x height, the aspect ratio ignored.
    Stretch {
        /// The resampling filter.
        #[serde(default)]
        filter: Filter,
    },
    /// The short side to `short_side`, then a centre crop of width x height.
    ShortSide {
        /// Length of the short side in pixels; at least width and height.
        short_side: u32,
        /// The resampling filter.
        #[serde(default)]
        filter: Filter,
    },
}

/// A resampling filter; its support is scaled when shrinking, as Pillow does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Nearest neighbour.
    Nearest,
    /// Triangle.
    #[default]
    Bilinear,
    /// Catmull-Rom.
    Bicubic,
    /// Windowed sinc, three lobes.
    Lanczos3,
}

/// The element-wise merge inside every stage but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// Maximum: repeats change nothing.
    Max,
    /// Mean: rows can't be padded by repeats.
    Mean,
}

/// One ONNX file of the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// File name, relative to the bundle.
    pub file: String,
    /// SHA-256 of the file, 64 hex digits.
    pub sha256: String,
    /// Multiply-adds for one row of the output.
    pub macs: u64,
    /// Shape of one row of the output; absent for the last stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<usize>>,
    /// How many rows of the stage before a row merges; absent for the first stage and (any number)
    /// the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_in: Option<usize>,
}

/// A network that looks at individual images only, by the same `input` and with the same labels as
/// the stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// File name, relative to the bundle.
    pub file: String,
    /// SHA-256 of the file, 64 hex digits.
    pub sha256: String,
    /// Multiply-adds for one image.
    pub macs: u64,
    /// What was measured of it alone, an entry for each positive label, at arity 1.
    pub calibration: Vec<Calibration>,
}

/// What was measured at one arity on held-out data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The positive label it is for.
    pub label: String,
    /// How many images a test had.
    pub arity: usize,
    /// How many positive groups (exactly one positive each) were measured.
    pub positives: u64,
    /// How many negative groups were measured.
    pub negatives: u64,
    /// Quantiles of positive groups' scores at evenly spaced probabilities from 0 to 1.
    pub positive_scores: Vec<f32>,
    /// Quantiles of negative groups' scores.
    pub negative_scores: Vec<f32>,
    /// Thresholds and what each gives, by falling or rising sensitivity.
    pub operating_points: Vec<CalibratedThreshold>,
}

/// A threshold and what it gives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CalibratedThreshold {
    /// Share of positive groups at or above the threshold.
    pub sensitivity: f64,
    /// Share of negative groups below it.
    pub specificity: f64,
    /// A test is positive if its score is at or above this.
    pub threshold: f32,
}
