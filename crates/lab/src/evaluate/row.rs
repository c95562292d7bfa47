//! A row of the report: the estimate of one bundle and plan at a prevalence (pure).

use dorfman_core::planner::Expectation;
use serde::Serialize;

use super::estimate::{Rate, Tally, Weights};
use super::split::{Class, Source, Split};
use super::timing::StratumRun;

/// A stratum with its shares of the stream.
pub(super) struct StratumShare<'a> {
    /// `cold` (groups without a positive), `hot` (groups with at least one positive) or `stream` (a
    /// plain stream).
    pub name: &'static str,
    /// Share of the stream's groups.
    pub groups: f64,
    /// Share of the stream's positives.
    pub positives: f64,
    /// Share of the stream's negatives.
    pub negatives: f64,
    /// The counts of the stratum.
    pub stratum: &'a Stratum,
}

/// What the screen costs per image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Screening {
    /// Multiply-adds.
    pub macs: u64,
    /// Seconds, relative to those of individual testing in between.
    pub relative_seconds: f64,
    /// Seconds.
    pub seconds_per_image: f64,
}

/// The counts of a stratum.
#[derive(Debug, Clone, Default)]
pub(super) struct Stratum {
    /// Verdicts by image.
    pub tally: Tally,
    /// Verdicts that were neither flagged nor cleared.
    pub failed: u64,
    /// Tests and seconds.
    pub run: StratumRun,
}

impl<'a> StratumShare<'a> {
    /// The two strata of a stream.
    pub fn strata(weights: Weights, cold: &'a Stratum, hot: &'a Stratum) -> [Self; 2] {
        let w = weights;
        let share = |name, groups, positives, negatives, stratum| Self {
            name,
            groups,
            positives,
            negatives,
            stratum,
        };
        [
            share("cold", w.cold_groups, 0.0, w.cold_negatives, cold),
            share("hot", w.hot_groups, 1.0, w.hot_negatives, hot),
        ]
    }

    /// A plain stream.
    pub fn stream(stratum: &'a Stratum) -> [Self; 1] {
        [Self { name: "stream", groups: 1.0, positives: 1.0, negatives: 1.0, stratum }]
    }
}

/// What was run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Case {
    /// The bundle's folder, as the request names it.
    pub bundle: String,
    /// pixel, feature or tree.
    pub design: &'static str,
    /// Stages of the network.
    pub stages: usize,
    /// Share of positives.
    pub prevalence: f64,
    /// Images per group.
    pub group_size: usize,
    /// The policy, as the configuration names it.
    pub policy: String,
    /// The plan in words, such as `16 > 4 > 1` or `exit 0 > individual`.
    pub plan: String,
    /// `individual`, `pooled`, `exits` or `both`.
    pub plan_kind: &'static str,
    /// What the plan is among the planner's plans for this prevalence: `best`, `pooled`, `exits` and
    /// `cascade`. Empty for individual testing and for configured plans.
    pub roles: Vec<&'static str>,
    /// The share of positives that the policy assumes. `None` if the policy does not use it.
    pub prior: Option<f64>,
    /// The worth of a positive in individual tests. `None` if the policy does not use it.
    pub worth: Option<f64>,
    /// The sensitivities for which the thresholds are set.
    #[serde(flatten)]
    pub sensitivities: Sensitivities,
}

/// Sensitivities on the calibration data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Sensitivities {
    /// Of tests of several images. `None` for individual testing.
    #[serde(rename = "pooled_sensitivity")]
    pub pooled: Option<f64>,
    /// Of individual tests.
    #[serde(rename = "individual_sensitivity")]
    pub individual: f64,
    /// Of the confirm network. `None` if it is not used.
    #[serde(rename = "confirm_sensitivity")]
    pub confirm: Option<f64>,
}

impl Sensitivities {
    /// Those of individual testing.
    pub fn alone(individual: f64) -> Self {
        Self { pooled: None, individual, confirm: None }
    }

    /// In words: pooled / individual / confirm.
    pub fn describe(&self) -> String {
        let all = [self.pooled, Some(self.individual), self.confirm];
        all.iter().flatten().map(f64::to_string).collect::<Vec<_>>().join(" / ")
    }
}

