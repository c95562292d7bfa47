//! Why an experiment cannot be carried out.

use std::path::PathBuf;

use dorfman_core::calibration::CalibrationError;
use dorfman_core::engine::EngineError;
use dorfman_core::policy::{PlanError, PlanSpec};
use dorfman_model::{BundleError, RuntimeError};

use crate::chart::PictureError;
use crate::labelled::DataError;
use crate::replay::ReplayError;

/// Why an experiment cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A bundle cannot be opened, or it is not calibrated for a sensitivity of the request.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A bundle of the paper's network cannot be opened.
    #[error(transparent)]
    PaperBundle(BundleError),
    /// A bundle of the paper's network does not exist.
    #[error(
        "there is no bundle in {}: `make bench-paper` writes it with \
         `python3 -m dorfman_training.paper --out {}`",
        folder.display(),
        bundles.display()
    )]
    NoPaperBundle {
        /// The folder of the bundle.
        folder: PathBuf,
        /// The folder of all bundles.
        bundles: PathBuf,
    },
    /// A bundle of the paper's network has the wrong number of stages.
    #[error(
        "bundle {}: d1 must have one stage and any other design several; this bundle has {stages}",
        folder.display()
    )]
    PaperStages {
        /// The folder of the bundle.
        folder: PathBuf,
        /// Its stages.
        stages: usize,
    },
    /// A recording has more items than the paper's network can tell apart.
    #[error("{recording}: has {items} items; at most {most} are possible")]
    TooManyItems {
        /// The folder of the recording.
        recording: String,
        /// Its items.
        items: usize,
        /// The largest number of items.
        most: usize,
    },
    /// ONNX Runtime cannot load a network.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The engine cannot continue.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The parameters do not make a plan.
    #[error("{plan}: {source}")]
    Plan {
        /// The policy and the group size.
        plan: String,
        /// The error.
        source: PlanError,
    },
    /// The calibration of a bundle lacks an operating point or a distribution.
    #[error("bundle {}: calibration: {source}", bundle.display())]
    Calibration {
        /// The folder of the bundle.
        bundle: PathBuf,
        /// The error.
        source: CalibrationError,
    },
    /// A plan has tests for which the bundle is not calibrated.
    #[error(
        "the plan {0} has tests of a size or a sensitivity for which the bundle is not calibrated"
    )]
    NotCalibrated(String),
    /// A profile lacks a stage of the bundle.
    #[error("the profile lacks a stage of the bundle {}", .0.display())]
    ProfileLacksStage(PathBuf),
    /// Scores cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// There are no labelled images.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The labelled images were found but cannot be read any more.
    #[error(transparent)]
    DataLost(DataError),
    /// More images than allowed cannot be decoded.
    #[error("{failed} of {images} images can't be decoded, the first {first}: {reason}")]
    Undecodable {
        /// Images that cannot be decoded.
        failed: usize,
        /// All images.
        images: usize,
        /// The name of the first image that cannot be decoded.
        first: String,
        /// Why it cannot be decoded.
        reason: String,
    },
    /// No image of one kind could be decoded.
    #[error("no positives or no negatives could be decoded")]
    OneKind,
    /// A picture cannot be drawn.
    #[error("the picture cannot be drawn: {0}")]
    Picture(PictureError),
    /// A contradiction that only a bug can cause.
    #[error("a bug: {0}")]
    Bug(String),
}

impl LabError {
    /// The error of a plan's parameters.
    pub(crate) fn plan(spec: &PlanSpec, source: PlanError) -> Self {
        Self::Plan { plan: format!("{} with groups of {}", spec.policy, spec.group_size), source }
    }

    /// Whether the user's arguments, configuration or data are the cause (exit code 64 of the
    /// command line). All other errors are failures while the experiment runs (exit code 1).
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Bundle(error) => matches!(error, BundleError::Sensitivity { .. }),
            Self::PaperBundle(_)
            | Self::NoPaperBundle { .. }
            | Self::PaperStages { .. }
            | Self::TooManyItems { .. }
            | Self::Plan { .. }
            | Self::Calibration { .. }
            | Self::NotCalibrated(_)
            | Self::ProfileLacksStage(_)
            | Self::Replay(_)
            | Self::Data(_) => true,
            Self::Runtime(_)
            | Self::Engine(_)
            | Self::DataLost(_)
            | Self::Undecodable { .. }
            | Self::OneKind
            | Self::Picture(_)
            | Self::Bug(_) => false,
        }
    }
}
