//! Decodes WebP with libwebp, as browsers and Pillow do.
//!
//! This crate has `unsafe` code. Its safety rests on these invariants:
//!
//! 1. The handle of a decoder is not null, belongs to one value, and is destroyed once, when the value
//!    is dropped. libwebp keeps all state of a decoder behind its handle and has no global state but
//!    the table of functions for the processor, which it sets under a lock.
//! 2. The bytes of the file are borrowed for as long as the handle lives, because libwebp does not copy
//!    them. libwebp reads no byte beyond the length that it is given.
//! 3. The output of a still picture has `height` rows of `width` pixels without gaps. libwebp is given
//!    its length, and refuses an output that is too short for the picture.
//! 4. The canvas of an animation belongs to its decoder and has `4 * width * height` bytes. It is
//!    borrowed until the next call, which may change it.
//! 5. Structures of C are zeroed before libwebp fills them. All their fields are integers and pointers,
//!    for which zero is valid.

mod animation;
mod still;

use libwebp_sys as sys;

pub use animation::Animation;

/// Why a file cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebPError {
    /// The file is damaged.
    #[error("the data are corrupt")]
    Corrupt,
    /// The file ends before its first pixels.
    #[error("the file ends early")]
    EndsEarly,
    /// libwebp has no memory.
    #[error("the decoder has no memory")]
    NoMemory,
    /// The output has not the length of the picture.
    #[error("a bug: the output has {found} bytes; the picture has {expected}")]
    Output {
        /// Bytes of the output.
        found: usize,
        /// Bytes of the picture.
        expected: usize,
    },
}

/// What the header of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Pixels per row of the picture, or of the canvas of an animation. 1 to 16384.
    pub width: u32,
    /// Rows of the picture, or of the canvas of an animation. 1 to 16384.
    pub height: u32,
    /// Whether the picture has transparency.
    pub alpha: bool,
    /// Whether the file is an animation.
    pub animated: bool,
}

impl Header {
    /// Samples per pixel, of 8 bits each: red, green and blue, and alpha if the picture has it.
    pub fn samples(&self) -> usize {
        if self.alpha { 4 } else { 3 }
    }
}

/// A WebP file whose header was read.
#[derive(Debug)]
pub struct WebP<'a> {
    bytes: &'a [u8],
    header: Header,
}

impl<'a> WebP<'a> {
    /// Reads the header of a file. A still picture must have the size of its canvas.
    ///
    /// # Errors
    /// [`WebPError`] if the header is damaged or incomplete.
    pub fn open(bytes: &'a [u8]) -> Result<Self, WebPError> {
        Ok(Self { bytes, header: still::header(bytes)? })
    }

    /// What the header says.
    pub fn header(&self) -> Header {
        self.header
    }

    /// The bytes of the EXIF chunk, if the file has one.
    pub fn exif(&self) -> Option<&'a [u8]> {
        chunk(self.bytes, b"EXIF")
    }

    /// Decodes a still picture to `output`, row by row, with [`Header::samples`] bytes per pixel. Returns
    /// the number of decoded rows. It is below the height if the file ends early; the rows after them are
    /// not changed.
    ///
    /// # Errors
    /// [`WebPError`] if the file is damaged, or if `output` has another length than the picture.
    pub fn decode(&self, output: &mut [u8]) -> Result<u32, WebPError> {
        let Header { width, height, .. } = self.header;
        let expected = width as usize * height as usize * self.header.samples();
        if output.len() != expected {
            return Err(WebPError::Output { found: output.len(), expected });
        }
        still::decode(self.bytes, &self.header, output)
    }

    /// The frames of an animation.
    ///
    /// # Errors
    /// [`WebPError`] if the file is damaged, or if it ends early.
    pub fn animation(&self) -> Result<Animation<'a>, WebPError> {
        Animation::new(self.bytes)
    }
}

/// The content of the first chunk with this name at the top level of a file. libwebp's demultiplexer
/// returns chunks only of files that it accepts as a whole.
fn chunk<'a>(file: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    const FILE_HEAD: usize = 12;
    let mut rest = file.get(FILE_HEAD..)?;
    while let Some(([found @ .., a, b, c, d], content)) = rest.split_first_chunk::<8>() {
        let size = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        if found == name {
            return content.get(..size);
        }
        // Contents are padded to an even size.
        rest = content.get(size.saturating_add(size & 1)..)?;
    }
    None
}

/// The error of a status. `None` for a decoder that has done its work, or waits for more bytes.
fn error(status: sys::VP8StatusCode) -> Option<WebPError> {
    match status {
        sys::VP8StatusCode::VP8_STATUS_OK | sys::VP8StatusCode::VP8_STATUS_SUSPENDED => None,
        sys::VP8StatusCode::VP8_STATUS_NOT_ENOUGH_DATA => Some(WebPError::EndsEarly),
        sys::VP8StatusCode::VP8_STATUS_OUT_OF_MEMORY => Some(WebPError::NoMemory),
        _ => Some(WebPError::Corrupt),
    }
}
