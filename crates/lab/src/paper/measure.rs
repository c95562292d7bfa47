//! One plan: its slice of the groups, raced against individual testing.

use std::time::Duration;

use super::super::super::CliError;
use super::super::super::progress::progress;
use super::plan::PaperPlan;
use super::race::{Racer, Ran, race};
use super::recorded::{Recorded, mark};
use super::slice::{Slice, choose};
use crate::engine::{Engine, Network, RunError, Settings};
use crate::replay::{Accounting, INDIVIDUAL, RecordedPlan, Recording, ReplayError, Scores, Summary, judge};
use crate::retest::{Individual, Thresholds};

/// Items in flight: as many as fill a batch of eight with groups of sixteen.
pub(super) const ROWS: usize = 128;

/// Different images; what is in them makes no difference.
const IMAGES: usize = 4;

/// How all plans are measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    /// Values of an image.
    pub(super) image_len: usize,
    /// Groups of a slice.
    pub(super) groups: usize,
    /// Most rows of one run.
    pub(super) batch: usize,
    /// Which groups, in which order, and which half a plan is fitted on.
    pub(super) seed: u64,
}

/// What became of a plan.
#[derive(Debug)]
pub(super) struct Measured {
    /// The chain in words.
    pub(super) plan: String,
    /// What makes a test positive.
    pub(super) rule: String,
    /// The design.
    pub(super) design: String,
    /// All groups that the slice stands for, by the recording.
    pub(super) all: Summary,
    /// The slice by the recording.
    pub(super) replayed: Summary,
    /// The slice's groups, and its tests of each size beside the expected ones.
    pub(super) slice: Slice,
    /// Sizes of the tests.
    pub(super) sizes: Vec<usize>,
    /// Multiply-adds that were computed, over those of testing each image alone.
    pub(super) relative_macs: f64,
    /// The slice.
    pub(super) grouped: Ran,
    /// Individual testing in between.
    pub(super) individual: Ran,
}

impl Measured {
    /// Seconds on the clock over those of testing each image alone.
    pub(super) fn relative_wall(&self) -> f64 {
        self.grouped.wall_an_image() / self.individual.wall_an_image()
    }

    /// CPU seconds over those of testing each image alone.
    pub(super) fn relative_cpu(&self) -> f64 {
        self.grouped.cpu_an_image() / self.individual.cpu_an_image()
    }
}

/// Runs a plan on `stages`. Of the plain networks one tests the images that the plan wants tested alone, the other is what it is raced
/// against.
pub(super) fn measure<N: Network>(
    setup: Setup,
    paper: &PaperPlan,
    recording: &Recording,
    stages: &mut N,
    [plain, rival]: &mut [N; 2],
) -> Result<Measured, CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::Failed(e.to_string());
    let (answers, population) = paper.over(recording, setup.seed)?;
    let slice = slice(&answers, &population, setup.groups, setup.seed)?;
    let all = judge(&answers, &population, Accounting::Honest)?;
    let replayed = judge(&answers, &slice.groups, Accounting::Honest)?;
    let sizes: Vec<usize> = answers.scores().iter().map(|s| s.size).collect();
    let plan = answers.to_string();
    let alone = answers.scores().last().is_some_and(|s| s.design == INDIVIDUAL);
    let individual_macs = rival.form().individual_macs();

    let noise = noise(setup);
    let image = |item: usize| {
        let mut image = noise[item % IMAGES].clone();
        mark(&mut image, item);
        image
    };
    let networks = [&mut *stages, &mut *plain, &mut *rival];
    networks.into_iter().try_for_each(|network| warm_up(network, setup, sizes[0])).map_err(|e| failed(&e))?;
    let items = recording.items().len();
    let members = |&group: &usize| (group * sizes[0]..items.min((group + 1) * sizes[0])).collect::<Vec<_>>();
    let offered: Vec<usize> = slice.groups.iter().flat_map(members).collect();

    let (policy, thresholds) = paper.over(recording, setup.seed)?.0.into_parts();
    let network = Recorded::new(stages, alone.then_some(plain), answers);
    let engine = Engine::new(network, policy, thresholds, settings(setup.batch));
    let mut grouped = Racer::new(engine, offered.iter().copied(), &image);
    let engine = Engine::new(rival, Box::new(Individual), Thresholds::constant(0.5), settings(setup.batch));
    let mut individual = Racer::new(engine, 0.., &image);
    let bar = progress("images", offered.len() as u64);
    let raced = race(&mut grouped, &mut individual, |images| bar.set_position(images as u64));
    bar.finish_and_clear();
    raced.map_err(|e| failed(&e))?;
    check(&slice, &replayed, &grouped)?;
    let macs = grouped.engine().network().macs();
    Ok(Measured {
        plan,
        rule: paper.rule(),
        design: paper.design().to_uppercase(),
        all,
        replayed,
        sizes,
        relative_macs: macs as f64 / (individual_macs as f64 * offered.len() as f64),
        slice,
        grouped: grouped.ran,
        individual: individual.ran,
    })
}

