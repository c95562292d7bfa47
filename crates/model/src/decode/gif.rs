//! Decodes GIF with the gif crate.

use std::io::Cursor;
use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, DisposalMethod, Frame, MemoryLimit};
use image::metadata::Orientation;

use super::canvas::{Area, Blend, Canvas, Disposal};
use super::header::check_size;
use super::memory::Room;
use super::pixels::Samples;
use super::read::{Each, Outcome, Request};
use super::{DecodeError, DecodeFault};

/// The bytes of memory per pixel of the canvas: the canvas, what a frame replaces, and a copy of the canvas.
const BYTES_PER_PIXEL: u64 = 12;

/// The bytes of memory per pixel of the largest frame.
const BYTES_PER_FRAME_PIXEL: u64 = 4;

/// The bytes that the extensions of a file may take.
const EXTENSIONS: u64 = 16 << 20;

/// Decodes the wanted frames of a GIF, each drawn on the canvas with the frames before it.
pub(super) fn read(
    bytes: &[u8],
    room: &mut Room<'_>,
    request: &Request,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    let Contents { width, height, largest, frames } = Contents::read(bytes)?;
    check_size(width, height, room.max_pixels())?;
    if largest > room.max_pixels() {
        let what = "GIF: a frame has more pixels than the limit in `decode.max_pixels`";
        return Err(DecodeError::new(DecodeFault::TooManyPixels, what));
    }
    let pixels_of_canvas = u64::from(width) * u64::from(height);
    room.take(pixels_of_canvas * BYTES_PER_PIXEL + largest * BYTES_PER_FRAME_PIXEL);
    // A frame may be larger than the canvas.
    let wanted = request.wanted.of(frames, pixels_of_canvas.max(largest));
    let mut decoder = open(bytes, false)?;
    let mut canvas = Canvas::new(width, height);
    for number in 0..=wanted.last().copied().unwrap_or_default() {
        let Some(frame) = decoder.next_frame_info().map_err(|e| failure(&e))?.cloned() else {
            return Err(DecodeError::new(DecodeFault::Undecodable, "GIF: a frame is missing"));
        };
        let (pixels, rows) = pixels(&mut decoder, &frame)?;
        let missing = rows < usize::from(frame.height);
        if missing {
            let what = "GIF: the data of a frame end early";
            request.accept_incomplete(what)?;
            if number == 0 && rows == 0 {
                return Err(DecodeError::new(DecodeFault::Undecodable, what));
            }
        }
        canvas.draw(area(&frame), &pixels, Blend::Over, disposal(frame.dispose));
        if wanted.contains(&number) || missing {
            each(number, canvas.decoded(Orientation::NoTransforms))?;
        }
        if missing {
            return Ok(Outcome { frames, incomplete: true });
        }
    }
    Ok(Outcome { frames, incomplete: false })
}

/// What the blocks of a file say.
struct Contents {
    width: u32,
    height: u32,
    /// Pixels of the largest frame.
    largest: u64,
    /// Frames whose headers are there. At least 1.
    frames: u32,
}

impl Contents {
    /// Reads the headers of all frames. The screen is at least as large as the first frame, as in
    /// browsers and in Pillow.
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = open(bytes, true)?;
        let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
        let mut contents = Self { width, height, largest: 0, frames: 0 };
        loop {
            match decoder.next_frame_info() {
                Ok(Some(frame)) => contents.add(area(frame)),
                Err(error) if contents.frames == 0 => return Err(failure(&error)),
                // Many files lack their end. If a frame is incomplete, its rows show it.
                Ok(None) | Err(_) => break,
            }
        }
        if contents.frames == 0 {
            return Err(DecodeError::new(DecodeFault::Undecodable, "GIF: the file has no frame"));
        }
        Ok(contents)
    }

    fn add(&mut self, area: Area) {
        if self.frames == 0 {
            self.width = self.width.max(area.x + area.width);
            self.height = self.height.max(area.y + area.height);
        }
        self.largest = self.largest.max(u64::from(area.width) * u64::from(area.height));
        self.frames += 1;
    }
}

/// A decoder that has read the header of the file. `skip`: it reads only the headers of the frames.
fn open(bytes: &[u8], skip: bool) -> Result<Decoder<Cursor<&[u8]>>, DecodeError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    options.set_memory_limit(
        NonZeroU64::new(EXTENSIONS).map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes),
    );
    options.skip_frame_decoding(skip);
    options.allow_unknown_blocks(true);
    options.read_info(Cursor::new(bytes)).map_err(|e| failure(&e))
}

/// The pixels of a frame, and the number of its rows that the file has. Missing rows are transparent.
fn pixels(
    decoder: &mut Decoder<Cursor<&[u8]>>,
    frame: &Frame<'_>,
) -> Result<(Vec<u8>, usize), DecodeError> {
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    let stride = width * Samples::Rgba.count();
    let mut pixels = Samples::Rgba.buffer(frame.width.into(), frame.height.into());
    let order = if frame.interlaced { interlaced(height) } else { (0..height).collect() };
    for (read, row) in order.into_iter().enumerate() {
        match decoder.fill_buffer(&mut pixels[row * stride..(row + 1) * stride]) {
            Ok(true) => {}
            Ok(false) | Err(DecodingError::UnexpectedEof) => return Ok((pixels, read)),
            Err(DecodingError::Io(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Ok((pixels, read));
            }
            Err(error) => return Err(failure(&error)),
        }
    }
    Ok((pixels, height))
}

/// The order in which the rows of an interlaced frame are stored.
fn interlaced(height: usize) -> Vec<usize> {
    let passes = [(0, 8), (4, 8), (2, 4), (1, 2)];
    passes.into_iter().flat_map(|(first, step)| (first..height).step_by(step)).collect()
}

fn area(frame: &Frame<'_>) -> Area {
    Area {
        x: frame.left.into(),
        y: frame.top.into(),
        width: frame.width.into(),
        height: frame.height.into(),
    }
}

fn disposal(method: DisposalMethod) -> Disposal {
    match method {
        DisposalMethod::Any | DisposalMethod::Keep => Disposal::Keep,
        DisposalMethod::Background => Disposal::Clear,
        DisposalMethod::Previous => Disposal::Restore,
    }
}

fn failure(error: &DecodingError) -> DecodeError {
    DecodeError::new(DecodeFault::Undecodable, format!("GIF: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_stored_once() {
        assert_eq!(interlaced(10), [0, 8, 4, 2, 6, 1, 3, 5, 7, 9]);
        for height in 0..40 {
            let mut rows = interlaced(height);
            rows.sort_unstable();
            assert!(rows.into_iter().eq(0..height));
        }
    }
}