/// A row of the report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ReportRow {
    /// What was run.
    #[serde(flatten)]
    pub case: Case,
    /// Share of positives that were flagged.
    pub recall: Rate,
    /// Share of negatives that were flagged.
    pub fpr: Rate,
    /// The recall of individual testing with the same network and sensitivity.
    pub individual_recall: Rate,
    /// The false positive rate of individual testing.
    pub individual_fpr: Rate,
    /// Tests per image, including those of the confirm network.
    pub tests_per_image: f64,
    /// Tests per image in each round.
    pub tests_by_round: Vec<f64>,
    /// Tests per image by the confirm network.
    pub confirm_tests_per_image: f64,
    /// Multiply-adds relative to individual testing.
    pub relative_macs: f64,
    /// The multiply-adds, relative to individual testing, that the planner expects. `None` for
    /// individual testing and for configured plans.
    pub expected_relative_macs: Option<f64>,
    /// The recall that the planner expects. `None` as above.
    pub expected_recall: Option<f64>,
    /// Seconds in the network relative to individual testing.
    pub relative_network_seconds: f64,
    /// Seconds of the engine's thread, without decoding, relative to individual testing.
    pub relative_wall_seconds: f64,
    /// Seconds in the network per image.
    pub network_seconds_per_image: f64,
    /// Verdicts that were neither flagged nor cleared.
    pub failed: u64,
    /// The strata.
    pub strata: Vec<StratumRow>,
    /// By class.
    pub by_class: Vec<ClassRow>,
    /// By source. Empty if the data has no sources.
    pub by_source: Vec<SourceRow>,
}

/// A stratum in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StratumRow {
    name: &'static str,
    share_of_groups: f64,
    images: u64,
    tests_per_image: f64,
    recall: Rate,
    fpr: Rate,
    relative_network_seconds: f64,
    /// Seconds in the network on which the timing rests.
    network_seconds: f64,
    /// Seconds of individual testing in between.
    reference_seconds: f64,
}

/// A class in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ClassRow {
    /// Its name in the data.
    pub class: String,
    /// Whether it is positive.
    pub positive: bool,
    /// Its images.
    pub images: usize,
    /// Share that was flagged.
    pub flagged: Rate,
    /// Share that individual testing flagged.
    pub individual: Rate,
}

/// A source in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct SourceRow {
    /// Its name in the data.
    pub source: String,
    /// Share of its positives that were flagged.
    pub recall: Rate,
    /// Share of its negatives that were flagged.
    pub fpr: Rate,
    /// Share of its positives that individual testing flagged.
    pub individual_recall: Rate,
    /// Share of its negatives that individual testing flagged.
    pub individual_fpr: Rate,
}

/// The rates of images in a stream and in individual testing.
struct Rates<'a> {
    shares: &'a [StratumShare<'a>],
    individual: &'a Tally,
}

impl Rates<'_> {
    fn recall(&self, positives: &[usize]) -> Rate {
        self.weighted(positives, |share| share.positives)
    }

    fn fpr(&self, negatives: &[usize]) -> Rate {
        self.weighted(negatives, |share| share.negatives)
    }

    fn weighted(&self, images: &[usize], weight: impl Fn(&StratumShare<'_>) -> f64) -> Rate {
        let counts = self.shares.iter().map(|s| (weight(s), s.stratum.tally.count(images)));
        Rate::weighted(&counts.collect::<Vec<_>>(), images.len())
    }

    fn individual(&self, images: &[usize]) -> Rate {
        Rate::of(self.individual.count(images))
    }

    fn class(&self, class: &Class) -> ClassRow {
        let images = &class.images;
        ClassRow {
            class: class.name.clone(),
            positive: class.positive,
            images: images.len(),
            flagged: if class.positive { self.recall(images) } else { self.fpr(images) },
            individual: self.individual(images),
        }
    }

    fn source(&self, source: &Source) -> SourceRow {
        SourceRow {
            source: source.name.clone(),
            recall: self.recall(&source.positives),
            fpr: self.fpr(&source.negatives),
            individual_recall: self.individual(&source.positives),
            individual_fpr: self.individual(&source.negatives),
        }
    }
}

