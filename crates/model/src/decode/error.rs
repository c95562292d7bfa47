//! The error of decoding.

/// Why the bytes of an image cannot be turned into pixels.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct DecodeError {
    /// The kind of the fault, for programs.
    pub fault: DecodeFault,
    /// A message for users that states what is wrong.
    pub detail: String,
}

/// The kind of a decoding fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeFault {
    /// The bytes are not an image of a known format.
    UnsupportedFormat,
    /// The image is damaged or incomplete.
    Undecodable,
    /// The image has more pixels than allowed.
    TooManyPixels,
}

impl DecodeError {
    /// An error of this kind, with a message for users.
    pub fn new(fault: DecodeFault, detail: impl Into<String>) -> Self {
        Self { fault, detail: detail.into() }
    }
}
