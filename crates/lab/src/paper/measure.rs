//! The measurement of one plan: a sample of its groups, in turns with individual testing.

use std::time::Duration;

use dorfman_core::calibration::Thresholds;
use dorfman_core::cost::Accounting;
use dorfman_core::engine::{BandPlan, BatchSettings, Engine, Network, RunError};
use dorfman_core::policy::Individual;
use dorfman_model::cpu::SystemClock;

use super::plan::PaperPlan;
use super::recorded::{RecordedNetwork, mark};
use super::sample::{GroupSample, choose};
use super::timed::{TimedDriver, TimedRun, run_in_turns};
use crate::feed::{GroupFeed, NEVER};
use crate::replay::{INDIVIDUAL, RecordedPlan, Recording, ReplayError, Summary, summarise};
use crate::{LabError, Progress};

/// Slots of level 0: a batch of eight groups of sixteen.
pub(super) const SLOTS: usize = 128;

/// The number of different images. Their content makes no difference.
const IMAGES: usize = 4;

/// Settings that all plans share.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeasureSettings {
    /// Values per image.
    pub image_len: usize,
    /// Groups per sample.
    pub groups: usize,
    /// Rows per run of a stage, at most.
    pub batch: usize,
    /// The seed of the sample and of the half on which a plan is fitted.
    pub seed: u64,
}

/// The networks of a measurement.
pub(super) struct Networks<'a, N> {
    /// The stages of the plan's design.
    pub stages: &'a mut N,
    /// The plain network, for the plan's individual tests.
    pub plain: &'a mut N,
    /// The plain network again, for individual testing.
    pub individual: &'a mut N,
}

/// The measurement of a plan.
#[derive(Debug)]
pub(super) struct Measured {
    /// The chain in words.
    pub plan: String,
    /// The rule that makes a test positive, in words.
    pub rule: String,
    /// The design, in upper case.
    pub design: String,
    /// All groups from which the sample is drawn, by the recording.
    pub all: Summary,
    /// The sample, by the recording.
    pub replayed: Summary,
    /// The groups of the sample, and its tests of each size beside the expected ones.
    pub sample: GroupSample,
    /// Sizes of the tests.
    pub sizes: Vec<usize>,
    /// Multiply-adds that were computed, relative to testing each image alone.
    pub relative_macs: f64,
    /// The time of the sample.
    pub grouped: TimedRun,
    /// The time of individual testing in between.
    pub individual: TimedRun,
}

impl Measured {
    /// Seconds relative to testing each image alone.
    pub fn relative_wall(&self) -> f64 {
        self.grouped.wall_per_image() / self.individual.wall_per_image()
    }

    /// CPU seconds relative to testing each image alone.
    pub fn relative_cpu(&self) -> f64 {
        self.grouped.cpu_per_image() / self.individual.cpu_per_image()
    }
}

/// Measures a plan.
///
/// # Errors
/// [`LabError`] if scores are missing, if the engine fails, or if the engine makes other tests than
/// the replay counts.
pub(super) fn measure<N: Network>(
    settings: MeasureSettings,
    paper: &PaperPlan,
    recording: &Recording,
    networks: Networks<'_, N>,
    progress: &dyn Progress,
) -> Result<Measured, LabError> {
    let Networks { stages, plain, individual } = networks;
    let (plan, population) = paper.over(recording, settings.seed)?;
    let sample = sample(&plan, &population, settings)?;
    let all = summarise(&plan, &population, Accounting::Honest)?;
    let replayed = summarise(&plan, &sample.groups, Accounting::Honest)?;
    let sizes: Vec<usize> = plan.scores().iter().map(|scores| scores.size).collect();
    let words = plan.to_string();
    let plain_alone = plan.scores().last().is_some_and(|scores| scores.design == INDIVIDUAL);
    let individual_macs = individual.shape().individual_macs();
    for network in [&mut *stages, &mut *plain, &mut *individual] {
        warm_up(network, settings, sizes[0]).map_err(dorfman_core::engine::EngineError::from)?;
    }
    let offered = items(recording, &sample, sizes[0]);
    let noise = noise(settings);
    let image = |item: usize| {
        let mut image = noise[item % IMAGES].clone();
        mark(&mut image, item);
        image
    };
    let (policy, thresholds) = paper.over(recording, settings.seed)?.0.into_parts();
    let feed = GroupFeed::new(offered.iter().copied(), policy.group_size(), &image);
    let network = RecordedNetwork::new(stages, plain_alone.then_some(plain), plan);
    let engine = engine(network, BandPlan::new(policy, thresholds), settings);
    let mut grouped = TimedDriver::new(engine, feed);
    let alone = BandPlan::new(Box::new(Individual), Thresholds::constant(0.5));
    let feed = GroupFeed::new(0.., 1, &image);
    let mut individual = TimedDriver::new(self::engine(individual, alone, settings), feed);
    progress.begin("images", offered.len() as u64);
    let result = run_in_turns(&mut grouped, &mut individual, |images| progress.advance(images));
    progress.end();
    result?;
    check(&sample, &replayed, &grouped)?;
    let macs = grouped.engine().network().macs();
    Ok(Measured {
        plan: words,
        rule: paper.rule(),
        design: paper.design().to_uppercase(),
        all,
        replayed,
        sizes,
        relative_macs: macs as f64 / (individual_macs as f64 * offered.len() as f64),
        sample,
        grouped: grouped.run,
        individual: individual.run,
    })
}

