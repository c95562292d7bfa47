//! Decodes PNG with the png crate.

use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use png::{
    BitDepth, BlendOp, ColorType, Decoder, DecodingError, DisposeOp, Limits, Reader,
    Transformations,
};

use super::canvas::{Area, Blend, Canvas, Disposal};
use super::exif::orientation;
use super::header::check_size;
use super::memory::Room;
use super::pixels::{Decoded, Samples, rgba};
use super::read::{Each, Outcome, Request};
use super::{DecodeError, DecodeFault};

/// The bytes of memory that the chunks and rows of a PNG may take, besides the pixels.
const ROOM: usize = 16 << 20;

/// The bytes of memory per pixel while a PNG is decoded (measured: 7 with transparency).
const BYTES_PER_PIXEL: u64 = 8;

/// The bytes of memory per pixel of an animation: besides, the canvas, what a frame replaces, and copies
/// of the frame and of the canvas.
const BYTES_PER_PIXEL_ANIMATED: u64 = 24;

type PngReader<'a> = Reader<Cursor<&'a [u8]>>;

/// Decodes a PNG, or the wanted frames of an animated PNG. Palettes and samples of other sizes become
/// 8 bits per sample.
///
/// A picture that is not part of the animation, for viewers without animations, counts as the first
/// frame, as in Pillow.
pub(super) fn read(
    bytes: &[u8],
    room: &mut Room<'_>,
    request: &Request,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    let mut reader = open(bytes, room.max_pixels())?;
    let samples = samples(&reader)?;
    let (width, height) = reader.info().size();
    let frames = frames(&reader);
    if frames > 1 && !request.wanted.only_first() {
        room.admit(width, height, BYTES_PER_PIXEL_ANIMATED)?;
        return animation(reader, samples, frames, request, each);
    }
    room.admit(width, height, BYTES_PER_PIXEL)?;
    let mut data = samples.buffer(width, height);
    let incomplete = match reader.next_frame(&mut data) {
        Ok(frame) if (frame.width, frame.height) != (width, height) => {
            let what = "PNG: the first frame does not cover the whole image";
            return Err(DecodeError::new(DecodeFault::Undecodable, what));
        }
        Ok(_) => false,
        Err(error) if ends_early(&error) && !reader.info().interlaced => {
            request.accept_incomplete("PNG: the file ends early")?;
            data = rows(open(bytes, room.max_pixels())?, samples)?;
            true
        }
        Err(error) => return Err(failure(&error)),
    };
    let orientation = orientation_of(&reader);
    each(0, Decoded { width, height, samples, data, orientation })?;
    Ok(Outcome { frames, incomplete })
}

/// A reader that has read everything before the first pixels.
fn open(bytes: &[u8], max_pixels: u64) -> Result<PngReader<'_>, DecodeError> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: ROOM });
    // These chunks are not used, and they can be large when inflated.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(|e| failure(&e))?;
    check_size(header.width, header.height, max_pixels)?;
    // 16-bit samples are reduced to their high byte, as in Pillow.
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.read_info().map_err(|e| failure(&e))
}

fn samples(reader: &PngReader<'_>) -> Result<Samples, DecodeError> {
    match reader.output_color_type() {
        (ColorType::Grayscale, BitDepth::Eight) => Ok(Samples::Grey),
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => Ok(Samples::GreyAlpha),
        (ColorType::Rgb, BitDepth::Eight) => Ok(Samples::Rgb),
        (ColorType::Rgba, BitDepth::Eight) => Ok(Samples::Rgba),
        (colour, depth) => Err(DecodeError::new(
            DecodeFault::UnsupportedFormat,
            format!("PNG: colour type {colour:?} with bit depth {depth:?} is not supported"),
        )),
    }
}

/// Frames, with a picture that is not part of the animation.
fn frames(reader: &PngReader<'_>) -> u32 {
    let info = reader.info();
    let animated = info.animation_control.map_or(0, |control| control.num_frames);
    let apart = u32::from(info.frame_control.is_none());
    animated.saturating_add(apart).max(1)
}

/// Decodes the wanted frames of an animation, each drawn on the canvas with the frames before it.
fn animation(
    mut reader: PngReader<'_>,
    samples: Samples,
    frames: u32,
    request: &Request,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    let (width, height) = reader.info().size();
    let wanted = request.wanted.of(frames, u64::from(width) * u64::from(height));
    let orientation = orientation_of(&reader);
    let mut canvas = Canvas::new(width, height);
    let mut data = samples.buffer(width, height);
    for number in 0..=wanted.last().copied().unwrap_or_default() {
        let frame = match reader.next_frame(&mut data) {
            Ok(frame) => frame,
            Err(error) if number > 0 && ends_early(&error) => {
                request.accept_incomplete("PNG: the file ends before its last frame")?;
                return Ok(Outcome { frames, incomplete: true });
            }
            Err(error) => return Err(failure(&error)),
        };
        let control = reader.info().frame_control;
        let (x, y) = control.map_or((0, 0), |control| (control.x_offset, control.y_offset));
        let area = Area { x, y, width: frame.width, height: frame.height };
        let blend = match control.map(|control| control.blend_op) {
            Some(BlendOp::Over) => Blend::Over,
            Some(BlendOp::Source) | None => Blend::Replace,
        };
        let disposal = match control.map(|control| control.dispose_op) {
            Some(DisposeOp::None) => Disposal::Keep,
            Some(DisposeOp::Previous) => Disposal::Restore,
            // The animation begins on a transparent canvas.
            Some(DisposeOp::Background) | None => Disposal::Clear,
        };
        canvas.draw(area, &rgba(&data[..frame.buffer_size()], samples), blend, disposal);
        if wanted.contains(&number) {
            each(number, canvas.decoded(orientation))?;
        }
    }
    Ok(Outcome { frames, incomplete: false })
}

/// The rows of a picture that the file has. Missing rows are white or transparent.
fn rows(mut reader: PngReader<'_>, samples: Samples) -> Result<Vec<u8>, DecodeError> {
    let (width, height) = reader.info().size();
    let stride = width as usize * samples.count();
    let mut data = samples.blank(width, height);
    for (read, row) in data.chunks_exact_mut(stride).enumerate() {
        match reader.read_row(row) {
            Ok(_) => {}
            Err(error) if read > 0 && ends_early(&error) => break,
            Err(error) => return Err(failure(&error)),
        }
    }
    Ok(data)
}

fn orientation_of(reader: &PngReader<'_>) -> Orientation {
    orientation(reader.info().exif_metadata.as_deref())
}

fn ends_early(error: &DecodingError) -> bool {
    matches!(error, DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof)
}

fn failure(error: &DecodingError) -> DecodeError {
    let reason = match error {
        DecodingError::LimitsExceeded => DecodeFault::TooManyPixels,
        _ => DecodeFault::Undecodable,
    };
    DecodeError::new(reason, format!("PNG: {error}"))
}
