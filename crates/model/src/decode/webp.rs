//! Decodes WebP with libwebp, as browsers and Pillow do.

use dorfman_webp::{Header, WebP, WebPError};

use super::exif::orientation;
use super::memory::Room;
use super::pixels::{Decoded, Samples};
use super::read::{Each, Outcome, Request};
use super::{DecodeError, DecodeFault};

/// The bytes of memory per pixel while a WebP is decoded: the pixels, and as much for the decoder.
const BYTES_PER_PIXEL: u64 = 12;

/// The bytes of memory per pixel of an animation: besides, the canvas and its copy.
const BYTES_PER_PIXEL_ANIMATED: u64 = 20;

/// Decodes a WebP, or the wanted frames of an animated WebP.
pub(super) fn read(
    bytes: &[u8],
    room: &mut Room<'_>,
    request: &Request,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    let file = WebP::open(bytes).map_err(|e| failure(&e))?;
    let header = file.header();
    if header.animated {
        room.admit(header.width, header.height, BYTES_PER_PIXEL_ANIMATED)?;
        return animation(&file, request, each);
    }
    room.admit(header.width, header.height, BYTES_PER_PIXEL)?;
    let Header { width, height, alpha, .. } = header;
    let samples = if alpha { Samples::Rgba } else { Samples::Rgb };
    let mut data = samples.blank(width, height);
    let rows = file.decode(&mut data).map_err(|e| failure(&e))?;
    let incomplete = rows < height;
    if incomplete {
        request.accept_incomplete("WebP: the file ends early")?;
    }
    let orientation = orientation(file.exif());
    each(0, Decoded { width, height, samples, data, orientation })?;
    Ok(Outcome { frames: 1, incomplete })
}

/// Decodes the wanted frames of an animation.
fn animation(
    file: &WebP<'_>,
    request: &Request,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    let Header { width, height, .. } = file.header();
    let mut animation = file.animation().map_err(|e| failure(&e))?;
    let frames = animation.frames();
    let wanted = request.wanted.of(frames, u64::from(width) * u64::from(height));
    let orientation = orientation(file.exif());
    for number in 0..=wanted.last().copied().unwrap_or_default() {
        let Some(canvas) = animation.draw_next().map_err(|e| failure(&e))? else {
            return Err(DecodeError::new(DecodeFault::Undecodable, "WebP: a frame is missing"));
        };
        if wanted.contains(&number) {
            let data = canvas.to_vec();
            each(number, Decoded { width, height, samples: Samples::Rgba, data, orientation })?;
        }
    }
    Ok(Outcome { frames, incomplete: false })
}

fn failure(error: &WebPError) -> DecodeError {
    DecodeError::new(DecodeFault::Undecodable, format!("WebP: {error}"))
}
