//! Loads a bundle's network on a provider.

use std::path::PathBuf;

use tracing::warn;

use super::profile::Machine;
use super::{Bundle, OnnxNetwork, Provider, Runtime, RuntimeError};

/// Where and how a network is loaded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadOptions {
    /// The provider that runs the stages.
    pub provider: Provider,
    /// The number of the GPU, from 0.
    pub device: i32,
    /// Whether to run on the CPU where the provider is not available.
    pub allow_cpu: bool,
    /// Threads of the network's pool on the CPU; 0: one per core.
    pub threads: usize,
    /// ONNX Runtime's library. `None`: searched for.
    pub library: Option<PathBuf>,
    /// Slots of level 0: items whose features can be kept at once.
    pub slots: usize,
}

/// A bundle's network with the runtime and provider that it was loaded on.
pub struct LoadedNetwork {
    /// The network.
    pub network: OnnxNetwork,
    /// ONNX Runtime.
    pub runtime: Runtime,
    /// The provider that is used, which may be the CPU instead of the requested one.
    pub provider: Provider,
}

impl LoadedNetwork {
    /// Loads the stages of a bundle on the requested provider or, if that is allowed, on the CPU.
    ///
    /// # Errors
    /// [`RuntimeError`], which names what is missing and how to get it.
    pub fn open(bundle: &Bundle, options: &LoadOptions) -> Result<Self, RuntimeError> {
        let runtime = Runtime::load(options.library.as_deref(), options.threads)?;
        let open =
            |provider| OnnxNetwork::new(bundle, &runtime, provider, options.device, options.slots);
        let (network, provider) = match open(options.provider) {
            Err(RuntimeError::Provider { message, provider }) if options.allow_cpu => {
                warn!(
                    ?provider,
                    message,
                    "the provider is not available; running on the CPU, as `model.allow_cpu` permits"
                );
                (open(Provider::Cpu)?, Provider::Cpu)
            }
            opened => (opened?, options.provider),
        };
        Ok(Self { network, runtime, provider })
    }

    /// The machine that the network runs on.
    pub fn machine(&self, options: &LoadOptions) -> Machine {
        Machine::detect(&self.runtime, self.provider, options.device, options.threads)
    }
}
