//! A bundle's screen as an ONNX Runtime session.

use dorfman_core::engine::{NetworkPart, RunError};
use dorfman_core::screen::ScreenNetwork;
use ort::session::{Session, SessionOutputs};

use super::images::ImageInput;
use super::signature::check_single;
use super::tensors::{output, run_images};
use crate::{Bundle, Provider, Runtime, RuntimeError};

/// A bundle's screen in ONNX Runtime. One thread owns it.
#[derive(Debug)]
pub struct OnnxScreen {
    session: Session,
    image: ImageInput,
    labels: usize,
    macs: u64,
}

impl OnnxScreen {
    /// Creates the session of the bundle's screen. `None` if the bundle has none. `device` is the
    /// number of the GPU, from 0.
    ///
    /// # Errors
    /// [`RuntimeError`] if the provider is not available, if the file cannot be loaded, or if its
    /// inputs and outputs differ from those in `docs/bundle.md`.
    pub fn new(
        bundle: &Bundle,
        runtime: &Runtime,
        provider: Provider,
        device: i32,
    ) -> Result<Option<Self>, RuntimeError> {
        let Some(screen) = &bundle.manifest.screen else { return Ok(None) };
        let path = bundle.dir.join(&screen.file);
        let session = runtime.session(&path, provider, device)?;
        let image = ImageInput::new(&screen.input);
        let labels = bundle.manifest.labels.len();
        check_single(&session, "screen", &image, labels)
            .map_err(|message| RuntimeError::Model { path, message })?;
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
        let keep = |outputs: &SessionOutputs| {
            scores.extend_from_slice(output(outputs, "scores", wanted)?);
            Ok(())
        };
        run_images(&mut self.session, &mut self.image, images, keep).map_err(failed)
    }
}
