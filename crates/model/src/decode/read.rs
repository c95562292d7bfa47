//! Decodes bytes to samples, with the decoder of the detected format.

use image::ImageFormat;

use super::frames::Wanted;
use super::memory::Room;
use super::pixels::Decoded;
use super::{DecodeError, DecodeFault, avif, gif, jpeg, png, raster, webp};

/// What is wanted of an image file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// A JPEG is decoded at a fraction of its size if the sides, turned upright, remain at least these
    /// (width, height).
    pub draft: Option<(u32, u32)>,
    /// The wanted frames.
    pub wanted: Wanted,
    /// Whether a file that ends early is decoded as far as it goes.
    pub incomplete: bool,
}

impl Request {
    /// Whether a file that ends early is decoded as far as it goes: otherwise, `what` says what is
    /// missing.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not.
    pub fn accept_incomplete(&self, what: &str) -> Result<(), DecodeError> {
        if self.incomplete {
            return Ok(());
        }
        Err(DecodeError::new(DecodeFault::Undecodable, what))
    }
}

/// What is known of an image file after it was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Frames in the file, as far as it is known. At least 1.
    pub frames: u32,
    /// Whether the file ends early, so that pixels or frames are missing.
    pub incomplete: bool,
}

impl Outcome {
    /// A complete still image.
    pub const STILL: Self = Self { frames: 1, incomplete: false };
}

/// Takes decoded frames, with their numbers from 0.
pub(super) type Each<'a> = dyn FnMut(u32, Decoded) -> Result<(), DecodeError> + 'a;

/// Decodes the wanted frames of an image. The format is detected from the bytes.
pub(super) fn read(
    bytes: &[u8],
    room: &mut Room<'_>,
    request: &Request,
    each: &mut Each<'_>,
) -> Result<Outcome, DecodeError> {
    const USE: &str = "use JPEG, PNG, WebP, GIF, AVIF, BMP or TIFF";
    let unsupported = |what: String| Err(DecodeError::new(DecodeFault::UnsupportedFormat, what));
    if avif::detect(bytes) {
        return avif::read(bytes, room, request, each);
    }
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg::read(bytes, room, request, each),
        Ok(ImageFormat::Png) => png::read(bytes, room, request, each),
        Ok(ImageFormat::WebP) => webp::read(bytes, room, request, each),
        Ok(ImageFormat::Gif) => gif::read(bytes, room, request, each),
        Ok(ImageFormat::Bmp) => raster::bmp(bytes, room, each),
        Ok(ImageFormat::Tiff) => raster::tiff(bytes, room, each),
        Ok(format) => unsupported(format!("{format:?} is not supported; {USE}")),
        Err(_) if heic(bytes) => unsupported(format!("HEIC is not supported; {USE}")),
        Err(_) => unsupported(format!("the image format is unknown; {USE}")),
    }
}

/// Whether the file type box names HEIC.
fn heic(bytes: &[u8]) -> bool {
    const BRANDS: [&[u8]; 6] = [b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"];
    bytes.get(4..8) == Some(b"ftyp") && bytes.get(8..12).is_some_and(|b| BRANDS.contains(&b))
}
