//! `decode`: how images are decoded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// How images are decoded.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Threads that decode images. 0: one per core.
    pub threads: usize,
    /// Pixels per image, at most. The header of an image is checked before the image is decoded.
    pub max_pixels: u64,
    /// Bytes of memory for all images that are decoded at the same time, at most. A thread waits until
    /// its image has room. An image that needs more is decoded alone. Decoding takes up to 12 bytes per
    /// pixel.
    pub memory_bytes: u64,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self { threads: 0, max_pixels: 50_000_000, memory_bytes: 1 << 30 }
    }
}

impl DecodeConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        require(self.threads <= 1024, "decode.threads", "must be 0 (one per core) to 1024")?;
        require(
            (1..=1 << 32).contains(&self.max_pixels),
            "decode.max_pixels",
            "must be 1 to 4294967296",
        )?;
        let what = "must be at least 1048576 (1 MiB)";
        require(self.memory_bytes >= 1 << 20, "decode.memory_bytes", what)
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
        let small = DecodeConfig { memory_bytes: 1, ..Default::default() };
        assert_eq!(wrong(small), "decode.memory_bytes");
    }
}
