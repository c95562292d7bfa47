//! A bundle's screen as an ONNX Runtime session.

use dorfman_core::engine::{NetworkPart, RunError};
use dorfman_core::screen::ScreenNetwork;
use dorfman_device::{BoundSession, Input};

use super::images::ImageInput;
use super::signature::check_single;
use super::tensors::{append, run};
use crate::{Bundle, Runtime, RuntimeError, Target};

/// A bundle's screen in ONNX Runtime. One thread owns it.
#[derive(Debug)]
pub struct OnnxScreen {
    session: BoundSession,
    image: ImageInput,
    labels: usize,
    macs: u64,
}

impl OnnxScreen {
    /// Creates the session of the bundle's screen. `None` if the bundle has none.
    ///
    /// # Errors
    /// [`RuntimeError`] if the provider is not available, if the file cannot be loaded, or if its
    /// inputs and outputs differ from those in `docs/bundle.md`.
    pub fn new(
        bundle: &Bundle,
        runtime: &Runtime,
        target: &Target,
    ) -> Result<Option<Self>, RuntimeError> {
        let Some(screen) = &bundle.manifest.screen else { return Ok(None) };
        let path = bundle.dir.join(&screen.file);
        let session = runtime.session(&path, &screen.sha256, target)?;
        let image = ImageInput::new(&screen.input);
        let labels = bundle.manifest.labels.len();
        check_single(&session, "screen", &image, labels)
            .map_err(|message| RuntimeError::Model { path: path.clone(), message })?;
        let session = BoundSession::new(session)
            .map_err(|e| RuntimeError::Model { path, message: e.to_string() })?;
        Ok(Some(Self { session, image, labels, macs: screen.macs }))
    }
}

impl ScreenNetwork for OnnxScreen {
    fn labels(&self) -> usize {
        self.labels
    }

    fn macs(&self) -> u64 {
        self.macs
    }

    fn score(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        let failed = |message: String| RunError { part: NetworkPart::Screen, message };
        let wanted = images.len() * self.labels;
        let images = self.image.tensor(images).map_err(failed)?;
        let inputs = [("images", Input::Tensor(&images))];
        run(&mut self.session, &inputs, None, &["scores"], |outputs| {
            append(scores, outputs, "scores", wanted)
        })
        .map_err(failed)
    }
}
