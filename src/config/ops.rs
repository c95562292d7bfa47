//! `ops`: health and metrics over HTTP.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// Health and metrics over HTTP: /healthz, /readyz, /metrics.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OpsConfig {
    /// Address and port to listen on.
    pub listen: String,
    /// /healthz fails when images are in flight and there was no verdict for this long. Time in
    /// which published records wait for the brokers, or a store of images is down, does not count.
    /// Must be above twice `fetch.deadline`, and above `group.max_wait`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub stalled_after: Duration,
}

impl Default for OpsConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".into(), stalled_after: Duration::from_secs(180) }
    }
}

impl OpsConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let address = self.listen.parse::<std::net::SocketAddr>().is_ok();
        require(address, "ops.listen", "must be an address and port, such as 0.0.0.0:9464")?;
        require(!self.stalled_after.is_zero(), "ops.stalled_after", "must be above 0, such as 3m")
    }
}