/// A sample of the groups in `population`.
fn sample(
    plan: &RecordedPlan,
    population: &[usize],
    settings: MeasureSettings,
) -> Result<GroupSample, ReplayError> {
    let path = |&group: &usize| {
        let replayed = plan.replay_groups([group])?;
        Ok((group, replayed.tests.iter().map(|count| count.tests()).collect()))
    };
    let all = population.iter().map(path).collect::<Result<Vec<_>, ReplayError>>()?;
    let costs = plan.scores().iter().map(|scores| scores.cost);
    let costs = costs.enumerate().map(|(i, cost)| if i == 0 { cost.full } else { cost.retest });
    Ok(choose(&all, &costs.collect::<Vec<f64>>(), settings.groups, settings.seed))
}

/// The items of a sample, group by group.
fn items(recording: &Recording, sample: &GroupSample, size: usize) -> Vec<usize> {
    let items = recording.items().len();
    let members = |&group: &usize| group * size..items.min((group + 1) * size);
    sample.groups.iter().flat_map(members).collect()
}

fn engine<N: Network>(
    network: N,
    band: BandPlan,
    MeasureSettings { batch, .. }: MeasureSettings,
) -> Engine<N, usize> {
    // The worker's default. Groups do not wait here, because the next item is always available, but
    // retests wait for a fuller batch.
    let max_wait = Duration::from_millis(200);
    let settings =
        BatchSettings { max_batch: batch, preferred_batch: batch, buckets: Vec::new(), max_wait };
    Engine::new(network, SystemClock, band, settings).with_group_wait(NEVER)
}

/// Runs each stage once, at the arity of a first test of `size` images, so that first runs are not
/// measured.
fn warm_up(
    network: &mut impl Network,
    settings: MeasureSettings,
    size: usize,
) -> Result<(), RunError> {
    let shape = network.shape().clone();
    let (batch, blank) = (settings.batch, vec![0; settings.image_len]);
    let mut exits = Vec::new();
    network.embed(&vec![&blank[..]; batch], 0, &mut exits)?;
    for (level, entry) in shape.levels.iter().enumerate().skip(1) {
        let members = vec![0; batch * entry.fan_in];
        network.merge(level, &members, entry.fan_in, 0, &mut exits)?;
    }
    // A network that keeps pixels runs only individual tests here.
    let pixels = shape.levels[0].macs == 0;
    let arity = if pixels { 1 } else { shape.padded(size.div_ceil(shape.span(shape.top()))) };
    network.score(&vec![0; batch * arity], arity, &mut Vec::new())
}

/// Images of noise.
fn noise(settings: MeasureSettings) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(settings.seed);
    let mut image = || (0..settings.image_len).map(|_| random.u8(..)).collect();
    (0..IMAGES).map(|_| image()).collect()
}

/// Checks that the engine made the tests and flags that the replay counts.
fn check<N: Network>(
    sample: &GroupSample,
    replayed: &Summary,
    grouped: &TimedDriver<RecordedNetwork<N>>,
) -> Result<(), LabError> {
    let (tests, flags) = (grouped.engine().stats().tests(), grouped.run.flagged.len() as u64);
    let expected_tests = sample.tests.iter().sum::<u64>();
    let expected_flags = replayed.found + replayed.false_flags;
    if (tests, flags) == (expected_tests, expected_flags) {
        return Ok(());
    }
    Err(LabError::Bug(format!(
        "the engine made {tests} tests and {flags} flags, the replay of the same groups \
         {expected_tests} and {expected_flags}"
    )))
}
