//! Turns the bytes of an image into the pixels that the bundle's input expects.
//!
//! The preprocessing is exactly that of `docs/bundle.md`. The bytes are not trusted: an image whose
//! header declares more pixels than allowed is not decoded, and a panic of a decoder on a damaged
//! image becomes a [`DecodeError`].

mod error;
mod header;
mod jpeg;
mod memory;
mod pixels;
mod png;
mod read;
mod resize;
mod webp;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use error::{DecodeError, DecodeFault};
pub use memory::DecodeMemory;

use crate::manifest::{Channels, InputSpec, Layout};
use memory::Room;
use pixels::Pixels;

/// Decodes and preprocesses images. All decoding threads share one preprocessor.
#[derive(Debug)]
pub struct Preprocessor {
    input: InputSpec,
    max_pixels: u64,
    memory: Option<Arc<DecodeMemory>>,
}

impl Preprocessor {
    /// The preprocessing for a bundle's input. Images whose header declares more than `max_pixels`
    /// pixels are refused.
    pub fn new(input: &InputSpec, max_pixels: u64) -> Self {
        Self { input: input.clone(), max_pixels, memory: None }
    }

    /// Lets images wait until `memory` has room for them.
    #[must_use]
    pub fn with_memory(self, memory: Arc<DecodeMemory>) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// The pixels of one image: [`InputSpec::len`] values from 0 to 255, in the input's size, channels
    /// and layout. `bytes` is a JPEG, PNG, WebP or GIF file; of an animation, the first frame is
    /// used.
    ///
    /// # Errors
    /// [`DecodeError`] if the format is not supported, if the image is damaged, or if it has too
    /// many pixels.
    pub fn pixels(&self, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        // Decoders are third-party code that reads untrusted bytes. A panic leaves no inconsistent
        // state in this crate.
        catch_unwind(AssertUnwindSafe(|| self.preprocess(bytes))).unwrap_or_else(|_| {
            Err(DecodeError::new(DecodeFault::Undecodable, "the decoder panicked"))
        })
    }

    fn preprocess(&self, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut room = Room::new(self.max_pixels, self.memory.as_deref());
        let decoded = read::read(bytes, &mut room, self.input.draft_size())?;
        let pixels =
            resize::fit(Pixels::new(decoded, self.input.channels == Channels::Grey), &self.input)?;
        Ok(laid_out(pixels, &self.input))
    }
}

/// The pixel values in the order of the input's channels and layout.
fn laid_out(pixels: Pixels, input: &InputSpec) -> Vec<u8> {
    let data = pixels.data;
    match (input.channels, input.layout) {
        (Channels::Grey, _) | (Channels::Rgb, Layout::Nhwc) => data,
        (Channels::Bgr, Layout::Nhwc) => {
            data.as_chunks().0.iter().flat_map(|&[r, g, b]| [b, g, r]).collect()
        }
        (Channels::Rgb, Layout::Nchw) => planes(&data, [0, 1, 2]),
        (Channels::Bgr, Layout::Nchw) => planes(&data, [2, 1, 0]),
    }
}

/// One plane after the other of interleaved pixels, in the order `channels`.
fn planes(pixels: &[u8], channels: [usize; 3]) -> Vec<u8> {
    let (pixels, _) = pixels.as_chunks::<3>();
    let mut planes = Vec::with_capacity(3 * pixels.len());
    for channel in channels {
        planes.extend(pixels.iter().map(|pixel| pixel[channel]));
    }
    planes
}
