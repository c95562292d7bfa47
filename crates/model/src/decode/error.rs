//! Why bytes do not become a tensor.

/// Why bytes do not become a tensor.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct DecodeError {
    /// The kind of fault, for programs.
    pub fault: DecodeFault,
    /// What exactly is wrong, for people.
    pub detail: String,
}

/// The kind of a decoding fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeFault {
    /// The bytes are not an image of a known format.
    UnsupportedFormat,
    /// The image is broken.
    Undecodable,
    /// The image has more pixels than allowed.
    TooManyPixels,
}

impl DecodeError {
    /// An error of a kind.
    pub fn new(fault: DecodeFault, detail: impl Into<String>) -> Self {
        Self { fault, detail: detail.into() }
    }
}
