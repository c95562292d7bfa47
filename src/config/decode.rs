//! `decode`: how images are decoded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// What becomes of a file that ends early.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Incomplete {
    /// It becomes a dead letter, with the reason `undecodable`.
    #[default]
    DeadLetter,
    /// It is judged on what is there, as a browser shows it, and its records have `incomplete: true`.
    /// Interlaced PNG and animated WebP files that end early still become dead letters.
    Judge,
}

/// How images are decoded.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Threads that decode images. 0: one per core.
    pub threads: usize,
    /// Pixels per image, at most. The header of an image is checked before the image is decoded.
    pub max_pixels: u64,
    /// Frames of an animation that are judged, at most: the first one, and others at equal distances. The
    /// image is flagged if any of them is. 1: only the first frame. Of an animation with more than
    /// 500,000,000 pixels in all frames, only the frames up to this number are sampled.
    pub frames: u32,
    /// What becomes of a file that ends early. Files can end early because they are still being written.
    pub incomplete: Incomplete,
    /// Bytes of memory for all images that are decoded at the same time, at most. A thread waits until
    /// its image has room. An image that needs more is decoded alone. Decoding takes up to 24 bytes per
    /// pixel.
    pub memory_bytes: u64,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self {
            threads: 0,
            max_pixels: 50_000_000,
            frames: 4,
            incomplete: Incomplete::DeadLetter,
            memory_bytes: 1 << 30,
        }
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
        require((1..=100).contains(&self.frames), "decode.frames", "must be 1 to 100")?;
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
        assert_eq!(wrong(DecodeConfig { frames: 0, ..Default::default() }), "decode.frames");
        let small = DecodeConfig { memory_bytes: 1, ..Default::default() };
        assert_eq!(wrong(small), "decode.memory_bytes");
    }
}
