//! The seconds that group testing saves on the paper's network.
//!
//! The paper's architecture runs in the worker's engine with random weights. The result of each
//! test is the score that the paper's own network gave, so the retests are those of the paper.
//! Groups and individual tests run in turns.

mod measure;
mod plan;
mod recorded;
mod sample;
mod table;
#[cfg(test)]
mod tests;
mod timed;

use std::path::{Path, PathBuf};

use dorfman_model::profile::Machine;
use dorfman_model::{Bundle, LoadOptions, LoadedNetwork, OnnxNetwork};

use crate::replay::{Archive, PREVALENCE_PERCENT, Recording, SEEDS};
use crate::{LabError, Progress};
use measure::{MeasureSettings, Measured, Networks};
pub use plan::{DEFAULT_PLANS, PaperPlan, PaperPlanError};

/// The bundle of the plain network, which tests images alone.
const PLAIN: &str = "d1";

/// What to measure.
#[derive(Debug, Clone)]
pub struct PaperRequest {
    /// The folder of the recorded scores.
    pub data: PathBuf,
    /// The folder of the bundles d1, d2 and d3.
    pub bundles: PathBuf,
    /// The plans.
    pub plans: Vec<PaperPlan>,
    /// Groups per plan. More groups take longer and match the mean of all groups better.
    pub groups: usize,
    /// Rows per run of a stage, at most 128.
    pub batch: usize,
    /// The seed of the samples and of the halves on which plans are fitted.
    pub seed: u64,
    /// How the networks are loaded. The number of slots is not used: it is always 128.
    pub load: LoadOptions,
}

/// The measurements of all plans.
#[derive(Debug)]
pub struct PaperReport {
    rows: Vec<Measured>,
    machine: Machine,
}

/// Measures all plans. Calls `each` with a line of text about each plan after its measurement. All
/// plans and bundles are checked before the first plan is measured.
///
/// # Errors
/// [`LabError`] if recordings or bundles are missing or wrong, or if the engine or the network
/// fails.
pub fn run(
    request: &PaperRequest,
    progress: &dyn Progress,
    each: &mut dyn FnMut(&str),
) -> Result<PaperReport, LabError> {
    let recording = recording(&request.data)?;
    for plan in &request.plans {
        plan.over(&recording, request.seed)?;
        bundle(&request.bundles, plan.design())?;
    }
    let options = LoadOptions { slots: measure::SLOTS, ..request.load.clone() };
    let plain = bundle(&request.bundles, PLAIN)?;
    let settings = MeasureSettings {
        image_len: plain.manifest.input.len(),
        groups: request.groups,
        batch: request.batch,
        seed: request.seed,
    };
    let loaded = LoadedNetwork::open(&plain, &options)?;
    let machine = loaded.machine(&options);
    let (mut plain, mut individual) =
        (loaded.network, LoadedNetwork::open(&plain, &options)?.network);
    let mut open: Option<(&str, OnnxNetwork)> = None;
    let mut rows = Vec::new();
    for plan in &request.plans {
        let design = plan.design();
        // One network of several stages is open at a time: they are large.
        let (_, stages) = match open.take().filter(|(name, _)| *name == design) {
            Some(same) => open.insert(same),
            None => {
                let bundle = bundle(&request.bundles, design)?;
                open.insert((design, LoadedNetwork::open(&bundle, &options)?.network))
            }
        };
        let networks = Networks { stages, plain: &mut plain, individual: &mut individual };
        let row = measure::measure(settings, plan, &recording, networks, progress)?;
        each(&table::line(&row));
        rows.push(row);
    }
    Ok(PaperReport { rows, machine })
}

impl PaperReport {
    /// The report as a table with notes.
    pub fn table(&self) -> String {
        table::text(&self.rows, &self.machine)
    }
}

fn recording(data: &Path) -> Result<Recording, LabError> {
    let archive = Archive::open(data)?;
    let recording = archive.recording(archive.folder_of(PREVALENCE_PERCENT, SEEDS[0])?)?;
    let (items, most) = (recording.items().len(), recorded::MOST_ITEMS);
    if items > most {
        let recording = recording.name().to_owned();
        return Err(LabError::TooManyItems { recording, items, most });
    }
    Ok(recording)
}

/// The bundle of a design. The plain network has one stage.
fn bundle(bundles: &Path, design: &str) -> Result<Bundle, LabError> {
    let folder = bundles.join(design.to_lowercase());
    if !folder.join("bundle.json").is_file() {
        return Err(LabError::NoPaperBundle { folder, bundles: bundles.to_owned() });
    }
    let bundle = Bundle::open(&folder).map_err(LabError::PaperBundle)?;
    let stages = bundle.manifest.stages.len();
    if (stages == 1) != (design == PLAIN) {
        return Err(LabError::PaperStages { folder, stages });
    }
    Ok(bundle)
}