impl ReportRow {
    /// Estimates a row. `macs` are the multiply-adds of one image alone. `individual` has the
    /// verdicts of individual testing.
    pub fn new(
        case: Case,
        shares: &[StratumShare<'_>],
        split: &Split,
        macs: u64,
        individual: &Tally,
    ) -> Self {
        let rates = Rates { shares, individual };
        let mean = |of: &dyn Fn(&StratumRun) -> f64| {
            shares.iter().map(|share| share.groups * of(&share.stratum.run)).sum::<f64>()
        };
        let per_image = |count: u64, run: &StratumRun| count as f64 / run.images as f64;
        let rounds = shares.iter().map(|s| s.stratum.run.tests_by_round.len()).max().unwrap_or(0);
        let tests = |run: &StratumRun, round: usize| {
            per_image(run.tests_by_round.get(round).copied().unwrap_or(0), run)
        };
        let tests_by_round: Vec<f64> =
            (0..rounds).map(|round| mean(&|run| tests(run, round))).collect();
        let confirm_tests = mean(&|run| per_image(run.confirm_tests, run));
        Self {
            case,
            recall: rates.recall(&split.positives),
            fpr: rates.fpr(&split.negatives),
            individual_recall: rates.individual(&split.positives),
            individual_fpr: rates.individual(&split.negatives),
            tests_per_image: tests_by_round.iter().sum::<f64>() + confirm_tests,
            tests_by_round,
            confirm_tests_per_image: confirm_tests,
            relative_macs: mean(&|run| per_image(run.macs, run)) / macs as f64,
            expected_relative_macs: None,
            expected_recall: None,
            relative_network_seconds: mean(&StratumRun::relative_network),
            relative_wall_seconds: mean(&StratumRun::relative_wall),
            network_seconds_per_image: mean(&|run| run.grouped.network_per_image()),
            failed: shares.iter().map(|share| share.stratum.failed).sum(),
            strata: shares.iter().map(|share| StratumRow::new(share, split)).collect(),
            by_class: split.classes.iter().map(|class| rates.class(class)).collect(),
            by_source: split.sources.iter().map(|source| rates.source(source)).collect(),
        }
    }

    /// Counts images that an exit clears as not flagged. The rates of `shares` are those of the
    /// images that pass.
    pub fn with_passing(
        mut self,
        passes: &dyn Fn(usize) -> bool,
        shares: &[StratumShare<'_>],
        split: &Split,
    ) -> Self {
        let of = |images: &[usize], positive: bool| {
            let passing: Vec<usize> = images.iter().copied().filter(|&i| passes(i)).collect();
            let counts = shares.iter().map(|s| {
                let weight = if positive { s.positives } else { s.negatives };
                (weight, s.stratum.tally.count(&passing))
            });
            let rate = Rate::weighted(&counts.collect::<Vec<_>>(), passing.len());
            rate.of_part(passing.len(), images.len())
        };
        self.recall = of(&split.positives, true);
        self.fpr = of(&split.negatives, false);
        for (row, class) in self.by_class.iter_mut().zip(&split.classes) {
            row.flagged = of(&class.images, class.positive);
        }
        for (row, source) in self.by_source.iter_mut().zip(&split.sources) {
            row.recall = of(&source.positives, true);
            row.fpr = of(&source.negatives, false);
        }
        self
    }

    /// Adds what the planner expects of the plan. `alone` is the cost of one image alone, in the unit
    /// of `expected`.
    pub fn with_expected(mut self, expected: &Expectation, alone: f64) -> Self {
        self.expected_relative_macs = Some(expected.cost / alone);
        self.expected_recall = Some(expected.recall);
        self
    }

    /// Adds the cost of the screen, which runs on every image. `macs` are the multiply-adds of one
    /// image alone.
    pub fn with_screen(mut self, screen: &Screening, macs: u64) -> Self {
        self.relative_macs += screen.macs as f64 / macs as f64;
        self.relative_network_seconds += screen.relative_seconds;
        self.relative_wall_seconds += screen.relative_seconds;
        self.network_seconds_per_image += screen.seconds_per_image;
        self
    }

    /// A row of individual testing itself. It took `seconds` in the network per image.
    pub fn individual(case: Case, split: &Split, tally: &Tally, failed: u64, seconds: f64) -> Self {
        let mut row = Self::new(case, &[], split, 1, tally);
        (row.recall, row.fpr) = (row.individual_recall, row.individual_fpr);
        (row.tests_per_image, row.tests_by_round) = (1.0, vec![1.0]);
        (row.relative_macs, row.relative_network_seconds, row.relative_wall_seconds) =
            (1.0, 1.0, 1.0);
        (row.network_seconds_per_image, row.failed) = (seconds, failed);
        row.by_class.iter_mut().for_each(|class| class.flagged = class.individual);
        for source in &mut row.by_source {
            (source.recall, source.fpr) = (source.individual_recall, source.individual_fpr);
        }
        row
    }
}

impl StratumRow {
    fn new(share: &StratumShare<'_>, split: &Split) -> Self {
        let Stratum { tally, run, .. } = share.stratum;
        Self {
            name: share.name,
            share_of_groups: share.groups,
            images: run.images,
            tests_per_image: run.tests_by_round.iter().sum::<u64>() as f64 / run.images as f64,
            recall: Rate::of(tally.count(&split.positives)),
            fpr: Rate::of(tally.count(&split.negatives)),
            relative_network_seconds: run.relative_network(),
            network_seconds: run.grouped.network,
            reference_seconds: run.reference.network,
        }
    }
}
