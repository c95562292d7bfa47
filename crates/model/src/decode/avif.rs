//! Decodes AVIF with libavif and dav1d, as browsers and Pillow do.

use dorfman_avif::{Avif, AvifError, Header, Mirror, Rect};
use image::metadata::Orientation;

use super::memory::Room;
use super::pixels::{Decoded, Samples};
use super::read::{Each, Outcome, Request};
use super::{DecodeError, DecodeFault};

/// The bytes of memory per pixel while an AVIF is decoded: planes of 16 bits in the decoder and in
/// libavif, and the pixels.
const BYTES_PER_PIXEL: u64 = 24;

/// Whether the bytes are those of an AVIF.
pub(super) fn detect(bytes: &[u8]) -> bool {
    Avif::detect(bytes)
}

/// Decodes the wanted frames of an AVIF. A still AVIF has one frame.
pub(super) fn read(
    bytes: &[u8],
    room: &mut Room<'_>,
    request: &Request,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    let mut file = Avif::open(bytes).map_err(|e| failure(&e))?;
    let header = file.header();
    room.admit(header.width, header.height, BYTES_PER_PIXEL)?;
    let Header { width, height, alpha, frames, .. } = header;
    let samples = if alpha { Samples::Rgba } else { Samples::Rgb };
    let orientation = orientation(header.quarter_turns, header.mirror);
    for number in request.wanted.of(frames, u64::from(width) * u64::from(height)) {
        let mut data = samples.buffer(width, height);
        file.decode(number, &mut data).map_err(|e| failure(&e))?;
        let whole = Decoded { width, height, samples, data, orientation };
        each(number, header.crop.map_or_else(|| whole.clone(), |crop| cropped(&whole, crop)))?;
    }
    Ok(Outcome { frames, incomplete: false })
}

/// The part of a picture that is shown.
fn cropped(whole: &Decoded, crop: Rect) -> Decoded {
    let bytes = whole.samples.count();
    let stride = whole.width as usize * bytes;
    let (first, len) = (crop.x as usize * bytes, crop.width as usize * bytes);
    let rows = whole.data.chunks_exact(stride).skip(crop.y as usize).take(crop.height as usize);
    let data = rows.flat_map(|row| &row[first..first + len]).copied().collect();
    Decoded { width: crop.width, height: crop.height, data, ..*whole }
}

/// How the stored picture is turned: clockwise, then mirrored.
fn orientation(quarter_turns: u8, mirror: Option<Mirror>) -> Orientation {
    // An exchange of top and bottom is one of left and right, and a half turn.
    let turns = if mirror == Some(Mirror::TopBottom) { quarter_turns + 2 } else { quarter_turns };
    match (turns % 4, mirror.is_some()) {
        (0, false) => Orientation::NoTransforms,
        (1, false) => Orientation::Rotate90,
        (2, false) => Orientation::Rotate180,
        (_, false) => Orientation::Rotate270,
        (0, true) => Orientation::FlipHorizontal,
        (1, true) => Orientation::Rotate90FlipH,
        (2, true) => Orientation::FlipVertical,
        (_, true) => Orientation::Rotate270FlipH,
    }
}

fn failure(error: &AvifError) -> DecodeError {
    DecodeError::new(DecodeFault::Undecodable, format!("AVIF: {error}"))
}
