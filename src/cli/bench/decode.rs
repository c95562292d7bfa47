//! CPU time of decoding and preprocessing, by image.

use std::path::{Path, PathBuf};

use dorfman_model::Bundle;
use dorfman_model::cpu::thread_time;
use dorfman_model::decode::Preprocessor;
use dorfman_model::manifest::{InputSpec, Resize};

use super::super::CliError;
use super::figure;
use crate::config::decode::DecodeConfig;

/// Decodes each image of a folder `rounds` times, in full and with `draft: 1`, for the input of a
/// bundle, and prints the medians.
pub(super) fn run(bundle: &Path, images: &Path, rounds: usize) -> Result<(), CliError> {
    let bundle = Bundle::open(bundle).map_err(|e| CliError::Usage(e.to_string()))?;
    let input = bundle.manifest.input;
    for path in files(images)? {
        let bytes = std::fs::read(&path).map_err(|e| unreadable(&path, &e))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for (way, draft) in [("full", 0), ("draft", 1)] {
            let preprocessor = Preprocessor::new(
                &drafted(input.clone(), draft),
                DecodeConfig::default().max_pixels,
            );
            let mut times = Vec::new();
            for _ in 0..rounds {
                let begun = thread_time();
                let tensor = preprocessor.tensor(&bytes);
                times.push((thread_time() - begun).as_secs_f64() * 1e3);
                tensor.map_err(|e| CliError::Failed(format!("{}: {e}", path.display())))?;
            }
            times.sort_by(f64::total_cmp);
            figure(&format!("decode, {way}: {name}"), format!("{:.3} ms", times[rounds / 2]), "");
        }
    }
    Ok(())
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let entries = std::fs::read_dir(folder).map_err(|e| unreadable(folder, &e))?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.is_file());
    found.sort();
    Ok(found)
}

fn drafted(input: InputSpec, gap: u32) -> InputSpec {
    let resize = match input.resize {
        Resize::Stretch { filter, .. } => Resize::Stretch { filter, draft: gap },
        Resize::ShortSide { short_side, filter, .. } => {
            Resize::ShortSide { short_side, filter, draft: gap }
        }
    };
    InputSpec { resize, ..input }
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::Usage(format!("`--images` {}: {error}", path.display()))
}
