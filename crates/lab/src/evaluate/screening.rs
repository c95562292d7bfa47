//! The screen on all images: its scores, and its cost in turns with individual testing.

use dorfman_core::engine::EngineError;
use dorfman_core::screen::ScreenNetwork;
use dorfman_model::OnnxScreen;
use dorfman_model::profile::Spread;

use super::decoded::DecodedImages;
use super::row::Screening;
use crate::LabError;

/// The screen of a bundle with the images that are preprocessed for it.
pub(super) struct ScreenRun<'a> {
    /// The network.
    pub network: OnnxScreen,
    /// The images.
    pub decoded: &'a DecodedImages,
    /// The result, after the first run.
    pub scored: Option<ScreenScores>,
}

/// The scores and the cost of the screen.
pub(super) struct ScreenScores {
    /// By image: one score per label. Empty for an image that could not be decoded.
    pub scores: Vec<Vec<f32>>,
    /// The cost.
    pub screening: Screening,
}

impl ScreenRun<'_> {
    /// Scores `images`, of `all` images in all, in batches of `batch`. `reference` is called after
    /// every few batches; it runs individual testing for a while and returns its seconds in the
    /// network per image.
    ///
    /// # Errors
    /// [`LabError`] if a network fails.
    pub fn score(
        &mut self,
        images: &[usize],
        all: usize,
        batch: usize,
        mut reference: impl FnMut() -> Result<f64, LabError>,
    ) -> Result<ScreenScores, LabError> {
        let labels = self.network.labels();
        let mut scores = vec![Vec::new(); all];
        let (mut seconds, mut relative) = (0.0, Vec::new());
        for turn in images.chunks(16 * batch) {
            let mut spent = 0.0;
            for part in turn.chunks(batch) {
                let pixels: Vec<&[u8]> =
                    part.iter().map(|&image| self.decoded.pixels(image)).collect();
                let mut out = Vec::new();
                let start = std::time::Instant::now();
                self.network.score(&pixels, &mut out).map_err(EngineError::from)?;
                spent += start.elapsed().as_secs_f64();
                for (&image, scored) in part.iter().zip(out.chunks(labels)) {
                    scores[image] = scored.to_vec();
                }
            }
            seconds += spent;
            relative.push(spent / turn.len() as f64 / reference()?);
        }
        let screening = Screening {
            macs: self.network.macs(),
            relative_seconds: Spread::of(relative).median,
            seconds_per_image: seconds / images.len().max(1) as f64,
        };
        Ok(ScreenScores { scores, screening })
    }
}
