//! `audit`: individual tests of some images that exits or pooled tests cleared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// Individual tests of some images that exits or pooled tests cleared.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Share of the images cleared by the screen, an exit or a pooled test that are also tested
    /// alone, 0 to 1. The metrics then estimate how many positives exits and pooling miss. A
    /// positive that an audit finds is flagged, marked `audit`. Each audit costs one individual
    /// test: 0.01 costs about 1 % of individual testing.
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
        assert!(
            [0.0, 0.01, 1.0].iter().all(|&fraction| AuditConfig { fraction }.validate().is_ok())
        );
        for fraction in [-0.1, 1.1, f64::NAN] {
            assert_eq!(AuditConfig { fraction }.validate().unwrap_err().key, "audit.fraction");
        }
    }
}
