//! The model of a worker: a network with its thresholds, input and names.

use dorfman_core::calibration::Thresholds;
use dorfman_core::engine::Network;
use dorfman_core::screen::ScreenNetwork;
use dorfman_model::manifest::{Channels, Filter, InputSpec, Layout, PixelType, Resize};
use dorfman_model::profile::Machine;
use dorfman_model::{Bundle, LoadedNetwork, Profile, Provider};
use tracing::{info, warn};

use crate::config::Config;
use crate::error::{WorkerError, setup};
use crate::sink::message::BundleName;

/// A network with everything that the stages need to know about it.
pub struct Model {
    /// The network.
    pub network: Box<dyn Network>,
    /// The thresholds of its tests.
    pub thresholds: Thresholds,
    /// The thresholds of the confirm network, if it is used.
    pub confirm: Option<Thresholds>,
    /// The bundle with its calibration, from which plans are made. `None` for a network without
    /// calibration.
    pub calibrated: Option<Bundle>,
    /// The preprocessing of images.
    pub input: InputSpec,
    /// The screen, if the bundle has one, with the preprocessing of images for it.
    pub screen: Option<(Box<dyn ScreenNetwork>, InputSpec)>,
    /// The names of the score columns.
    pub labels: Vec<String>,
    /// The bundle's name in records.
    pub bundle: BundleName,
    /// The provider that runs the network.
    pub provider: Provider,
    /// Whether a GPU was configured and the CPU is used.
    pub fell_back: bool,
    /// The measured seconds of the network on this machine, if there is a profile.
    pub profile: Option<Profile>,
}

impl Model {
    /// Opens the configured bundle on the configured provider.
    ///
    /// # Errors
    /// [`WorkerError::Setup`], which names what is missing and how to get it.
    pub fn open(config: &Config) -> Result<Self, WorkerError> {
        let mut bundle = Bundle::open(&config.model.bundle).map_err(setup)?;
        if !config.model.confirm {
            bundle.manifest.confirm = None;
        }
        let retest = &config.retest;
        // With `group.size: auto` the planner chooses the sensitivities of pooled tests.
        let pooled = config.plan_spec().map_or(0.0, |_| retest.pooled_sensitivity);
        let thresholds = bundle.thresholds(pooled, retest.individual_sensitivity).map_err(setup)?;
        let confirm = bundle.confirm_thresholds(retest.confirm_sensitivity).map_err(setup)?;
        let options = config.load_options();
        let loaded = LoadedNetwork::open(&bundle, &options).map_err(setup)?;
        let machine = loaded.machine(&options);
        let LoadedNetwork { network, screen, runtime, provider } = loaded;
        let manifest = &bundle.manifest;
        let input = manifest.screen.as_ref().map(|screen| screen.input.clone());
        let boxed = |screen| Box::new(screen) as Box<dyn ScreenNetwork>;
        let name = BundleName { name: manifest.name.clone(), version: manifest.version.clone() };
        info!(
            bundle = name.name,
            version = name.version,
            ?provider,
            onnxruntime = %runtime.library().display(),
            confirm = confirm.is_some(),
            screen = screen.is_some(),
            exits = bundle.exits().len(),
            slots_bytes = network.bytes(),
            "model loaded"
        );
        Ok(Self {
            network: Box::new(network),
            thresholds,
            confirm,
            input: manifest.input.clone(),
            screen: screen.map(boxed).zip(input),
            labels: bundle.labels(),
            bundle: name,
            provider,
            fell_back: provider != config.model.provider,
            profile: find_profile(&bundle, &machine),
            calibrated: Some(bundle),
        })
    }
}

impl Model {
    /// A model without a bundle, for tests and benches: grey images of `width` x `height` pixels and
    /// one label, `bad`. An image is positive if `network` scores it 0.5 or more.
    pub fn scripted(network: impl Network + 'static, width: u32, height: u32) -> Self {
        Self {
            network: Box::new(network),
            thresholds: Thresholds::constant(0.5),
            confirm: None,
            calibrated: None,
            input: InputSpec {
                width,
                height,
                channels: Channels::Grey,
                layout: Layout::Nchw,
                resize: Resize::Stretch { filter: Filter::Bilinear, draft: 0 },
                dtype: PixelType::Uint8,
                mean: Vec::new(),
                std: Vec::new(),
            },
            screen: None,
            labels: vec!["bad".into()],
            bundle: BundleName { name: "scripted".into(), version: "1".into() },
            provider: Provider::Cpu,
            fell_back: false,
            profile: None,
        }
    }
}

#[cfg(test)]
impl Model {
    /// The shipped bundle of bags at the default sensitivities, with a network that does nothing.
    pub(crate) fn fashion_bag() -> Self {
        use dorfman_core::engine::{NullNetwork, single_label_shape};

        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fashion-bag");
        let bundle = Bundle::open(&dir).unwrap();
        let retest = crate::config::retest::RetestConfig::default();
        let thresholds =
            bundle.thresholds(retest.pooled_sensitivity, retest.individual_sensitivity).unwrap();
        Self {
            network: Box::new(NullNetwork::new(single_label_shape(64, 1, 1))),
            thresholds,
            confirm: None,
            input: bundle.manifest.input.clone(),
            screen: None,
            labels: bundle.labels(),
            bundle: BundleName { name: "b".into(), version: "1".into() },
            provider: Provider::Cpu,
            fell_back: false,
            profile: None,
            calibrated: Some(bundle),
        }
    }
}

/// The profile of a bundle on this machine. A profile that cannot be used is only a warning: plans
/// use multiply-adds without it.
fn find_profile(bundle: &Bundle, machine: &Machine) -> Option<Profile> {
    let key = machine.key();
    match Profile::find(bundle, machine) {
        Ok(Some(profile)) => {
            info!(profile = key, date = profile.date, "profile found");
            Some(profile)
        }
        Ok(None) => {
            info!(profile = key, "no profile of this bundle on this device; run `dorfman profile`");
            None
        }
        Err(error) => {
            warn!(%error, "the profile is not used");
            None
        }
    }
}
