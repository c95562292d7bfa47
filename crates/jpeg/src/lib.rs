//! Decodes JPEG with libjpeg-turbo, through its TurboJPEG interface.
//!
//! This crate has `unsafe` code. Its safety rests on these invariants:
//!
//! 1. A handle is not null, belongs to one [`Jpeg`], and is destroyed once, when it is dropped.
//!    TurboJPEG keeps all state of a decoder behind its handle, so a handle may move to another thread.
//! 2. The bytes of the file are borrowed for as long as the handle lives. TurboJPEG reads no byte
//!    beyond the length that it is given.
//! 3. TurboJPEG writes the rows of the image, of the size in the header divided by the scale and
//!    rounded up, without gaps. The output slice has exactly that length. The size comes from the same
//!    bytes, so it cannot differ. A lossless image would be written in full at any scale, and is
//!    therefore refused.
//! 4. TurboJPEG leaves a function after an error by `longjmp` within C. No Rust code is on the stack
//!    in between, because TurboJPEG calls no Rust code.

mod handle;

use handle::{Failed, Handle};
use turbojpeg_sys as sys;

/// Why an image cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// The file is damaged, or libjpeg-turbo does not support its kind of JPEG.
    #[error("{0}")]
    Failed(String),
    /// The output has not the length of the image.
    #[error("a bug: the output has {found} bytes; the image has {expected}")]
    Output {
        /// Bytes of the output.
        found: usize,
        /// Bytes of the image.
        expected: usize,
    },
    /// A kind of JPEG that is not decoded.
    #[error("{0}")]
    Unsupported(String),
}

/// The samples of a decoded pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// One sample: grey.
    Grey,
    /// Three samples: red, green, blue.
    Rgb,
    /// Four samples: cyan, magenta, yellow, black, as they are stored. Adobe's programs store them
    /// inverted.
    Cmyk,
}

impl Colour {
    /// Samples per pixel, of 8 bits each.
    pub fn samples(self) -> usize {
        match self {
            Colour::Grey => 1,
            Colour::Rgb => 3,
            Colour::Cmyk => 4,
        }
    }

    fn pixel_format(self) -> sys::TJPF {
        match self {
            Colour::Grey => sys::TJPF_TJPF_GRAY,
            Colour::Rgb => sys::TJPF_TJPF_RGB,
            Colour::Cmyk => sys::TJPF_TJPF_CMYK,
        }
    }
}

/// What the header of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Pixels per row, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// The samples of a pixel.
    pub colour: Colour,
    /// Whether the coefficients of the whole image are in memory at the same time.
    pub progressive: bool,
}

/// What decoding may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Scans, at most, at least 1. Each scan of a progressive image passes over the whole image.
    pub scans: u16,
    /// Bytes that libjpeg-turbo may allocate if it keeps the coefficients of the whole image, rounded up
    /// to whole MiB. Without them, it allocates some rows, whose bytes the format limits.
    pub memory: u64,
}

/// A JPEG file whose header was read.
#[derive(Debug)]
pub struct Jpeg<'a> {
    handle: Handle<'a>,
    header: Header,
}

impl<'a> Jpeg<'a> {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// [`JpegError::Failed`] if the header is damaged. [`JpegError::Unsupported`] if the image is
    /// lossless, is arithmetically coded, or has samples of more or less than 8 bits. Browsers show
    /// none of these, and small files of these kinds can take minutes.
    pub fn open(bytes: &'a [u8]) -> Result<Self, JpegError> {
        let mut handle = Handle::new(bytes)?;
        if let Err(failed) = handle.read_header() {
            failed.warning_or_error()?;
        }
        let header = header(&mut handle)?;
        Ok(Self { handle, header })
    }

    /// What the header says.
    pub fn header(&self) -> Header {
        self.header
    }

    /// The size of the image, decoded at `1 / scale`: width and height.
    pub fn size(&self, scale: Scale) -> (u32, u32) {
        let divisor = scale.divisor();
        (self.header.width.div_ceil(divisor), self.header.height.div_ceil(divisor))
    }

