//! Decodes BMP and TIFF with the image crate.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::tiff::TiffDecoder;
use image::error::{ImageError, LimitErrorKind};
use image::{ColorType, ImageDecoder, Limits};

use super::memory::Room;
use super::pixels::{Decoded, Samples, high_bytes, unpremultiply};
use super::read::{Each, Outcome};
use super::{DecodeError, DecodeFault, bmp, exif};

/// The bytes per pixel that a decoder may allocate besides the output.
const OWN_COPIES: u64 = 12;

/// The bytes of memory per pixel: up to 8 for samples of 16 bits, and as much for the decoder.
const BYTES_PER_PIXEL: u64 = 16;

/// Decodes a BMP.
pub(super) fn bmp(
    bytes: &[u8],
    room: &mut Room<'_>,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    if let Some(what) = bmp::ambiguous(bytes) {
        return Err(DecodeError::new(DecodeFault::Undecodable, format!("BMP: {what}")));
    }
    decode("BMP", BmpDecoder::new(Cursor::new(bytes)), room, each)
}

/// The tag of a TIFF with the order of the bits in a byte, and its value for the reverse order.
const FILL_ORDER: (u16, u32) = (266, 2);

/// The tag of a TIFF with the meaning of the samples beyond the colours, and its value for an alpha by
/// which the colours are multiplied.
const EXTRA_SAMPLES: (u16, u32) = (338, 1);

/// Decodes the first page of a TIFF.
pub(super) fn tiff(
    bytes: &[u8],
    room: &mut Room<'_>,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    let has = |(tag, value)| exif::value(bytes, tag) == Some(value);
    if has(FILL_ORDER) {
        // The decoder does not turn the bits, and would give other pixels.
        let what = "TIFF: bits in the reverse order are not supported";
        return Err(DecodeError::new(DecodeFault::UnsupportedFormat, what));
    }
    let premultiplied = has(EXTRA_SAMPLES);
    let mut straight = |number, mut decoded: Decoded| {
        if premultiplied {
            unpremultiply(&mut decoded);
        }
        each(number, decoded)
    };
    decode("TIFF", TiffDecoder::new(Cursor::new(bytes)), room, &mut straight)
}

/// Checks the size of an image, then decodes it. Samples of 16 bits are reduced to their high byte.
fn decode(
    format: &str,
    decoder: Result<impl ImageDecoder, ImageError>,
    room: &mut Room<'_>,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    let failed = |e: ImageError| failure(format, &e);
    let mut decoder = decoder.map_err(failed)?;
    let (width, height) = decoder.dimensions();
    room.admit(width, height, BYTES_PER_PIXEL)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(room.max_pixels().saturating_mul(OWN_COPIES).max(1 << 20));
    decoder.set_limits(limits).map_err(failed)?;
    let colour = decoder.color_type();
    let samples = match colour {
        ColorType::L8 | ColorType::L16 => Samples::Grey,
        ColorType::La8 | ColorType::La16 => Samples::GreyAlpha,
        ColorType::Rgb8 | ColorType::Rgb16 => Samples::Rgb,
        ColorType::Rgba8 | ColorType::Rgba16 => Samples::Rgba,
        colour => {
            return Err(DecodeError::new(
                DecodeFault::UnsupportedFormat,
                format!("{format}: colour type {colour:?} is not supported"),
            ));
        }
    };
    let orientation = decoder.orientation().map_err(failed)?;
    let wide = usize::from(colour.bytes_per_pixel()) / samples.count();
    let mut data = vec![0; samples.buffer(width, height).len() * wide];
    decoder.read_image(&mut data).map_err(failed)?;
    let data = if wide == 2 { high_bytes(&data) } else { data };
    each(0, Decoded { width, height, samples, data, orientation })?;
    Ok(Outcome::STILL)
}

fn failure(format: &str, error: &ImageError) -> DecodeError {
    let reason = match error {
        ImageError::Unsupported(_) => DecodeFault::UnsupportedFormat,
        ImageError::Limits(e)
            if matches!(
                e.kind(),
                LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory
            ) =>
        {
            DecodeFault::TooManyPixels
        }
        _ => DecodeFault::Undecodable,
    };
    DecodeError::new(reason, format!("{format}: {error}"))
}
