//! JPEG, bit for bit as libjpeg-turbo decodes it.
//!
//! Networks are trained on what libjpeg-turbo gives (Pillow, OpenCV and torchvision are built on it). A decoder that rounds its chroma
//! otherwise is a level off here and there, and moves the scores of colour photos by a hundredth.

use libjpeg_turbo_rs::{DecodeLimits, DecodeWarning, Decoder, JpegError, PixelFormat};

use super::header::{check_size, orientation};
use super::pixels::{Decoded, Samples};
use super::{DecodeError, DecodeFault};

/// Start of the entropy-coded data, and end of the image.
const SOS: u8 = 0xda;
const EOI: [u8; 2] = [0xff, 0xd9];

/// Scans a progressive image may have. Encoders write about ten; each of thousands would pass over the whole image.
const MAX_SCANS: usize = 500;

/// Decodes a JPEG; grey stays grey, everything else becomes RGB.
///
/// One that breaks off is refused; one that lacks only its end marker is not. What is corrupt in the middle decodes as browsers show it.
pub(super) fn read(bytes: &[u8], max_pixels: u64) -> Result<Decoded, DecodeError> {
    let limits = DecodeLimits { max_pixels, max_scans: MAX_SCANS, ..DecodeLimits::default() };
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(|e| failure(&e))?;
    let header = decoder.header();
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    check_size(width, height, max_pixels)?;
    let (format, samples) = match header.components.len() {
        1 => (PixelFormat::Grayscale, Samples::Grey),
        _ => (PixelFormat::Rgb, Samples::Rgb),
    };
    decoder.set_output_format(format);
    decoder.set_lenient(true);
    let orientation = orientation(decoder.exif_data());
    let mut data = samples.buffer(width, height);
    let decoded = decoder.decode_image_into(&mut data).map_err(|e| failure(&e))?;
    if breaks_off(&decoded.warnings) && !has_end(bytes) {
        return Err(DecodeError::new(DecodeFault::Undecodable, "JPEG: it breaks off"));
    }
    Ok(Decoded { width, height, samples, data, orientation })
}

/// Whether rows are missing, at the end or in the middle.
fn breaks_off(warnings: &[DecodeWarning]) -> bool {
    warnings.iter().any(|warning| matches!(warning, DecodeWarning::TruncatedData { .. }))
}

/// Whether the data end as they must. The marker can't occur by chance inside entropy-coded data; a thumbnail's lies before these.
fn has_end(bytes: &[u8]) -> bool {
    bytes.ends_with(&EOI) || data(bytes).is_some_and(|data| data.windows(2).any(|pair| pair == EOI))
}

/// What follows the first start-of-scan marker.
fn data(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(2..)?;
    loop {
        // Any number of fill bytes may stand before a marker.
        let at = rest.iter().position(|&b| b != 0xff)?;
        let (marker, after) = (rest[at], &rest[at + 1..]);
        if at == 0 {
            // Not a marker where one must be: search on, as decoders do.
            rest = after;
            continue;
        }
        let length = usize::from(u16::from_be_bytes([*after.first()?, *after.get(1)?]));
        if marker == SOS {
            return after.get(length..);
        }
        rest = after.get(length..)?;
    }
}

fn failure(error: &JpegError) -> DecodeError {
    let reason = match error {
        JpegError::Unsupported(_) => DecodeFault::UnsupportedFormat,
        JpegError::LimitExceeded { what, .. } if !what.contains("scan") => {
            DecodeFault::TooManyPixels
        }
        _ => DecodeFault::Undecodable,
    };
    DecodeError::new(reason, format!("JPEG: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Markers of a file: start, a segment that holds a whole thumbnail, a scan.
    fn file(end: &[u8]) -> Vec<u8> {
        let head = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xff, SOS, 0, 3, 7];
        [&head[..], &[1, 2, 0xff, 0, 3], end].concat()
    }

    #[test]
    fn the_end_is_found_where_it_counts() {
        assert!(has_end(&file(&EOI)));
        assert!(has_end(&file(&[0xff, 0xd9, b't', b'r', b'a', b'i', b'l'])));
        assert!(!has_end(&file(&[])), "the thumbnail's end is not the image's");
        assert!(!has_end(&file(&[0xff])));
        for cut in 0..file(&[]).len() - 1 {
            has_end(&file(&[])[..cut]);
        }
    }
}
