//! A model as the worker needs it: a network, thresholds, and names.

use tracing::{info, warn};

use crate::config::Config;
use crate::engine::Network;
use crate::model::manifest::InputSpec;
use crate::model::profile::Machine;
use crate::model::{Bundle, OnnxNetwork, Profile, Provider, Runtime, RuntimeError};
use crate::retest::Thresholds;
use crate::sink::message::BundleName;

use super::WorkerError;

/// A network with all that is said about it.
pub struct Model {
    /// What scores.
    pub network: Box<dyn Network>,
    /// What judges the scores.
    pub thresholds: Thresholds,
    /// What judges the scores of the network's confirm, if it is to have the last word.
    pub confirm: Option<Thresholds>,
    /// What plans are made from where the worker makes them itself; none if nothing is known of the network.
    pub calibrated: Option<Bundle>,
    /// What an image must look like.
    pub input: InputSpec,
    /// The names of the score columns.
    pub labels: Vec<String>,
    /// What records call it.
    pub bundle: BundleName,
    /// What runs it.
    pub provider: Provider,
    /// Whether a GPU was asked for and the CPU is used.
    pub fell_back: bool,
    /// What its runs should take here, if that was measured.
    pub profile: Option<Profile>,
}

/// A bundle's network where the configuration wants it.
pub(crate) struct Loaded {
    pub network: OnnxNetwork,
    pub runtime: Runtime,
    pub provider: Provider,
}

impl Loaded {
    /// Loads a bundle on the configured provider or, if that is allowed, on the CPU.
    ///
    /// # Errors
    /// [`RuntimeError`] with what is missing and how to get it.
    pub fn open(config: &Config, bundle: &Bundle) -> Result<Self, RuntimeError> {
        let runtime = Runtime::load(config.model.onnxruntime.as_deref(), config.model.threads)?;
        let (network, provider) = network(config, bundle, &runtime)?;
        Ok(Self { network, runtime, provider })
    }

    /// The machine it runs on.
    pub fn machine(&self, config: &Config) -> Machine {
        Machine::detect(&self.runtime, self.provider, config.model.device, config.model.threads)
    }
}

impl Model {
    /// Opens the configured bundle on the configured provider.
    ///
    /// # Errors
    /// [`WorkerError::Setup`] with what is missing and how to get it.
    pub fn open(config: &Config) -> Result<Self, WorkerError> {
        let failed = |e: &dyn std::fmt::Display| WorkerError::Setup(e.to_string());
        let mut bundle = Bundle::open(&config.model.bundle).map_err(|e| failed(&e))?;
        if !config.model.confirm {
            bundle.manifest.confirm = None;
        }
        let retest = &config.retest;
        // Where the worker plans, it makes the thresholds of pooled tests itself.
        let pooled = config.fixed_size().map_or(0.0, |_| retest.pooled_sensitivity);
        let thresholds = bundle.thresholds(pooled, retest.individual_sensitivity).map_err(|e| failed(&e))?;
        let confirm = bundle.confirm_thresholds(retest.confirm_sensitivity).map_err(|e| failed(&e))?;
        let loaded = Loaded::open(config, &bundle).map_err(|e| failed(&e))?;
        let machine = loaded.machine(config);
        let Loaded { network, runtime, provider } = loaded;
        let name = BundleName { name: bundle.manifest.name.clone(), version: bundle.manifest.version.clone() };
        info!(
            bundle = name.name,
            version = name.version,
            ?provider,
            onnxruntime = %runtime.library().display(),
            confirm = confirm.is_some(),
            slots_bytes = network.bytes(),
            "model loaded"
        );
        let profile = find_profile(&bundle, &machine);
        Ok(Self {
            network: Box::new(network),
            thresholds,
            confirm,
            input: bundle.manifest.input.clone(),
            labels: bundle.labels(),
            bundle: name,
            provider,
            fell_back: provider != config.model.provider,
            calibrated: Some(bundle),
            profile,
        })
    }
}

fn network(config: &Config, bundle: &Bundle, runtime: &Runtime) -> Result<(OnnxNetwork, Provider), RuntimeError> {
    let wanted = config.model.provider;
    let open = |provider| OnnxNetwork::new(bundle, runtime, provider, config.model.device, config.engine.slots);
    match open(wanted) {
        Err(RuntimeError::Provider { message, .. }) if config.model.allow_cpu => {
            warn!(?wanted, message, "the provider can't be had; running on the CPU, as `model.allow_cpu` says");
            Ok((open(Provider::Cpu)?, Provider::Cpu))
        }
        opened => Ok((opened?, wanted)),
    }
}

/// The profile of a bundle here. Plans go by multiply-adds without it, so one that can't be used is only warned of.
fn find_profile(bundle: &Bundle, machine: &Machine) -> Option<Profile> {
    match Profile::find(bundle, machine) {
        Ok(Some(profile)) => {
            info!(profile = machine.key(), date = profile.date, "profile found");
            Some(profile)
        }
        Ok(None) => {
            info!(profile = machine.key(), "no profile of this bundle on this device; `dorfman profile` makes one");
            None
        }
        Err(error) => {
            warn!(%error, "the profile can't be used");
            None
        }
    }
}
