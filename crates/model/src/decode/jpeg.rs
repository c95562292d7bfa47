//! Decodes JPEG with libjpeg-turbo.
//!
//! Networks are trained on images that libjpeg-turbo decoded, because Pillow, OpenCV and
//! torchvision use it. A decoder that rounds chroma differently is off by one level in some pixels,
//! and changes the scores of colour photos by a hundredth.

mod markers;

use std::borrow::Cow;

use dorfman_jpeg::{Colour, Header, Jpeg, JpegError, Limits, Scale};
use image::metadata::Orientation;

use self::markers::{EOI, Markers, has_end};
use super::exif::orientation;
use super::header::check_size;
use super::memory::Room;
use super::pixels::{Decoded, Samples};
use super::read::{Each, Outcome, Request};
use super::{DecodeError, DecodeFault};

/// Scans of a small image that are decoded, at most. Encoders write about ten. Each scan passes over the
/// whole image, so thousands of scans would make decoding slow.
const MOST_SCANS: u64 = 500;
/// Scans that are decoded of an image of any size.
const FEWEST_SCANS: u64 = 64;
/// Pixels of all scans of an image together, at most, if it has more than [`FEWEST_SCANS`].
const PIXELS_OF_SCANS: u64 = 1_000_000_000;

/// The bytes of memory of the decoder for tables.
const TABLES: u64 = 1 << 20;
/// Rows of all components that the decoder keeps, at most: with a sampling factor of 4, several rows of
/// blocks.
const ROWS: u64 = 48;

/// Decodes a JPEG. Grey images stay grey; all others become RGB. The image is decoded at 1/2, 1/4 or
/// 1/8 of its size, in the domain of the discrete cosine transform (DCT), if its sides remain at
/// least `request.draft` (width and height, upright).
///
/// An image whose data end early, without an end marker, is incomplete: missing rows are grey. An image
/// that lacks only its end marker is complete. Data that are corrupt or missing before an end marker are
/// decoded as browsers show them.
pub(super) fn read(
    bytes: &[u8],
    room: &mut Room<'_>,
    request: &Request,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    let ends = has_end(bytes);
    // libjpeg-turbo warns of a missing end marker as of missing rows, so the marker is added.
    let whole = if ends { Cow::from(bytes) } else { [bytes, &EOI].concat().into() };
    let jpeg = Jpeg::open(&whole).map_err(|e| failure(&e))?;
    let header = jpeg.header();
    check_size(header.width, header.height, room.max_pixels())?;
    let markers = Markers::read(&whole);
    let orientation = orientation(markers.exif);
    let scale =
        request.draft.map_or(Scale::Full, |least| scale(header, upright(least, orientation)));
    let (width, height) = jpeg.size(scale);
    let pixels = u64::from(width) * u64::from(height);
    let limits = limits(header, &markers);
    let copied = if ends { 0 } else { whole.len() as u64 };
    room.take(pixels * header.colour.samples() as u64 + limits.memory + copied);
    let mut data = vec![0; pixels as usize * header.colour.samples()];
    let damage = jpeg.decode(scale, limits, &mut data).map_err(|e| failure(&e))?;
    let incomplete = damage.is_some() && !ends;
    if incomplete {
        request.accept_incomplete("JPEG: the image data end early")?;
    }
    let samples = match header.colour {
        Colour::Grey => Samples::Grey,
        Colour::Rgb => Samples::Rgb,
        Colour::Cmyk => {
            cmyk_to_rgb(&mut data);
            Samples::Rgb
        }
    };
    each(0, Decoded { width, height, samples, data, orientation })?;
    Ok(Outcome { frames: 1, incomplete })
}

/// What decoding may take. The coefficients of the whole image are in memory at the same time, at any
/// scale, if it has several scans. A coefficient has two bytes; the planes are padded to whole blocks
/// by any sampling factor, 1 to 4.
fn limits(header: Header, markers: &Markers<'_>) -> Limits {
    let in_scans = header.progressive || markers.scan_components < markers.frame_components;
    let padded = |side: u32| u64::from(side.next_multiple_of(96));
    let samples = header.colour.samples() as u64;
    let coefficients = 2 * padded(header.width) * padded(header.height) * samples;
    let rows = TABLES + ROWS * padded(header.width) * samples;
    let pixels = u64::from(header.width) * u64::from(header.height);
    let scans = (PIXELS_OF_SCANS / pixels).clamp(FEWEST_SCANS, MOST_SCANS) as u16;
    Limits { scans, memory: rows + if in_scans { coefficients } else { 0 } }
}

/// Replaces the inverted samples of CMYK, as Adobe's programs write them, by RGB. Rounds as Pillow.
fn cmyk_to_rgb(data: &mut Vec<u8>) {
    let pixels = data.len() / 4;
    for pixel in 0..pixels {
        let black = u32::from(data[4 * pixel + 3]);
        for colour in 0..3 {
            let product = u32::from(data[4 * pixel + colour]) * black + 128;
            data[3 * pixel + colour] = ((product + (product >> 8)) >> 8) as u8;
        }
    }
    data.truncate(3 * pixels);
}

/// The smallest scale at which both sides remain at least `least`. This is the rule of Pillow's
/// `Image.draft`.
fn scale(header: Header, least: (u32, u32)) -> Scale {
    let most = (header.width / least.0.max(1)).min(header.height / least.1.max(1));
    match most {
        8.. => Scale::Eighth,
        4.. => Scale::Quarter,
        2.. => Scale::Half,
        _ => Scale::Full,
    }
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

fn failure(error: &JpegError) -> DecodeError {
    let fault = match error {
        JpegError::Unsupported(_) => DecodeFault::UnsupportedFormat,
        JpegError::Failed(_) | JpegError::Output { .. } => DecodeFault::Undecodable,
    };
    DecodeError::new(fault, format!("JPEG: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let (width, height) = size;
            let header = Header { width, height, colour: Colour::Rgb, progressive: false };
            assert_eq!(scale(header, least).divisor(), expected, "{size:?} {least:?}");
        }
        assert_eq!(upright((200, 500), Orientation::Rotate90), (500, 200));
        assert_eq!(upright((200, 500), Orientation::Rotate180), (200, 500));
    }

    #[test]
    fn large_images_may_have_fewer_scans() {
        let scans = |side: u32| {
            let (width, height) = (side, side);
            let header = Header { width, height, colour: Colour::Rgb, progressive: true };
            limits(header, &Markers::default()).scans
        };
        assert_eq!([1, 1_000, 2_000, 7_000].map(scans), [500, 500, 250, 64]);
    }

    #[test]
    fn inverted_cmyk_becomes_rgb() {
        let mut data = vec![255, 128, 0, 255, 255, 128, 0, 128, 9, 9, 9, 0];
        cmyk_to_rgb(&mut data);
        assert_eq!(data, [255, 128, 0, 128, 64, 0, 0, 0, 0]);
    }
}
