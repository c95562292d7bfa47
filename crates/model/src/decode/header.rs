//! The size in the header of an image file.

use super::{DecodeError, DecodeFault};

/// Refuses an image without pixels or with more than `max_pixels` pixels. Called before any pixel
/// is decoded.
pub(super) fn check_size(width: u32, height: u32, max_pixels: u64) -> Result<(), DecodeError> {
    if width == 0 || height == 0 {
        return Err(DecodeError::new(DecodeFault::Undecodable, "the image has no pixels"));
    }
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(DecodeError::new(
            DecodeFault::TooManyPixels,
            format!(
                "the image has {width} x {height} pixels, more than the limit of {max_pixels} in \
                 `decode.max_pixels`"
            ),
        ));
    }
    Ok(())
}
