//! Decodes BMP and TIFF with the image crate.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::tiff::TiffDecoder;
use image::error::{ImageError, LimitErrorKind};
use image::{ColorType, ImageDecoder, Limits};

use super::memory::Room;
use super::pixels::{Decoded, Samples, high_bytes};
use super::read::{Each, Outcome};
use super::{DecodeError, DecodeFault};

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
    decode("BMP", BmpDecoder::new(Cursor::new(bytes)), room, each)
}

/// Decodes the first page of a TIFF.
pub(super) fn tiff(
    bytes: &[u8],
    room: &mut Room<'_>,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    decode("TIFF", TiffDecoder::new(Cursor::new(bytes)), room, each)
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
