//! The types of `bundle.json`, the manifest of a bundle (pure). `bundle.rs` reads the file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The manifest of a bundle. See `docs/bundle.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format: 1.
    pub format: u32,
    /// The name of the bundle, repeated in flags.
    pub name: String,
    /// The version of the bundle, repeated in flags.
    pub version: String,
    /// A description of the bundle in one line.
    #[serde(default)]
    pub description: String,
    /// The licence of the weights, as an SPDX expression.
    pub licence: String,
    /// The data and the command from which the bundle was made.
    #[serde(default)]
    pub provenance: Provenance,
    /// The labels, one per column of `scores`, in order.
    pub labels: Vec<Label>,
    /// The preprocessing of images for stage 0.
    pub input: InputSpec,
    /// How the features of several images are merged.
    pub merge: Merge,
    /// The stages of the network, in order.
    pub stages: Vec<Stage>,
    /// Measured score distributions and thresholds: one entry per positive label and measured
    /// arity. Further entries may have an `exit_sensitivity`.
    pub calibration: Vec<Calibration>,
    /// The screen: a small network that tests each image alone before all stages, with an input of
    /// its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<Screen>,
    /// The file with the scores of the same images by the screen, the early exits and the
    /// individual test. Needed with a screen or an early exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joint: Option<JointFile>,
    /// The confirm network: a second network that tests, alone, each image that the policy would
    /// flag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
}

/// The origin of a bundle: the training data, their licence and the command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The data on which the network was trained.
    #[serde(default)]
    pub data: String,
    /// The licence of the training data.
    #[serde(default)]
    pub data_licence: String,
    /// The command that makes the bundle.
    #[serde(default)]
    pub command: String,
}

/// A label: one column of `scores`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// The name of the label, repeated in flags.
    pub name: String,
    /// Whether images with this label are flagged.
    #[serde(default)]
    pub positive: bool,
}

/// The preprocessing of an image, in the order of `docs/bundle.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// The width of the tensor in pixels, 1 to 8192.
    pub width: u32,
    /// The height of the tensor in pixels, 1 to 8192.
    pub height: u32,
    /// The colour channels and their order.
    pub channels: Channels,
    /// The axis order of the tensor.
    #[serde(default)]
    pub layout: Layout,
    /// The type of the network's input `images`.
    #[serde(default, skip_serializing_if = "PixelType::is_float")]
    pub dtype: PixelType,
    /// How an image of another size is resized to width x height.
    pub resize: Resize,
    /// With `dtype` `float32`: the values that are subtracted from the channels, in units of 0..255:
    /// one per channel, in the order of `channels`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// With `dtype` `float32`: the values by which the channels are divided after the mean is
    /// subtracted: one per channel, above 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f32>,
}

impl InputSpec {
    /// The number of pixel values of one preprocessed image, each one byte.
    pub fn len(&self) -> usize {
        self.width as usize * self.height as usize * self.channels.count()
    }

    /// The least width and height, in pixels, to which a JPEG may be shrunk while it is decoded.
    /// `None`: a JPEG is decoded in full.
    pub fn draft_size(&self) -> Option<(u32, u32)> {
        let (gap, width, height) = match self.resize {
            Resize::Stretch { draft, .. } => (draft, self.width, self.height),
            Resize::ShortSide { draft, short_side, .. } => (draft, short_side, short_side),
        };
        (gap > 0).then(|| (width.saturating_mul(gap), height.saturating_mul(gap)))
    }

    /// Whether the image has no pixels. A bundle with such an input does not open.
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
    /// The number of channels.
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

/// The type of the values that a network reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PixelType {
    /// Pixel values from 0 to 255. The network normalises them.
    Uint8,
    /// Values that the worker has normalised with `mean` and `std`.
    #[default]
    Float32,
}

impl PixelType {
    fn is_float(&self) -> bool {
        *self == PixelType::Float32
    }
}

/// How an image is resized to the size of the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "rule", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Resize {
    /// Resizes to width x height and ignores the aspect ratio.
    Stretch {
        /// The resampling filter.
        #[serde(default)]
        filter: Filter,
        /// If above 0, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, as long as neither side
        /// becomes shorter than `draft` times that of the input.
        #[serde(default, skip_serializing_if = "is_zero")]
        draft: u32,
    },
    /// Resizes the short side to `short_side` and the long side in proportion, then takes a centre
    /// crop of width x height.
    ShortSide {
        /// The length of the short side in pixels. At least width and at least height.
        short_side: u32,
        /// The resampling filter.
        #[serde(default)]
        filter: Filter,
        /// If above 0, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, as long as neither side
        /// becomes shorter than `draft` times `short_side`.
        #[serde(default, skip_serializing_if = "is_zero")]
        draft: u32,
    },
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// A resampling filter. When an image is shrunk, the support of the filter is scaled as in Pillow.
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

