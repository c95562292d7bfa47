//! Bytes to samples: which format, how large, which way up.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::{ImageError, LimitErrorKind};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageFormat, Limits};

use super::pixels::{Decoded, Samples};
use super::{jpeg, png, webp};
use crate::message::{Failure, Reason};

/// Bytes a pixel that a decoder may take for itself.
const OWN_COPIES: u64 = 12;

/// Decodes the first frame; which format it is, the bytes say.
pub(super) fn read(bytes: &[u8], max_pixels: u64) -> Result<Decoded, Failure> {
    let unsupported = |what: String| Err(Failure::new(Reason::UnsupportedFormat, what));
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg::read(bytes, max_pixels),
        Ok(ImageFormat::Png) => png::read(bytes, max_pixels),
        Ok(ImageFormat::WebP) => {
            if let Some((width, height)) = webp::largest_lossy(bytes) {
                check_size(width, height, max_pixels)?;
            }
            decode("WebP", WebPDecoder::new(Cursor::new(bytes)), max_pixels)
        }
        Ok(ImageFormat::Gif) => decode("GIF", GifDecoder::new(Cursor::new(bytes)), max_pixels),
        Ok(format) => unsupported(format!("{format:?} is not read; JPEG, PNG, WebP and GIF are")),
        Err(_) => unsupported("neither JPEG, PNG, WebP nor GIF".into()),
    }
}

/// Refuses images without pixels and those with too many; asked before anything is decoded.
pub(super) fn check_size(width: u32, height: u32, max_pixels: u64) -> Result<(), Failure> {
    if width == 0 || height == 0 {
        return Err(Failure::new(Reason::Undecodable, "the image has no pixels"));
    }
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(Failure::new(Reason::TooManyPixels, format!("{width} x {height} pixels, more than {max_pixels}")));
    }
    Ok(())
}

/// A buffer for that many pixels.
pub(super) fn buffer(width: u32, height: u32, samples: Samples) -> Vec<u8> {
    vec![0; width as usize * height as usize * samples.count()]
}

/// What an EXIF block says about which way is up; a broken one does not make the image unreadable.
pub(super) fn orientation(exif: Option<&[u8]>) -> Orientation {
    // JPEG's prefix stands in other formats too: Pillow writes it into WebP.
    let block = exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
    block.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

fn decode(format: &str, decoder: Result<impl ImageDecoder, ImageError>, max_pixels: u64) -> Result<Decoded, Failure> {
    let failed = |e: ImageError| failure(format, &e);
    let mut decoder = decoder.map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, max_pixels)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_pixels.saturating_mul(OWN_COPIES).max(1 << 20));
    decoder.set_limits(limits).map_err(failed)?;
    let samples = match decoder.color_type() {
        ColorType::L8 => Samples::Grey,
        ColorType::La8 => Samples::GreyAlpha,
        ColorType::Rgb8 => Samples::Rgb,
        ColorType::Rgba8 => Samples::Rgba,
        colour => return Err(Failure::new(Reason::UnsupportedFormat, format!("{format}: {colour:?}"))),
    };
    let orientation = orientation(decoder.exif_metadata().unwrap_or_default().as_deref());
    let mut data = buffer(width, height, samples);
    decoder.read_image(&mut data).map_err(failed)?;
    Ok(Decoded { width, height, samples, data, orientation })
}

fn failure(format: &str, error: &ImageError) -> Failure {
    let reason = match error {
        ImageError::Unsupported(_) => Reason::UnsupportedFormat,
        ImageError::Limits(e)
            if matches!(e.kind(), LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory) =>
        {
            Reason::TooManyPixels
        }
        _ => Reason::Undecodable,
    };
    Failure::new(reason, format!("{format}: {error}"))
}
