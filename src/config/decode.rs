//! `decode`: how bytes become a tensor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// How bytes become a tensor.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Threads that read files and decode; 0: one a core.
    pub threads: usize,
    /// Most pixels of one image, by its header, before anything is decoded.
    pub max_pixels: u64,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self { threads: 0, max_pixels: 50_000_000 }
    }
}

impl DecodeConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        require(self.threads <= 1024, "decode.threads", "must be 0 (one a core) to 1024")?;
        require((1..=1 << 32).contains(&self.max_pixels), "decode.max_pixels", "must be 1 to 4294967296")
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
        assert_eq!(wrong(DecodeConfig { max_pixels: 0, ..Default::default() }), "decode.max_pixels");
    }
}