fn slice(answers: &RecordedPlan, population: &[usize], count: usize, seed: u64) -> Result<Slice, ReplayError> {
    let path = |&group: &usize| {
        let replayed = answers.replay_groups([group])?;
        Ok((group, replayed.spent.iter().map(|spent| spent.tests()).collect()))
    };
    let all = population.iter().map(path).collect::<Result<Vec<_>, ReplayError>>()?;
    let cost = |(kind, s): (usize, &&Scores)| if kind == 0 { s.cost.full } else { s.cost.retest };
    let costs: Vec<f64> = answers.scores().iter().enumerate().map(cost).collect();
    Ok(choose(&all, &costs, count, seed))
}

fn settings(batch: usize) -> Settings {
    // The worker's default. No group waits for members here, as the next item is always there, but retests wait for company.
    let max_wait = Duration::from_millis(200);
    Settings { max_batch: batch, preferred_batch: batch, buckets: Vec::new(), max_wait }
}

/// Runs each stage once, at the arities of a first test of `size` images, so that nobody pays for first runs.
fn warm_up(network: &mut impl Network, setup: Setup, size: usize) -> Result<(), RunError> {
    let form = network.form().clone();
    let (batch, blank) = (setup.batch, vec![0.0; setup.image_len]);
    network.embed(&vec![&blank[..]; batch], 0)?;
    for level in 1..form.levels.len() {
        let fan_in = form.levels[level].fan_in;
        network.merge(level, &vec![0; batch * fan_in], fan_in, 0)?;
    }
    // A network of pixels sees images alone here.
    let arity = if form.levels[0].macs == 0 { 1 } else { form.padded(size.div_ceil(form.span(form.top()))) };
    network.score(&vec![0; batch * arity], arity, &mut Vec::new())
}

/// Images of noise.
fn noise(setup: Setup) -> Vec<Vec<f32>> {
    let mut random = fastrand::Rng::with_seed(setup.seed);
    (0..IMAGES).map(|_| (0..setup.image_len).map(|_| 2.0 * random.f32() - 1.0).collect()).collect()
}

/// Whether the engine asked for the tests that the replay counts and gave its verdicts.
fn check<N: Network>(slice: &Slice, replayed: &Summary, grouped: &Racer<Recorded<N>>) -> Result<(), CliError> {
    let (ran, stats) = (&grouped.ran, grouped.engine().stats());
    let wanted = (slice.tests.iter().sum::<u64>(), replayed.found + replayed.false_flags);
    let found = (stats.tests(), ran.flagged.len() as u64);
    match wanted == found {
        true => Ok(()),
        false => Err(CliError::Failed(format!(
            "a bug: the engine made {} tests and {} flags, the replay of the same groups {} and {}",
            found.0, found.1, wanted.0, wanted.1
        ))),
    }
}
