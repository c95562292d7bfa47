//! JPEG, by zune-jpeg.

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::pixels::{Decoded, Samples};
use super::read::{buffer, check_size, orientation};
use crate::message::{Failure, Reason};

/// Start of the entropy-coded data, and end of the image.
const SOS: u8 = 0xda;
const EOI: [u8; 2] = [0xff, 0xd9];

/// Decodes a JPEG; grey stays grey, everything else becomes RGB.
///
/// One that breaks off is refused; one that lacks only its end marker is not. What is corrupt in the middle decodes as browsers show it.
pub(super) fn read(bytes: &[u8], max_pixels: u64) -> Result<Decoded, Failure> {
    // The decoder fills what is missing with grey in silence, unless it is strict. But strict it refuses oddities that everybody else
    // reads, so it is strict only where an image has no end.
    let options = DecoderOptions::default()
        .set_strict_mode(!has_end(bytes))
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| failure(&e))?;
    // Sides are 16 bits wide in a JPEG.
    let (width, height) = decoder.dimensions().map_or((0, 0), |(w, h)| (w as u32, h as u32));
    check_size(width, height, max_pixels)?;
    let (space, samples) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, Samples::Grey),
        _ => (ColorSpace::RGB, Samples::Rgb),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let orientation = orientation(decoder.exif().map(Vec::as_slice));
    let mut data = buffer(width, height, samples);
    decoder.decode_into(&mut data).map_err(|e| failure(&e))?;
    Ok(Decoded { width, height, samples, data, orientation })
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

fn failure(error: &DecodeErrors) -> Failure {
    let reason = match error {
        DecodeErrors::Unsupported(_) => Reason::UnsupportedFormat,
        DecodeErrors::LargeDimensions(_) => Reason::TooManyPixels,
        _ => Reason::Undecodable,
    };
    Failure::new(reason, format!("JPEG: {error:?}"))
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
