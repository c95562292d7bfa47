//! Decodes AVIF with libavif and dav1d, as browsers and Pillow do.
//!
//! This crate has `unsafe` code. Its safety rests on these invariants:
//!
//! 1. The handle of a decoder is not null, belongs to one [`Avif`], and is destroyed once, when it is
//!    dropped. All state of a decoder is behind its handle.
//! 2. The bytes of the file are borrowed for as long as the handle lives, because libavif does not copy
//!    them. libavif reads no byte beyond the length that it is given.
//! 3. The fields of a decoder may be written before it parses the file, and the limit of the size before
//!    the first frame is decoded. `image` points to the current frame, which the decoder owns.
//! 4. libavif writes the rows of a frame, of the size in the header, without gaps. The output slice has
//!    exactly that length, and a frame of another size is refused before.
//! 5. Structures of C are zeroed before libavif fills them. All their fields are numbers and pointers,
//!    for which zero is valid.

mod handle;

use handle::Handle;

/// Why a file cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AvifError {
    /// The file is damaged, or libavif does not support its kind of AVIF.
    #[error("{0}")]
    Failed(String),
    /// The output has not the length of the frame.
    #[error("a bug: the output has {found} bytes; the frame has {expected}")]
    Output {
        /// Bytes of the output.
        found: usize,
        /// Bytes of the frame.
        expected: usize,
    },
}

/// What the header of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Pixels per row, as stored. At least 1.
    pub width: u32,
    /// Rows, as stored. At least 1.
    pub height: u32,
    /// Whether the file has transparency.
    pub alpha: bool,
    /// The number of frames. At least 1.
    pub frames: u32,
    /// The part of the stored picture that is shown. `None`: all of it.
    pub crop: Option<Rect>,
    /// By how many quarter turns the picture is turned clockwise after it is cropped, 0 to 3.
    pub quarter_turns: u8,
    /// How the picture is mirrored after it is turned.
    pub mirror: Option<Mirror>,
}

impl Header {
    /// Samples per pixel, of 8 bits each: red, green and blue, and alpha if the file has it.
    pub fn samples(&self) -> usize {
        if self.alpha { 4 } else { 3 }
    }
}

/// A part of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// The first column.
    pub x: u32,
    /// The first row.
    pub y: u32,
    /// Columns, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
}

/// How a picture is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mirror {
    /// The left and the right side are exchanged.
    LeftRight,
    /// The top and the bottom are exchanged.
    TopBottom,
}

/// An AVIF file whose header was read.
#[derive(Debug)]
pub struct Avif<'a> {
    handle: Handle<'a>,
    header: Header,
}

impl<'a> Avif<'a> {
    /// Whether the bytes are those of an AVIF file.
    pub fn detect(bytes: &[u8]) -> bool {
        handle::detect(bytes)
    }

    /// Reads the header of a file.
    ///
    /// # Errors
    /// [`AvifError`] if the header is damaged, or if a side has more than 32,768 pixels.
    pub fn open(bytes: &'a [u8]) -> Result<Self, AvifError> {
        let mut handle = Handle::open(bytes)?;
        let header = handle.header()?;
        handle.limit(header.width, header.height);
        Ok(Self { handle, header })
    }

    /// What the header says.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Decodes a frame to `output`, row by row as stored, with [`Header::samples`] bytes per pixel. Frames
    /// before it are decoded too if it depends on them.
    ///
    /// # Errors
    /// [`AvifError`] if the frame does not exist or is damaged, or if `output` has another length than the
    /// frame.
    pub fn decode(&mut self, frame: u32, output: &mut [u8]) -> Result<(), AvifError> {
        let Header { width, height, .. } = self.header;
        let expected = width as usize * height as usize * self.header.samples();
        if output.len() != expected {
            return Err(AvifError::Output { found: output.len(), expected });
        }
        self.handle.decode(frame, &self.header, output)
    }
}
