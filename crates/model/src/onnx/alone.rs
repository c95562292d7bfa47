//! A network that scores single images: a screen or a confirm network.

use std::path::PathBuf;

use dorfman_device::{BoundSession, Input, Run};

use super::images::ImageInput;
use super::signature::check_single;
use super::tensors::{append, run};
use crate::manifest::InputSpec;
use crate::{Runtime, RuntimeError, Target};

/// A network from `images` to `scores`.
#[derive(Debug)]
pub struct AloneNetwork {
    session: BoundSession,
    image: ImageInput,
    labels: usize,
}

impl AloneNetwork {
    /// Creates the session of a file with the SHA-256 `sha256`. `what` is the kind of network, for
    /// messages.
    ///
    /// # Errors
    /// [`RuntimeError`] if the provider is not available, if the file cannot be loaded, or if its
    /// inputs and outputs differ from those in `docs/bundle.md`.
    pub fn new(
        what: &str,
        (path, sha256): (PathBuf, &str),
        input: &InputSpec,
        labels: usize,
        (runtime, target): (&Runtime, &Target),
    ) -> Result<Self, RuntimeError> {
        let session = runtime.session(&path, sha256, target)?;
        let image = ImageInput::new(input);
        let session = check_single(&session, what, &image, labels)
            .and_then(|()| BoundSession::new(session).map_err(|e| e.to_string()))
            .map_err(|message| RuntimeError::Model { path, message })?;
        Ok(Self { session, image, labels })
    }

    /// The number of labels.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// Appends the scores `[N, labels]` of images, row by row. The error is the message of the
    /// runtime.
    pub fn score(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), String> {
        let wanted = images.len() * self.labels;
        let images = self.image.tensor(images)?;
        let inputs = &[("images", Input::Tensor(&images))];
        run(&mut self.session, Run { inputs, slots: None, host: &["scores"] }, |outputs| {
            append(scores, outputs, "scores", wanted)
        })
    }
}
