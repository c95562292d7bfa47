//! `model`: the network and its provider.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};
use dorfman_model::Provider;

/// The network and its provider.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// The folder of the bundle (docs/bundle.md).
    pub bundle: PathBuf,
    /// The execution provider of ONNX Runtime: `cpu`, `cuda` or `tensorrt`. The worker does not
    /// start if the provider is not available, unless `allow_cpu` is set.
    pub provider: Provider,
    /// Whether to use the confirm network of the bundle, if the bundle has one. An image is then
    /// flagged only if the confirm network, which scores single images, also scores it positive.
    /// This causes fewer false flags, at one more test per flag.
    pub confirm: bool,
    /// The number of the GPU, from 0.
    pub device: i32,
    /// Whether to run on the CPU, with a warning and a metric, if the provider is not available.
    pub allow_cpu: bool,
    /// The folder in which TensorRT keeps the engines that it builds for a network, which takes
    /// minutes. The folder must be writable. The engines fit one kind of GPU. Default: TensorRT builds
    /// the engines at each start.
    pub engine_cache: Option<PathBuf>,
    /// Threads of ONNX Runtime's pool on the CPU. 0: one per core, or as the CPU quota of the
    /// container allows.
    pub threads: usize,
    /// The library of ONNX Runtime. Default: the environment variable ORT_DYLIB_PATH, then the
    /// folder of `scripts/setup.sh`, then the library path of the system.
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
            engine_cache: None,
            threads: 0,
            onnxruntime: None,
        }
    }
}

impl ModelConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        require(
            !self.bundle.as_os_str().is_empty(),
            "model.bundle",
            "must be the folder of a bundle",
        )?;
        require(self.device >= 0, "model.device", "must be the number of a GPU, from 0")?;
        let cached = self.engine_cache.is_none() || self.provider == Provider::TensorRt;
        require(cached, "model.engine_cache", "needs `model.provider: tensorrt`; leave it out")?;
        require(self.threads <= 1024, "model.threads", "must be 0 (one per core) to 1024")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_cache_needs_tensorrt() {
        let cached = |provider| ModelConfig {
            provider,
            engine_cache: Some("/cache".into()),
            ..ModelConfig::default()
        };
        cached(Provider::TensorRt).validate().unwrap();
        for provider in [Provider::Cpu, Provider::Cuda] {
            let error = cached(provider).validate().unwrap_err();
            assert_eq!(error.key, "model.engine_cache");
        }
    }
}