/// The merge in every stage except stage 0. A network of one stage merges pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// The element-wise maximum. Repeating a member of a test does not change the result.
    Max,
    /// At each place, the whole feature vector of the member whose linear logit is highest there (a
    /// class activation map). Repeating a member does not change the result.
    Cam,
    /// The element-wise mean. A test cannot be padded by repeating a member.
    Mean,
}

impl Merge {
    /// Whether a test may be padded by repeating a member.
    pub fn takes_repeats(self) -> bool {
        match self {
            Self::Max | Self::Cam => true,
            Self::Mean => false,
        }
    }
}

/// One stage of the network: an ONNX file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The name of the file in the bundle's folder.
    pub file: String,
    /// The SHA-256 of the file, 64 hex digits.
    pub sha256: String,
    /// Multiply-adds for one row of the output, with the early exit.
    pub macs: u64,
    /// The shape of one row of the output. Absent for the last stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<usize>>,
    /// The number of rows of the previous stage that one row merges, 1 to 64. 1: the stage refines
    /// the features of one image; only stages before the first merge may have it. Absent for the
    /// first stage, which merges nothing, and for the last stage, which merges any number of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_in: Option<usize>,
    /// The early exit: a small head that scores each image, in the output `exit`. Only in stages
    /// before the first merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// An early exit. It clears an image if the score of every positive label is below its threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// Score distributions and thresholds of the exit: one entry per positive label, at
    /// arity 1.
    pub calibration: Vec<Calibration>,
}

/// The screen: a small network that tests images one at a time before all stages. It has the same
/// labels as the stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Screen {
    /// The name of the file in the bundle's folder.
    pub file: String,
    /// The SHA-256 of the file, 64 hex digits.
    pub sha256: String,
    /// Multiply-adds for one image.
    pub macs: u64,
    /// The preprocessing of images for the screen.
    pub input: InputSpec,
    /// Score distributions and thresholds of the screen: one entry per positive label, at arity 1.
    pub calibration: Vec<Calibration>,
}

/// A CSV file with the scores of the same images by several parts of the network. See
/// `docs/bundle.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JointFile {
    /// The name of the file in the bundle's folder.
    pub file: String,
    /// The SHA-256 of the file, 64 hex digits.
    pub sha256: String,
}

/// The confirm network: a network that tests images one at a time. It has the same `input` and the
/// same labels as the stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The name of the file in the bundle's folder.
    pub file: String,
    /// The SHA-256 of the file, 64 hex digits.
    pub sha256: String,
    /// Multiply-adds for one image.
    pub macs: u64,
    /// Score distributions and thresholds of the confirm network alone: one entry per positive
    /// label, at arity 1.
    pub calibration: Vec<Calibration>,
}

/// The measurements of one positive label at one arity, on data that the network was not trained
/// on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The name of the positive label.
    pub label: String,
    /// The number of images in a test, 1 to 64.
    pub arity: usize,
    /// If present: all images of the groups pass the last early exit (or else the screen) at its
    /// operating point of this sensitivity. Only in entries of `calibration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_sensitivity: Option<f64>,
    /// The number of positive groups that were measured. Each has exactly one positive.
    pub positives: u64,
    /// The number of negative groups that were measured.
    pub negatives: u64,
    /// Quantiles of the scores of positive groups, at evenly spaced probabilities from 0 to 1: at
    /// least 3, in ascending order.
    pub positive_scores: Vec<f32>,
    /// Quantiles of the scores of negative groups, in the same form.
    pub negative_scores: Vec<f32>,
    /// Thresholds, each with its sensitivity and specificity. At least one.
    pub operating_points: Vec<CalibratedThreshold>,
}

/// A threshold with its measured sensitivity and specificity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CalibratedThreshold {
    /// The share of positive groups with a score at or above the threshold, 0 to 1.
    pub sensitivity: f64,
    /// The share of negative groups with a score below the threshold, 0 to 1.
    pub specificity: f64,
    /// A test is positive if its score is at or above this threshold.
    pub threshold: f32,
}
