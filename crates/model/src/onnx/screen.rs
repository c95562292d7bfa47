//! A bundle's screen as an ONNX Runtime session.

use dorfman_core::engine::{NetworkPart, RunError};
use dorfman_core::screen::ScreenNetwork;

use super::alone::AloneNetwork;
use crate::{Bundle, Runtime, RuntimeError, Target};

/// A bundle's screen in ONNX Runtime. One thread owns it.
#[derive(Debug)]
pub struct OnnxScreen {
    network: AloneNetwork,
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
        let file = (bundle.dir.join(&screen.file), &screen.sha256[..]);
        let labels = bundle.manifest.labels.len();
        let on = (runtime, target);
        let network = AloneNetwork::new("screen", file, &screen.input, labels, on)?;
        Ok(Some(Self { network, macs: screen.macs }))
    }
}

impl ScreenNetwork for OnnxScreen {
    fn labels(&self) -> usize {
        self.network.labels()
    }

    fn macs(&self) -> u64 {
        self.macs
    }

    fn score(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        let failed = |message: String| RunError { part: NetworkPart::Screen, message };
        self.network.score(images, scores).map_err(failed)
    }
}