    /// Decodes the image to `output`, row by row, with [`Colour::samples`] bytes per pixel. Returns the
    /// first damage that libjpeg-turbo has passed over, if there was any: rows may then be missing,
    /// grey, or shifted.
    ///
    /// # Errors
    /// [`JpegError`] if the image cannot be decoded, if it exceeds `limits`, or if `output` has another
    /// length than the image.
    pub fn decode(
        mut self,
        scale: Scale,
        limits: Limits,
        output: &mut [u8],
    ) -> Result<Option<String>, JpegError> {
        let (width, height) = self.size(scale);
        let colour = self.header.colour;
        let expected = width as usize * height as usize * colour.samples();
        if output.len() != expected {
            return Err(JpegError::Output { found: output.len(), expected });
        }
        self.handle.limit(limits);
        match self.handle.decode(scale.divisor(), colour.pixel_format(), output) {
            Ok(()) => Ok(None),
            Err(failed) => failed.warning_or_error().map(Some),
        }
    }
}

/// The fraction of its size at which an image is decoded, in the domain of the discrete cosine
/// transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// In full.
    Full,
    /// Half of the width and of the height, rounded up.
    Half,
    /// A quarter.
    Quarter,
    /// An eighth.
    Eighth,
}

impl Scale {
    /// The number by which both sides are divided.
    pub fn divisor(self) -> u32 {
        match self {
            Scale::Full => 1,
            Scale::Half => 2,
            Scale::Quarter => 4,
            Scale::Eighth => 8,
        }
    }
}

/// The header that the handle has read.
fn header(handle: &mut Handle<'_>) -> Result<Header, JpegError> {
    let unsupported = |what: &str| JpegError::Unsupported(what.to_owned());
    if handle.get(sys::TJPARAM_TJPARAM_LOSSLESS) == 1 {
        return Err(unsupported("a lossless JPEG is not decoded"));
    }
    if handle.get(sys::TJPARAM_TJPARAM_ARITHMETIC) == 1 {
        return Err(unsupported("an arithmetically coded JPEG is not decoded"));
    }
    if handle.get(sys::TJPARAM_TJPARAM_PRECISION) != 8 {
        return Err(unsupported("a JPEG with samples of other than 8 bits is not decoded"));
    }
    let positive = |value: i32| u32::try_from(value).ok().filter(|&value| value > 0);
    let size = |value| {
        positive(value).ok_or_else(|| JpegError::Failed("the file has no image".to_owned()))
    };
    let width = size(handle.get(sys::TJPARAM_TJPARAM_JPEGWIDTH))?;
    let height = size(handle.get(sys::TJPARAM_TJPARAM_JPEGHEIGHT))?;
    let colour = match u32::try_from(handle.get(sys::TJPARAM_TJPARAM_COLORSPACE)) {
        Ok(sys::TJCS_TJCS_GRAY) => Colour::Grey,
        Ok(sys::TJCS_TJCS_RGB | sys::TJCS_TJCS_YCbCr) => Colour::Rgb,
        Ok(sys::TJCS_TJCS_CMYK | sys::TJCS_TJCS_YCCK) => Colour::Cmyk,
        _ => return Err(unsupported("the colours are of an unknown kind")),
    };
    let progressive = handle.get(sys::TJPARAM_TJPARAM_PROGRESSIVE) == 1;
    Ok(Header { width, height, colour, progressive })
}

impl Failed {
    /// The warning, or the error if the image cannot be decoded.
    ///
    /// A fatal error after a warning also has the code of a warning, but its own message. Only the
    /// messages of libjpeg's warnings are therefore taken for warnings.
    fn warning_or_error(self) -> Result<String, JpegError> {
        const WARNINGS: [&str; 6] = [
            "Corrupt JPEG data",
            "Premature end of JPEG file",
            "Inconsistent progression sequence",
            "Unknown Adobe color transform code",
            "Warning: unknown JFIF revision number",
            "Invalid SOS parameters for sequential JPEG",
        ];
        let known = WARNINGS.iter().any(|warning| self.message.starts_with(warning));
        if self.warning && known { Ok(self.message) } else { Err(JpegError::Failed(self.message)) }
    }
}
