//! CPU time of decoding and preprocessing, by image.

use std::fmt::Display;
use std::path::Path;

use dorfman_model::cpu::thread_time;
use dorfman_model::decode::Preprocessor;
use dorfman_model::manifest::{InputSpec, Resize};
use dorfman_model::{Bundle, image_files};

use super::super::CliError;
use super::figure;
use crate::config::decode::DecodeConfig;

/// Decodes each image of a folder `rounds` times, in full and with `draft: 1`, for the input of a
/// bundle, and prints the medians.
pub(super) fn run(bundle: &Path, images: &Path, rounds: usize) -> Result<(), CliError> {
    let bundle = Bundle::open(bundle).map_err(|e| CliError::Usage(e.to_string()))?;
    let input = bundle.manifest.input;
    let unreadable = |e: &dyn Display| CliError::Usage(format!("`--images`: {e}"));
    for path in image_files::find(images).map_err(|e| unreadable(&e))? {
        let bytes = std::fs::read(&path).map_err(|e| unreadable(&e))?;
        for (way, draft) in [("full", 0), ("draft", 1)] {
            let preprocessor = Preprocessor::new(
                &drafted(input.clone(), draft),
                DecodeConfig::default().max_pixels,
            );
            let mut times = Vec::new();
            for _ in 0..rounds {
                let begun = thread_time();
                let pixels = preprocessor.pixels(&bytes);
                times.push((thread_time() - begun).as_secs_f64() * 1e3);
                pixels.map_err(|e| CliError::Failed(format!("{path}: {e}")))?;
            }
            times.sort_by(f64::total_cmp);
            figure(&format!("decode, {way}: {path}"), format!("{:.3} ms", times[rounds / 2]), "");
        }
    }
    Ok(())
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
