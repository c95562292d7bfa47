//! Bytes to pixels: which format, how large, which way up.
//!
//! A JPEG that breaks off in the middle decodes to what there is of it, as browsers show it.

use std::io::Cursor;

use image::error::{ImageError, LimitErrorKind};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::pixels::Pixels;
use super::webp;
use crate::message::{Failure, Reason};
use crate::model::manifest::Channels;

/// Decodes the first frame, upright.
pub(super) fn read(bytes: &[u8], max_pixels: u64, channels: Channels) -> Result<Pixels, Failure> {
    let unsupported = |what: String| Failure::new(Reason::UnsupportedFormat, what);
    let format = image::guess_format(bytes).map_err(|_| unsupported("neither JPEG, PNG, WebP nor GIF".into()))?;
    if !format.reading_enabled() {
        return Err(unsupported(format!("{format:?} is not read; JPEG, PNG, WebP and GIF are")));
    }
    if format == ImageFormat::WebP
        && let Some((width, height)) = webp::largest_lossy(bytes)
    {
        check_size(width, height, max_pixels)?;
    }
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format);
    decoder.limits(limits(max_pixels));
    let mut decoder = decoder.into_decoder().map_err(|e| failure(&e))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, max_pixels)?;
    // A broken EXIF block does not make the image unreadable.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| failure(&e))?;
    image.apply_orientation(orientation);
    Ok(Pixels::new(image, channels))
}

/// The bound on memory: twelve bytes a pixel cover the decoders' own copies.
fn limits(max_pixels: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(max_pixels.saturating_mul(12).max(1 << 20));
    limits
}

fn check_size(width: u32, height: u32, max_pixels: u64) -> Result<(), Failure> {
    if width == 0 || height == 0 {
        return Err(Failure::new(Reason::Undecodable, "the image has no pixels"));
    }
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(Failure::new(Reason::TooManyPixels, format!("{width} x {height} pixels, more than {max_pixels}")));
    }
    Ok(())
}

fn failure(error: &ImageError) -> Failure {
    let reason = match error {
        ImageError::Unsupported(_) => Reason::UnsupportedFormat,
        ImageError::Limits(e) if matches!(e.kind(), LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory) => {
            Reason::TooManyPixels
        }
        _ => Reason::Undecodable,
    };
    Failure::new(reason, error.to_string())
}
