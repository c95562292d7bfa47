//! What to evaluate.

use std::path::PathBuf;
use std::time::Duration;

use dorfman_core::planner::PlanConstraints;
use dorfman_core::policy::{PlanSpec, PolicyKind};
use dorfman_model::{BatchOptions, Bundle, LoadOptions};

/// Whether a bundle's confirm network decides what grouped testing flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmChoice {
    /// If the bundle has one.
    Yes,
    /// Never.
    No,
    /// One row with it and one row without it.
    Both,
}

/// Which plans are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanChoice {
    /// For each prevalence the plan that the planner picks from the calibration, and beside it the
    /// best plan without exits, the best one without pooling, and the best one with a single exit.
    Best,
    /// The policies, group sizes and sensitivities of the request, without exits.
    Configured,
}

/// What to evaluate. Lists of settings are combined: there is one row of the report per
/// combination.
#[derive(Debug, Clone)]
pub struct EvaluateRequest {
    /// The folders of the bundles.
    pub bundles: Vec<PathBuf>,
    /// The labelled images: a folder, a ZIP archive or a CSV list.
    pub data: PathBuf,
    /// The classes to be found. All other classes are negative.
    pub positive: Vec<String>,
    /// Shares of positives in the streams, each between 0 and 1.
    pub prevalences: Vec<f64>,
    /// Which plans are evaluated.
    pub plans: PlanChoice,
    /// The constraints of the planner. Its individual sensitivity is not used:
    /// `individual_sensitivities` takes its place.
    pub constraints: PlanConstraints,
    /// Whether the planner may use the screen and the early exits.
    pub exits: bool,
    /// The policies. Individual testing is always evaluated in addition.
    pub policies: Vec<PolicyKind>,
    /// Falling sizes of the tests after the first, for the policies that use a chain.
    pub chain: Vec<usize>,
    /// What finding a positive is worth to the planned policy, in individual tests.
    pub worth: f64,
    /// The share of positives that the planned policy assumes, between 0 and 1.
    pub prior: f64,
    /// Group sizes. Empty: `default_group_size`.
    pub group_sizes: Vec<usize>,
    /// The group size without `group_sizes`, at most the largest calibrated arity. `None`: the
    /// largest calibrated arity.
    pub default_group_size: Option<usize>,
    /// Shares of positive groups that tests of several images must find, each between 0 and 1. At
    /// least one.
    pub pooled_sensitivities: Vec<f64>,
    /// Shares of positives that individual tests must find, each between 0 and 1. At least one.
    pub individual_sensitivities: Vec<f64>,
    /// Shares of positives that the confirm network must find, each between 0 and 1. At least one.
    pub confirm_sensitivities: Vec<f64>,
    /// Whether the confirm network is used.
    pub confirm: ConfirmChoice,
    /// Images of a plain random stream per prevalence. `None`: streams are estimated by strata.
    pub stream: Option<usize>,
    /// Negatives of the data that are used, at most.
    pub limit_negatives: Option<usize>,
    /// Images of a stratum, at most.
    pub cap: usize,
    /// The runs of a stratum are repeated until grouped and individual testing both have this many
    /// seconds in the network.
    pub repeat: f64,
    /// The seed of every random choice.
    pub seed: u64,
    /// How runs of the network are batched.
    pub batching: BatchOptions,
    /// How long a test waits for a fuller batch.
    pub max_wait: Duration,
    /// How networks are loaded.
    pub load: LoadOptions,
    /// Threads that decode images; 0: one per core.
    pub decode_threads: usize,
    /// Images with more pixels are not decoded.
    pub max_pixels: u64,
}

impl EvaluateRequest {
    /// The sensitivities of a bundle's confirm network. `None` as an entry: without it.
    pub(super) fn confirm(&self, bundle: &Bundle) -> Vec<Option<f64>> {
        if bundle.manifest.confirm.is_none() {
            return vec![None];
        }
        let without = (self.confirm != ConfirmChoice::Yes).then_some(None);
        let with = self.confirm_sensitivities.iter().copied().map(Some);
        let with = with.filter(|_| self.confirm != ConfirmChoice::No);
        without.into_iter().chain(with).collect()
    }

    /// Whether a plan may use the screen and the early exits.
    pub(super) fn uses_exits(&self) -> bool {
        self.plans == PlanChoice::Best && self.exits
    }

    /// The parameters of a plan.
    pub(super) fn spec(&self, policy: PolicyKind, group_size: usize) -> PlanSpec {
        PlanSpec { policy, group_size, chain: self.chain.clone(), worth: self.worth }
    }
}
