//! What the paper's network saves in seconds.
//!
//! Its architecture runs in the worker's engine with weights by chance, and each test is answered by the score that the paper's own
//! networks gave, so that the retests are the paper's. Groups and individual tests take turns on the clock.

mod measure;
mod plan;
mod race;
mod recorded;
mod slice;
mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::CliError;
use crate::config::Config;
use crate::model::{Bundle, OnnxNetwork};
use crate::replay::{Archive, PREVALENCE_PERCENT, Recording, SEEDS};
use crate::worker::Loaded;
use measure::Setup;
use plan::PaperPlan;

/// The bundle of the plain network, which tests images alone.
const PLAIN: &str = "d1";

/// Arguments of the paper's bench.
#[derive(Debug, Args)]
pub(super) struct PaperArgs {
    /// paper: the recorded scores (docs/retesting.md).
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// paper: the folder of the bundles d1, d2 and d3.
    #[arg(long, value_name = "DIR", default_value = "target/paper")]
    bundles: PathBuf,
    /// paper: a chain of one design's tests and what makes them positive, as in d3:16,8,4,d3:1@0.5 or d2:16,4,1@worth=500; several of them.
    /// A test of one image is the plain network's, from the pixels on, unless its design is named.
    #[arg(long, value_name = "PLAN", default_value = plan::DEFAULT, value_delimiter = ' ', num_args = 1..)]
    plan: Vec<PaperPlan>,
    /// paper: groups of a plan. More take longer, and are mixed more exactly as all of them.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    groups: u64,
    /// paper: most rows of one run, of groups and individual tests alike.
    #[arg(long, value_name = "ROWS", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=128))]
    batch: u64,
    /// paper: which groups, in which order; and which half @worth and @margin are fitted on.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(args: &PaperArgs) -> Result<(), CliError> {
    let config = Config::parse("logging: {level: 'warn,ort=error'}", super::super::environment())?;
    crate::ops::logging::init(&config.logging).map_err(|e| CliError::Usage(e.to_string()))?;
    let recording = recording(args)?;
    // What is wrong with the last plan should not come out after the first one's minutes.
    args.plan.iter().try_for_each(|plan| {
        plan.over(&recording, args.seed)?;
        bundle(&args.bundles, plan.design()).map(drop)
    })?;
    let plain = bundle(&args.bundles, PLAIN)?;
    let (groups, batch) = (args.groups as usize, args.batch as usize);
    let setup = Setup { image_len: plain.manifest.input.len(), groups, batch, seed: args.seed };
    let loaded = load(&config, &plain)?;
    let machine = loaded.machine(&config);
    let mut plain = [loaded.network, load(&config, &plain)?.network];
    let mut staged: Option<(&str, OnnxNetwork)> = None;
    let mut rows = Vec::new();
    for plan in &args.plan {
        let design = plan.design();
        let stages = match staged.take().filter(|(open, _)| *open == design) {
            Some(open) => staged.insert(open),
            None => staged.insert((design, load(&config, &bundle(&args.bundles, design)?)?.network)),
        };
        let row = measure::measure(setup, plan, &recording, &mut stages.1, &mut plain)?;
        table::note(&row);
        rows.push(row);
    }
    table::print(&rows, &machine);
    Ok(())
}

fn recording(args: &PaperArgs) -> Result<Recording, CliError> {
    let Some(data) = &args.data else {
        return Err(CliError::Usage(
            "bench paper needs --data DIR, the folder of the paper's recorded scores (docs/retesting.md, Recordings)"
                .into(),
        ));
    };
    let archive = Archive::open(data)?;
    let recording = archive.recording(archive.folder_of(PREVALENCE_PERCENT, SEEDS[0])?)?;
    match recording.items().len() <= recorded::MOST_ITEMS {
        true => Ok(recording),
        false => Err(CliError::Usage(format!("{}: more than {} items", recording.name(), recorded::MOST_ITEMS))),
    }
}

/// A design's bundle; the plain network's is the one of one stage.
fn bundle(bundles: &Path, design: &str) -> Result<Bundle, CliError> {
    let folder = bundles.join(design.to_lowercase());
    if !folder.join("bundle.json").is_file() {
        return Err(CliError::Usage(format!(
            "there is no bundle in {}: `make bench-paper` writes it, by `python3 -m dorfman_training.paper --out {}`",
            folder.display(),
            bundles.display()
        )));
    }
    let bundle = Bundle::open(&folder).map_err(|e| CliError::Usage(e.to_string()))?;
    match (bundle.manifest.stages.len() == 1) == (design == PLAIN) {
        true => Ok(bundle),
        false => Err(CliError::Usage(format!(
            "bundle {}: {PLAIN} has one stage, any other design several; this one has {}",
            folder.display(),
            bundle.manifest.stages.len()
        ))),
    }
}

fn load(config: &Config, bundle: &Bundle) -> Result<Loaded, CliError> {
    let mut config = config.clone();
    config.engine.slots = measure::ROWS;
    Loaded::open(&config, bundle).map_err(|e| CliError::Failed(e.to_string()))
}
