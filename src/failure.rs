//! Why an item was not scored.

use std::fmt;

use dorfman_core::engine::NotFinite;
use dorfman_model::decode::{DecodeError, DecodeFault};

/// Why an item was not scored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Failure {
    /// The reason code, for programs and metrics.
    pub reason: Reason,
    /// What exactly was wrong, for people.
    pub detail: String,
}

impl Failure {
    /// A failure with its reason and detail.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $code:literal),+ $(,)?) => {
        /// Reason codes of dead letters. The codes are stable; they are used as metric labels.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant),+ }

        impl Reason {
            /// Every reason, in a fixed order.
            pub const ALL: &[Reason] = &[$(Reason::$variant),+];

            /// The code in records and metrics.
            pub fn code(self) -> &'static str {
                match self { $(Reason::$variant => $code),+ }
            }
        }
    };
}

reasons! {
    /// The record is not a reference (bad JSON, no id, no location, bad base64).
    Malformed => "malformed",
    /// The worker does not fetch URIs of this scheme.
    UnsupportedScheme => "unsupported_scheme",
    /// The configuration does not allow the location (roots, private addresses).
    Forbidden => "forbidden",
    /// There is no such image (no such file, HTTP 404 or 410).
    NotFound => "not_found",
    /// The image has more bytes than allowed.
    TooLarge => "too_large",
    /// The fetch took longer than allowed, including retries.
    Timeout => "timeout",
    /// The server or the file system failed, including retries.
    Unavailable => "unavailable",
    /// The bytes are not an image of a known format.
    UnsupportedFormat => "unsupported_format",
    /// The image is broken.
    Undecodable => "undecodable",
    /// The image has more pixels than allowed.
    TooManyPixels => "too_many_pixels",
    /// The network's score of the image was not a number.
    ScoreNotFinite => "score_not_finite",
    /// The image has ended the worker several times.
    Quarantined => "quarantined",
    /// The broker refuses the flag or the verdict of the image.
    Undeliverable => "undeliverable",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        let reason = match error.fault {
            DecodeFault::UnsupportedFormat => Reason::UnsupportedFormat,
            DecodeFault::Undecodable => Reason::Undecodable,
            DecodeFault::TooManyPixels => Reason::TooManyPixels,
        };
        Self::new(reason, error.detail)
    }
}

impl From<NotFinite> for Failure {
    fn from(error: NotFinite) -> Self {
        Self::new(Reason::ScoreNotFinite, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_codes_are_distinct() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
