//! Turns the bytes of an image into the pixels that the bundle's input expects.
//!
//! The preprocessing is exactly that of `docs/bundle.md`. The bytes are not trusted: an image whose
//! header declares more pixels than allowed is not decoded, and a panic of a decoder on a damaged
//! image becomes a [`DecodeError`].

mod avif;
mod bmp;
mod canvas;
mod error;
mod exif;
mod frames;
mod gif;
mod header;
mod jpeg;
mod memory;
mod pixels;
mod png;
mod raster;
mod read;
mod resize;
mod webp;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use error::{DecodeError, DecodeFault};
pub use memory::DecodeMemory;

use crate::manifest::{Channels, InputSpec, Layout};
use frames::Wanted;
use memory::Room;
use pixels::Pixels;
use read::{Outcome, Request};

/// Decodes and preprocesses images. All decoding threads share one preprocessor.
#[derive(Debug)]
pub struct Preprocessor {
    input: InputSpec,
    max_pixels: u64,
    incomplete: bool,
    memory: Option<Arc<DecodeMemory>>,
}

/// The frames of an image file that were decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    /// The decoded frames, by rising numbers. Not empty.
    pub decoded: Vec<Frame>,
    /// Frames in the file, as far as it is known. At least 1.
    pub total: u32,
    /// Whether the file ends early, so that pixels or frames are missing.
    pub incomplete: bool,
}

/// A frame of an image file. A still image has one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The number of the frame, from 0.
    pub number: u32,
    /// The pixels: [`InputSpec::len`] values from 0 to 255, in the input's size, channels and layout.
    pub pixels: Vec<u8>,
}

impl Preprocessor {
    /// The preprocessing for a bundle's input. Images whose header declares more than `max_pixels`
    /// pixels are refused.
    pub fn new(input: &InputSpec, max_pixels: u64) -> Self {
        Self { input: input.clone(), max_pixels, incomplete: false, memory: None }
    }

    /// Lets images wait until `memory` has room for them.
    #[must_use]
    pub fn with_memory(self, memory: Arc<DecodeMemory>) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// Sets whether files that end early are decoded as far as they go. By default, they are refused.
    #[must_use]
    pub fn with_incomplete(self, incomplete: bool) -> Self {
        Self { incomplete, ..self }
    }

    /// The pixels of the first frame of an image: [`InputSpec::len`] values from 0 to 255, in the input's
    /// size, channels and layout. `bytes` is a JPEG, PNG, WebP, GIF, AVIF, BMP or TIFF file.
    ///
    /// # Errors
    /// [`DecodeError`] if the format is not supported, if the image is damaged, or if it has too
    /// many pixels.
    pub fn pixels(&self, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        self.frame(bytes, 0)
    }

    /// The pixels of one frame, by its number from 0, as [`Preprocessor::pixels`].
    ///
    /// # Errors
    /// As [`Preprocessor::pixels`], also if there is no such frame.
    pub fn frame(&self, bytes: &[u8], number: u32) -> Result<Vec<u8>, DecodeError> {
        let frames = self.decode(bytes, Wanted::Only(number))?.decoded;
        let found = frames.into_iter().find(|frame| frame.number == number);
        let missing = || DecodeError::new(DecodeFault::Undecodable, "a frame is missing");
        found.map(|frame| frame.pixels).ok_or_else(missing)
    }

    /// At most `most` frames of an image, at least 1: the first one, and others at equal distances up to
    /// the last one. Of a very long animation, only the start is sampled.
    ///
    /// # Errors
    /// As [`Preprocessor::pixels`].
    pub fn frames(&self, bytes: &[u8], most: u32) -> Result<Frames, DecodeError> {
        self.decode(bytes, Wanted::Sampled(most))
    }

    fn decode(&self, bytes: &[u8], wanted: Wanted) -> Result<Frames, DecodeError> {
        // Decoders are third-party code that reads untrusted bytes. A panic leaves no inconsistent
        // state in this crate.
        catch_unwind(AssertUnwindSafe(|| self.preprocess(bytes, wanted))).unwrap_or_else(|_| {
            Err(DecodeError::new(DecodeFault::Undecodable, "the decoder panicked"))
        })
    }

    fn preprocess(&self, bytes: &[u8], wanted: Wanted) -> Result<Frames, DecodeError> {
        let mut room = Room::new(self.max_pixels, self.memory.as_deref());
        let draft = self.input.draft_size();
        let request = Request { draft, wanted, incomplete: self.incomplete };
        let grey = self.input.channels == Channels::Grey;
        let mut decoded = Vec::new();
        let mut each = |number, frame| {
            let pixels = laid_out(resize::fit(Pixels::new(frame, grey), &self.input)?, &self.input);
            decoded.push(Frame { number, pixels });
            Ok(())
        };
        let Outcome { frames, incomplete } = read::read(bytes, &mut room, &request, &mut each)?;
        Ok(Frames { decoded, total: frames, incomplete })
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
