//! `model`: the network.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};
use crate::model::Provider;

/// The network and what runs it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// The bundle's folder (docs/bundle.md).
    pub bundle: PathBuf,
    /// What runs it: `cpu`, `cuda` or `tensorrt`. A GPU that can't be had stops the worker, unless `allow_cpu`.
    pub provider: Provider,
    /// Whether the bundle's confirm network, if it has one, has the last word: an image is then flagged only if this network, which looks at
    /// images alone, finds it positive too. Fewer false flags, for one more test of each image that would be flagged.
    pub confirm: bool,
    /// Which GPU.
    pub device: i32,
    /// Run on the CPU, with a warning and a metric, where the GPU can't be had.
    pub allow_cpu: bool,
    /// Threads of the network's pool on the CPU; 0: one a core.
    pub threads: usize,
    /// ONNX Runtime's library; default: the environment's ORT_DYLIB_PATH, then where `scripts/setup.sh` put it, then the system's.
    pub onnxruntime: Option<PathBuf>,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            bundle: "models/fashion-bag".into(),
            confirm: true,
            provider: Provider::Cpu,
            device: 0,
            allow_cpu: false,
            threads: 0,
            onnxruntime: None,
        }
    }
}

impl ModelConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        require(!self.bundle.as_os_str().is_empty(), "model.bundle", "must be the folder of a bundle")?;
        require(self.device >= 0, "model.device", "must be the number of a GPU, from 0")?;
        require(self.threads <= 1024, "model.threads", "must be 0 (one a core) to 1024")
    }
}
