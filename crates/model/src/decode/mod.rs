//! Turns the bytes of an image into the tensor that the bundle's input expects.
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
    /// One table per channel, with the normalised value of each of the 256 levels.
    levels: Vec<[f32; 256]>,
}

impl Preprocessor {
    /// The preprocessing for a bundle's input. Images whose header declares more than `max_pixels`
    /// pixels are refused.
    pub fn new(input: &InputSpec, max_pixels: u64) -> Self {
        let table = |(mean, std): (&f32, &f32)| std::array::from_fn(|x| (x as f32 - mean) / std);
        let levels = input.mean.iter().zip(&input.std).map(table).collect();
        Self { input: input.clone(), max_pixels, memory: None, levels }
    }

    /// Lets images wait until `memory` has room for them.
    #[must_use]
    pub fn with_memory(self, memory: Arc<DecodeMemory>) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// The tensor of one image: [`InputSpec::len`] normalised values in the input's layout. `bytes`
    /// is a JPEG, PNG, WebP or GIF file; of an animation, the first frame is used.
    ///
    /// # Errors
    /// [`DecodeError`] if the format is not supported, if the image is damaged, or if it has too
    /// many pixels.
    pub fn tensor(&self, bytes: &[u8]) -> Result<Vec<f32>, DecodeError> {
        // Decoders are third-party code that reads untrusted bytes. A panic leaves no inconsistent
        // state in this crate.
        catch_unwind(AssertUnwindSafe(|| self.preprocess(bytes))).unwrap_or_else(|_| {
            Err(DecodeError::new(DecodeFault::Undecodable, "the decoder panicked"))
        })
    }

    fn preprocess(&self, bytes: &[u8]) -> Result<Vec<f32>, DecodeError> {
        let mut room = Room::new(self.max_pixels, self.memory.as_deref());
        let decoded = read::read(bytes, &mut room, self.input.draft_size())?;
        let pixels =
            resize::fit(Pixels::new(decoded, self.input.channels == Channels::Grey), &self.input)?;
        Ok(self.normalise(&pixels))
    }

    fn normalise(&self, pixels: &Pixels) -> Vec<f32> {
        let order: &[usize] = match self.input.channels {
            Channels::Grey => &[0],
            Channels::Rgb => &[0, 1, 2],
            Channels::Bgr => &[2, 1, 0],
        };
        let channels = order.len();
        let mut tensor = Vec::with_capacity(self.input.len());
        match self.input.layout {
            Layout::Nchw => {
                for (table, &from) in self.levels.iter().zip(order) {
                    tensor.extend(
                        pixels
                            .data
                            .chunks_exact(channels)
                            .map(|pixel| table[usize::from(pixel[from])]),
                    );
                }
            }
            Layout::Nhwc => {
                for pixel in pixels.data.chunks_exact(channels) {
                    tensor.extend(
                        self.levels
                            .iter()
                            .zip(order)
                            .map(|(table, &from)| table[usize::from(pixel[from])]),
                    );
                }
            }
        }
        tensor
    }
}
