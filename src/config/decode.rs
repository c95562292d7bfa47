//! `decode`: how images are decoded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// How images are decoded.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Threads that read files and decode images. 0: one per core.
    pub threads: usize,
    /// Pixels per image, at most. The header of an image is checked before the image is decoded.
    pub max_pixels: u64,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self { threads: 0, max_pixels: 50_000_000 }
    }
}

impl DecodeConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        require(self.threads <= 1024, "decode.threads", "must be 0 (one per core) to 1024")?;
        require(
            (1..=1 << 32).contains(&self.max_pixels),
            "decode.max_pixels",
            "must be 1 to 4294967296",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_name_their_key() {
        assert_eq!(DecodeConfig::default().validate(), Ok(()));
        let wrong = |c: DecodeConfig| c.validate().unwrap_err().key;
        assert_eq!(wrong(DecodeConfig { threads: 1025, ..Default::default() }), "decode.threads");
        assert_eq!(
            wrong(DecodeConfig { max_pixels: 0, ..Default::default() }),
            "decode.max_pixels"
        );
    }
}
