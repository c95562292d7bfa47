//! Decodes bytes to samples, with the decoder of the detected format.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::{ImageError, LimitErrorKind};
use image::{ColorType, ImageDecoder, ImageFormat, Limits};

use super::header::{check_size, orientation};
use super::memory::Room;
use super::pixels::{Decoded, Samples};
use super::{DecodeError, DecodeFault, jpeg, png, webp};

/// The bytes per pixel that a decoder may allocate besides the output.
const OWN_COPIES: u64 = 12;

/// The bytes of memory per pixel while a WebP or a GIF is decoded (measured: 11 for a lossy WebP with
/// transparency, 7 for the others).
const BYTES_PER_PIXEL: u64 = 12;

/// Decodes the first frame of an image. The format is detected from the bytes. A JPEG is decoded at a
/// fraction of its size if the sides, turned upright, remain at least `draft` (width, height).
pub(super) fn read(
    bytes: &[u8],
    room: &mut Room<'_>,
    draft: Option<(u32, u32)>,
) -> Result<Decoded, DecodeError> {
    let unsupported = |what: String| Err(DecodeError::new(DecodeFault::UnsupportedFormat, what));
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg::read(bytes, room, draft),
        Ok(ImageFormat::Png) => png::read(bytes, room),
        Ok(ImageFormat::WebP) => {
            if let Some((width, height)) = webp::largest_lossy(bytes) {
                check_size(width, height, room.max_pixels())?;
            }
            decode("WebP", WebPDecoder::new(Cursor::new(bytes)), room)
        }
        Ok(ImageFormat::Gif) => decode("GIF", GifDecoder::new(Cursor::new(bytes)), room),
        Ok(format) => {
            unsupported(format!("{format:?} is not supported; use JPEG, PNG, WebP or GIF"))
        }
        Err(_) => unsupported("the image format is unknown; use JPEG, PNG, WebP or GIF".into()),
    }
}

/// Checks the size of an image, then decodes it with a decoder of the image crate.
fn decode(
    format: &str,
    decoder: Result<impl ImageDecoder, ImageError>,
    room: &mut Room<'_>,
) -> Result<Decoded, DecodeError> {
    let failed = |e: ImageError| failure(format, &e);
    let mut decoder = decoder.map_err(failed)?;
    let (width, height) = decoder.dimensions();
    room.admit(width, height, BYTES_PER_PIXEL)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(room.max_pixels().saturating_mul(OWN_COPIES).max(1 << 20));
    decoder.set_limits(limits).map_err(failed)?;
    let samples = match decoder.color_type() {
        ColorType::L8 => Samples::Grey,
        ColorType::La8 => Samples::GreyAlpha,
        ColorType::Rgb8 => Samples::Rgb,
        ColorType::Rgba8 => Samples::Rgba,
        colour => {
            return Err(DecodeError::new(
                DecodeFault::UnsupportedFormat,
                format!("{format}: colour type {colour:?} is not supported"),
            ));
        }
    };
    let orientation = orientation(decoder.exif_metadata().unwrap_or_default().as_deref());
    let mut data = samples.buffer(width, height);
    decoder.read_image(&mut data).map_err(failed)?;
    Ok(Decoded { width, height, samples, data, orientation })
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
