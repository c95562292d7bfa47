//! PNG, by the png crate.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Transformations};

use super::header::{check_size, orientation};
use super::pixels::{Decoded, Samples};
use super::{DecodeError, DecodeFault};

/// Bytes that a PNG's chunks and rows may take besides the pixels.
const ROOM: usize = 16 << 20;

/// Decodes a PNG, or the first frame of an animated one; palettes, few bits and 16 bits become 8 bits a sample.
pub(super) fn read(bytes: &[u8], max_pixels: u64) -> Result<Decoded, DecodeError> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: ROOM });
    // Nobody reads these, and they may be large once inflated.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(|e| failure(&e))?;
    let (width, height) = (header.width, header.height);
    check_size(width, height, max_pixels)?;
    // 16 bits keep their high byte, as with Pillow.
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
                format!("PNG: {colour:?} of {depth:?} bits"),
            ));
        }
    };
    let mut data = samples.buffer(width, height);
    let frame = reader.next_frame(&mut data).map_err(|e| failure(&e))?;
    if (frame.width, frame.height) != (width, height) {
        return Err(DecodeError::new(
            DecodeFault::Undecodable,
            "PNG: its first frame is not the whole image",
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
