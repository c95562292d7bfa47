//! Decodes JPEG with the same result, bit for bit, as libjpeg-turbo.
//!
//! Networks are trained on images that libjpeg-turbo decoded, because Pillow, OpenCV and
//! torchvision use it. A decoder that rounds chroma differently is off by one level in some pixels,
//! and changes the scores of colour photos by a hundredth.

use image::metadata::Orientation;
use libjpeg_turbo_rs::{
    DecodeLimits, DecodeWarning, Decoder, JpegError, PixelFormat, ScalingFactor,
};

use super::header::{check_size, orientation};
use super::memory::Room;
use super::pixels::{Decoded, Samples};
use super::{DecodeError, DecodeFault};

/// The marker of a start of scan, which precedes the entropy-coded data.
const SOS: u8 = 0xda;
/// The marker of the end of the image.
const EOI: [u8; 2] = [0xff, 0xd9];

/// The largest number of scans of a progressive image. Encoders write about ten. Each scan passes
/// over the whole image, so thousands of scans would make decoding slow.
const MAX_SCANS: usize = 500;

/// The bytes of memory per decoded pixel of a baseline image (measured: 6 in colour, 7 in CMYK).
const BASELINE: u64 = 8;

/// The bytes of memory per stored pixel of a progressive image (measured: 9 in colour), whose
/// coefficients are all in memory at any scale.
const PROGRESSIVE: u64 = 12;

/// Decodes a JPEG. Grey images stay grey; all others become RGB. The image is decoded at 1/2, 1/4 or
/// 1/8 of its size, in the domain of the discrete cosine transform (DCT), if its sides remain at
/// least `draft` (width and height, upright).
///
/// An image whose data end early is refused. An image that lacks only its end marker is decoded.
/// Data that are corrupt in the middle are decoded as browsers show them.
pub(super) fn read(
    bytes: &[u8],
    room: &mut Room<'_>,
    draft: Option<(u32, u32)>,
) -> Result<Decoded, DecodeError> {
    let limits = DecodeLimits {
        max_pixels: room.max_pixels(),
        max_scans: MAX_SCANS,
        ..DecodeLimits::default()
    };
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(|e| failure(&e))?;
    let header = decoder.header();
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    let progressive = header.is_progressive;
    check_size(width, height, room.max_pixels())?;
    let (format, samples) = match header.components.len() {
        1 => (PixelFormat::Grayscale, Samples::Grey),
        _ => (PixelFormat::Rgb, Samples::Rgb),
    };
    decoder.set_output_format(format);
    decoder.set_lenient(true);
    let orientation = orientation(decoder.exif_data());
    let scale = draft.map_or(1, |least| divisor((width, height), upright(least, orientation)));
    decoder.set_scale(ScalingFactor::try_new(1, scale).map_err(|e| failure(&e))?);
    let stored = u64::from(width) * u64::from(height);
    let (width, height) = (width.div_ceil(scale), height.div_ceil(scale));
    let decoded = u64::from(width) * u64::from(height);
    room.take(if progressive { stored * PROGRESSIVE } else { decoded * BASELINE });
    let mut data = samples.buffer(width, height);
    let decoded = decoder.decode_image_into(&mut data).map_err(|e| failure(&e))?;
    if breaks_off(&decoded.warnings) && !has_end(bytes) {
        return Err(DecodeError::new(DecodeFault::Undecodable, "JPEG: the image data end early"));
    }
    Ok(Decoded { width, height, samples, data, orientation })
}

/// The largest of 8, 4, 2 and 1 by which both sides can be divided, rounded down, and remain at least
/// `least`. This is the rule of Pillow's `Image.draft`.
fn divisor(size: (u32, u32), least: (u32, u32)) -> u32 {
    let most = (size.0 / least.0.max(1)).min(size.1 / least.1.max(1));
    [8, 4, 2].into_iter().find(|&scale| scale <= most).unwrap_or(1)
}

/// The sides that a stored image must have for `least` after the orientation is applied.
fn upright(least: (u32, u32), orientation: Orientation) -> (u32, u32) {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (least.1, least.0),
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => least,
    }
}

/// Whether image rows are missing, at the end or in the middle.
fn breaks_off(warnings: &[DecodeWarning]) -> bool {
    warnings.iter().any(|warning| matches!(warning, DecodeWarning::TruncatedData { .. }))
}

/// Whether the end marker follows the start of the first scan, or ends the file. The two bytes of
/// the marker cannot occur inside entropy-coded data. The marker of an embedded thumbnail is before
/// the first scan, so it does not count.
fn has_end(bytes: &[u8]) -> bool {
    bytes.ends_with(&EOI) || data(bytes).is_some_and(|data| data.windows(2).any(|pair| pair == EOI))
}

/// The bytes after the header of the first scan.
fn data(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(2..)?;
    loop {
        // Any number of fill bytes may precede a marker.
        let at = rest.iter().position(|&b| b != 0xff)?;
        let marker = rest[at];
        let after = &rest[at + 1..];
        if at == 0 {
            // There is no marker where one must be. Search on, as decoders do.
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

    /// A file without pixels: the start marker, a segment with a whole thumbnail, a scan, `end`.
    fn file(end: &[u8]) -> Vec<u8> {
        let head = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xff, SOS, 0, 3, 7];
        [&head[..], &[1, 2, 0xff, 0, 3], end].concat()
    }

    #[test]
    fn no_side_becomes_shorter_than_the_input() {
        for (size, least, expected) in [
            ((1920, 1080), (64, 64), 8),
            ((512, 512), (64, 64), 8),
            ((512, 511), (64, 64), 4),
            ((192, 300), (64, 64), 2),
            ((127, 4000), (64, 64), 1),
            ((63, 63), (64, 64), 1),
            ((4000, 1000), (200, 500), 2),
        ] {
            assert_eq!(divisor(size, least), expected, "{size:?} {least:?}");
        }
        assert_eq!(upright((200, 500), Orientation::Rotate90), (500, 200));
        assert_eq!(upright((200, 500), Orientation::Rotate180), (200, 500));
    }

    #[test]
    fn only_the_end_marker_after_the_first_scan_counts() {
        assert!(has_end(&file(&EOI)));
        assert!(has_end(&file(&[0xff, 0xd9, b't', b'r', b'a', b'i', b'l'])));
        assert!(!has_end(&file(&[])), "the thumbnail's end is not the image's");
        assert!(!has_end(&file(&[0xff])));
        for cut in 0..file(&[]).len() - 1 {
            has_end(&file(&[])[..cut]);
        }
    }
}
