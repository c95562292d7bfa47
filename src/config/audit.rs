//! `audit`: a second look at some of what pooling clears.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// A second look at some of what pooling clears.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Share of the images cleared without a test of their own that are tested alone all the same, 0 to 1. The metrics then estimate what
    /// pooling misses; an audit that finds a positive flags it, marked `audit`. Each costs an individual test: 0.01 costs about 1 % of
    /// individual testing.
    pub fraction: f64,
}

impl AuditConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let what = format!("is {}, must be 0 to 1, such as 0.01", self.fraction);
        require((0.0..=1.0).contains(&self.fraction), "audit.fraction", what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_a_share() {
        assert!([0.0, 0.01, 1.0].iter().all(|&fraction| AuditConfig { fraction }.validate().is_ok()));
        for fraction in [-0.1, 1.1, f64::NAN] {
            assert_eq!(AuditConfig { fraction }.validate().unwrap_err().key, "audit.fraction");
        }
    }
}
