//! Decodes PNG with the png crate.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Transformations};

use super::header::orientation;
use super::memory::Room;
use super::pixels::{Decoded, Samples};
use super::{DecodeError, DecodeFault};

/// The bytes of memory that the chunks and rows of a PNG may take, besides the pixels.
const ROOM: usize = 16 << 20;

/// The bytes of memory per pixel while a PNG is decoded (measured: 7 with transparency).
const BYTES_PER_PIXEL: u64 = 8;

/// Decodes a PNG, or the first frame of an animated PNG. Palettes and samples of other sizes become
/// 8 bits per sample.
pub(super) fn read(bytes: &[u8], room: &mut Room<'_>) -> Result<Decoded, DecodeError> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: ROOM });
    // These chunks are not used, and they can be large when inflated.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(|e| failure(&e))?;
    let (width, height) = (header.width, header.height);
    room.admit(width, height, BYTES_PER_PIXEL)?;
    // 16-bit samples are reduced to their high byte, as in Pillow.
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|e| failure(&e))?;
    let samples = match reader.output_color_type() {
        (ColorType::Grayscale, BitDepth::Eight) => Samples::Grey,
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => Samples::GreyAlpha,
        (ColorType::Rgb, BitDepth::Eight) => Samples::Rgb,
        (ColorType::Rgba, BitDepth::Eight) => Samples::Rgba,
        (colour, depth) => {
            return Err(DecodeError::new(
                DecodeFault::UnsupportedFormat,
                format!("PNG: colour type {colour:?} with bit depth {depth:?} is not supported"),
            ));
        }
    };
    let mut data = samples.buffer(width, height);
    let frame = reader.next_frame(&mut data).map_err(|e| failure(&e))?;
    if (frame.width, frame.height) != (width, height) {
        return Err(DecodeError::new(
            DecodeFault::Undecodable,
            "PNG: the first frame does not cover the whole image",
        ));
    }
    let orientation = orientation(reader.info().exif_metadata.as_deref());
    Ok(Decoded { width, height, samples, data, orientation })
}

fn failure(error: &DecodingError) -> DecodeError {
    let reason = match error {
        DecodingError::LimitsExceeded => DecodeFault::TooManyPixels,
        _ => DecodeFault::Undecodable,
    };
    DecodeError::new(reason, format!("PNG: {error}"))
}
