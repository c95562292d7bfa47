//! From an image's bytes to the tensor that the bundle's input asks for.
//!
//! In: bytes of unknown origin. Out: exactly the preprocessing of `docs/bundle.md`, or a [`Failure`]. Nothing is decoded whose header asks
//! for more pixels than allowed, and no image, however broken, takes the thread down.

mod jpeg;
mod pixels;
mod png;
mod read;
mod resize;
mod webp;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::config::decode::DecodeConfig;
use crate::message::{Failure, Reason};
use crate::model::manifest::{Channels, InputSpec, Layout};
use pixels::Pixels;

/// Decodes and preprocesses; shared by all threads of the pool.
#[derive(Debug)]
pub struct Preprocessor {
    input: InputSpec,
    max_pixels: u64,
    /// The normalised value of each of 256 levels, a table a channel.
    levels: Vec<[f32; 256]>,
}

impl Preprocessor {
    /// The preprocessing of a bundle's input.
    pub fn new(input: &InputSpec, config: &DecodeConfig) -> Self {
        let table = |(mean, std): (&f32, &f32)| std::array::from_fn(|x| (x as f32 - mean) / std);
        let levels = input.mean.iter().zip(&input.std).map(table).collect();
        Self { input: input.clone(), max_pixels: config.max_pixels, levels }
    }

    /// The tensor of one image: [`InputSpec::len`] values in the input's layout.
    ///
    /// # Errors
    /// [`Reason::UnsupportedFormat`], [`Reason::TooManyPixels`] or [`Reason::Undecodable`].
    pub fn tensor(&self, bytes: &[u8]) -> Result<Vec<f32>, Failure> {
        // Decoders are other people's code fed with anybody's bytes; nothing of ours is left half done by a panic in there.
        catch_unwind(AssertUnwindSafe(|| self.preprocess(bytes)))
            .unwrap_or_else(|_| Err(Failure::new(Reason::Undecodable, "the decoder panicked")))
    }

    fn preprocess(&self, bytes: &[u8]) -> Result<Vec<f32>, Failure> {
        let decoded = read::read(bytes, self.max_pixels)?;
        let pixels = resize::fit(Pixels::new(decoded, self.input.channels == Channels::Grey), &self.input)?;
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
                    tensor.extend(pixels.data.chunks_exact(channels).map(|pixel| table[usize::from(pixel[from])]));
                }
            }
            Layout::Nhwc => {
                for pixel in pixels.data.chunks_exact(channels) {
                    tensor.extend(self.levels.iter().zip(order).map(|(table, &from)| table[usize::from(pixel[from])]));
                }
            }
        }
        tensor
    }
}
