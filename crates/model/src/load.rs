//! Loads a bundle's network on a provider.

use std::path::PathBuf;

use tracing::warn;

use super::profile::Machine;
use super::{Bundle, OnnxNetwork, OnnxScreen, Provider, Runtime, RuntimeError, Target};

/// Where and how a network is loaded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadOptions {
    /// The provider and the device that run the stages.
    pub target: Target,
    /// Whether to run on the CPU where the provider is not available.
    pub allow_cpu: bool,
    /// Threads of the network's pool on the CPU; 0: one per core.
    pub threads: usize,
    /// The file of ONNX Runtime's library. `None`: the usual places are searched.
    pub library: Option<PathBuf>,
    /// Slots of level 0: the number of items whose features can be kept at once.
    pub slots: usize,
}

/// A bundle's network with the runtime and provider that it was loaded on.
pub struct LoadedNetwork {
    /// The network.
    pub network: OnnxNetwork,
    /// The screen, if the bundle has one.
    pub screen: Option<OnnxScreen>,
    /// ONNX Runtime.
    pub runtime: Runtime,
    /// The provider that runs the stages: the requested provider, or the CPU as the fallback.
    pub provider: Provider,
}

impl LoadedNetwork {
    /// Loads the stages of a bundle on the requested provider or, if that is allowed, on the CPU.
    ///
    /// # Errors
    /// [`RuntimeError`] if ONNX Runtime, the provider or a model file cannot be used.
    pub fn open(bundle: &Bundle, options: &LoadOptions) -> Result<Self, RuntimeError> {
        let runtime = Runtime::load(options.library.as_deref(), options.threads)?;
        let open = |target: &Target| OnnxNetwork::new(bundle, &runtime, target, options.slots);
        let (network, target) = match open(&options.target) {
            Err(RuntimeError::Provider { message, provider }) if options.allow_cpu => {
                warn!(
                    ?provider,
                    message,
                    "the provider is not available; running on the CPU (`model.allow_cpu`)"
                );
                let target = options.target.on_cpu();
                (open(&target)?, target)
            }
            opened => (opened?, options.target.clone()),
        };
        let screen = OnnxScreen::new(bundle, &runtime, &target)?;
        Ok(Self { network, screen, runtime, provider: target.provider })
    }

    /// The machine that the network runs on, for profiles. `options` are those of
    /// [`LoadedNetwork::open`].
    pub fn machine(&self, options: &LoadOptions) -> Machine {
        Machine::detect(&self.runtime, self.provider, options.target.device, options.threads)
    }
}
