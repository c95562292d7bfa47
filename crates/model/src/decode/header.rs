//! What the header of an image file says: its size and its orientation.

use image::metadata::Orientation;

use super::{DecodeError, DecodeFault};

/// Refuses an image without pixels, or with more than `max_pixels`. Called before anything is decoded.
pub(super) fn check_size(width: u32, height: u32, max_pixels: u64) -> Result<(), DecodeError> {
    if width == 0 || height == 0 {
        return Err(DecodeError::new(DecodeFault::Undecodable, "the image has no pixels"));
    }
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(DecodeError::new(
            DecodeFault::TooManyPixels,
            format!("{width} x {height} pixels, more than {max_pixels}"),
        ));
    }
    Ok(())
}

/// The orientation in an EXIF block. A broken block counts as no orientation: the image stays readable.
pub(super) fn orientation(exif: Option<&[u8]>) -> Orientation {
    // The prefix of JPEG occurs in other formats too: Pillow writes it into WebP.
    let block = exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
    block.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}
