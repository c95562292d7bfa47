//! Opens a bundle, decodes the images for it, and has it evaluated.

use std::path::Path;

use dorfman_core::calibration::{CalibrationError, Thresholds};
use dorfman_core::engine::Network as _;
use dorfman_core::policy::PolicyInputs;
use dorfman_model::manifest::InputSpec;
use dorfman_model::{Bundle, LoadedNetwork, Profile};
use serde::Serialize;

use super::bundle_run::{BundleEvaluation, confirm_thresholds};
use super::decoded::DecodedImages;
use super::request::EvaluateRequest;
use super::row::ReportRow;
use super::screening::ScreenRun;
use super::split::Split;
use super::timing::TimedRunner;
use crate::labelled::LabelledImages;
use crate::{LabError, Progress};

/// A bundle in the report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BundleSummary {
    /// The folder, as the request names it.
    pub bundle: String,
    /// The name in the manifest.
    pub name: String,
    version: String,
    /// pixel, feature or tree.
    pub design: &'static str,
    /// Stages of the network.
    pub stages: usize,
    width: u32,
    height: u32,
    /// Multiply-adds of one image alone.
    macs_per_image: u64,
    /// Seconds in the network for one image alone.
    pub network_seconds_per_image: f64,
    /// Seconds of the engine's thread for one image alone, without decoding.
    pub wall_seconds_per_image: f64,
    /// CPU milliseconds to read, decode and preprocess an image.
    pub decode_ms_per_image: f64,
}

/// Opens a bundle and checks that it is calibrated for the sensitivities of the request.
///
/// # Errors
/// [`LabError::Bundle`].
pub(super) fn check(request: &EvaluateRequest, dir: &Path) -> Result<Bundle, LabError> {
    let bundle = Bundle::open(dir)?;
    for &pooled in &request.pooled_sensitivities {
        for &individual in &request.individual_sensitivities {
            bundle.thresholds(pooled, individual)?;
        }
    }
    for sensitivity in request.confirm(&bundle) {
        confirm_thresholds(&bundle, sensitivity)?;
    }
    Ok(bundle)
}

/// Evaluates a bundle. `decoded` has the images of the bundle before. They are used again if the input
/// is the same.
///
/// # Errors
/// [`LabError`].
pub(super) fn evaluate(
    request: &EvaluateRequest,
    dir: &Path,
    images: &LabelledImages,
    decoded: &mut Option<DecodedImages>,
    progress: &dyn Progress,
) -> Result<(BundleSummary, Vec<ReportRow>), LabError> {
    let bundle = check(request, dir)?;
    let loaded = load(request, &bundle)?;
    let profile = Profile::find(&bundle, &loaded.machine(&request.load)).ok().flatten();
    let LoadedNetwork { mut network, screen, provider, .. } = loaded;
    let mut individual_network = load(request, &bundle)?.network;
    let decoded = decode(request, &bundle.manifest.input, images, decoded, progress)?;
    let mut small = None;
    let screen = match (screen, &bundle.manifest.screen) {
        (Some(network), Some(of)) if request.uses_exits() => {
            let decoded = decode(request, &of.input, images, &mut small, progress)?;
            Some(ScreenRun { network, decoded, scored: None })
        }
        _ => None,
    };
    let split = Split::new(images, |image| decoded.has(image));
    if split.positives.is_empty() || split.negatives.is_empty() {
        return Err(LabError::OneKind);
    }
    let mut reference: Vec<usize> =
        split.positives.iter().chain(&split.negatives).copied().collect();
    fastrand::Rng::with_seed(request.seed).shuffle(&mut reference);
    let macs = network.shape().individual_macs();
    let runner = TimedRunner {
        network: &mut network,
        individual_network: &mut individual_network,
        image: &|image| decoded.pixels(image).to_vec(),
        settings: request.batching.settings(provider, request.max_wait),
        pass_all: pass_all(&bundle),
        reference,
        seconds: request.repeat,
    };
    let mut evaluation = BundleEvaluation {
        request,
        bundle: &bundle,
        summary: summary(dir, &bundle, macs, decoded.decode_ms),
        split: &split,
        images: images.images.len(),
        runner,
        screen,
        profile,
        inputs: inputs(request, &bundle)?,
        progress,
    };
    let rows = evaluation.rows()?;
    Ok((evaluation.summary, rows))
}

/// Loads the network, and the confirm network if a row uses it.
fn load(request: &EvaluateRequest, bundle: &Bundle) -> Result<LoadedNetwork, LabError> {
    let mut bundle = bundle.clone();
    if request.confirm(&bundle).iter().all(Option::is_none) {
        bundle.manifest.confirm = None;
    }
    Ok(LoadedNetwork::open(&bundle, &request.load)?)
}

/// The images of the bundle before if the input is the same, or else newly decoded images.
fn decode<'a>(
    request: &EvaluateRequest,
    input: &InputSpec,
    images: &LabelledImages,
    decoded: &'a mut Option<DecodedImages>,
    progress: &dyn Progress,
) -> Result<&'a DecodedImages, LabError> {
    if decoded.as_ref().is_none_or(|decoded| decoded.input != *input) {
        // The old images are dropped first: both together may not fit in memory.
        *decoded = None;
    }
    let (threads, max_pixels) = (request.decode_threads, request.max_pixels);
    Ok(match decoded {
        Some(decoded) => decoded,
        None => {
            decoded.insert(DecodedImages::decode(images, input, threads, max_pixels, progress)?)
        }
    })
}

/// The inputs of policies, if a policy of the request needs them.
fn inputs(request: &EvaluateRequest, bundle: &Bundle) -> Result<Option<PolicyInputs>, LabError> {
    let needed = request.policies.iter().any(|policy| policy.needs_inputs());
    let inputs = needed.then(|| bundle.policy_inputs(request.prior)).transpose();
    let wrong =
        |source: CalibrationError| LabError::Calibration { bundle: bundle.dir.clone(), source };
    inputs.map_err(wrong)
}

/// Thresholds that every score of a positive label passes.
fn pass_all(bundle: &Bundle) -> Thresholds {
    let labels = bundle.manifest.labels.iter().enumerate();
    let columns = labels.filter(|(_, label)| label.positive).map(|(column, _)| column);
    Thresholds::new(columns.collect(), |_, _| f32::NEG_INFINITY)
}

/// A bundle without the seconds of individual testing, which are not measured yet.
fn summary(dir: &Path, bundle: &Bundle, macs: u64, decode_ms: f64) -> BundleSummary {
    let manifest = &bundle.manifest;
    let stages = manifest.stages.len();
    BundleSummary {
        bundle: dir.display().to_string(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        design: match stages - bundle.item_stages() {
            0 => "pixel",
            1 => "feature",
            _ => "tree",
        },
        stages,
        width: manifest.input.width,
        height: manifest.input.height,
        macs_per_image: macs,
        network_seconds_per_image: 0.0,
        wall_seconds_per_image: 0.0,
        decode_ms_per_image: decode_ms,
    }
}
