//! A row of the report: what the strata of one design and plan come to at a prevalence (pure).

use serde::Serialize;

use super::estimate::{Rate, Tally, Weights};
use super::pass::Ran;
use super::split::Split;

/// A stratum, and how much it weighs in the stream.
pub(super) struct Part<'a> {
    /// `cold`, `hot` or `stream`.
    pub(super) name: &'static str,
    /// Share of the stream's groups.
    pub(super) groups: f64,
    /// Share of the stream's positives.
    pub(super) positives: f64,
    /// Share of the stream's negatives.
    pub(super) negatives: f64,
    /// What happened in it.
    pub(super) stratum: &'a Stratum,
}

/// What happened in a stratum.
#[derive(Debug, Clone, Default)]
pub(super) struct Stratum {
    /// Verdicts by image.
    pub(super) tally: Tally,
    /// Verdicts that were neither flagged nor cleared.
    pub(super) failed: u64,
    /// Counts and seconds.
    pub(super) ran: Ran,
}

impl<'a> Part<'a> {
    /// The two strata of a stream.
    pub(super) fn strata(weights: Weights, cold: &'a Stratum, hot: &'a Stratum) -> [Self; 2] {
        let w = weights;
        [
            Self { name: "cold", groups: w.cold_groups, positives: 0.0, negatives: w.cold_negatives, stratum: cold },
            Self { name: "hot", groups: w.hot_groups, positives: 1.0, negatives: w.hot_negatives, stratum: hot },
        ]
    }

    /// A stream as it is.
    pub(super) fn stream(stratum: &'a Stratum) -> [Self; 1] {
        [Self { name: "stream", groups: 1.0, positives: 1.0, negatives: 1.0, stratum }]
    }
}

/// What was run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Case {
    /// The bundle, as the arguments name it.
    pub(super) bundle: String,
    /// pixel, feature or tree.
    pub(super) design: &'static str,
    /// Stages of the network.
    pub(super) stages: usize,
    /// Share of positives.
    pub(super) prevalence: f64,
    /// Images of a group.
    pub(super) group_size: usize,
    /// The policy, as the configuration names it.
    pub(super) policy: String,
    /// The plan in words, such as `16 > 4 > 1`.
    pub(super) plan: String,
    /// The share of positives that the policy expects; absent where it expects nothing.
    pub(super) prior: Option<f64>,
    /// What finding a positive is worth to it, in individual tests; absent where the policy has no use for it.
    pub(super) worth: Option<f64>,
    /// What the thresholds are for.
    #[serde(flatten)]
    pub(super) sensitivities: Sensitivities,
}

/// Sensitivities on the calibration data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Sensitivities {
    /// Of pooled tests; absent for individual testing.
    #[serde(rename = "pooled_sensitivity")]
    pub(super) pooled: Option<f64>,
    /// Of individual tests.
    #[serde(rename = "individual_sensitivity")]
    pub(super) individual: f64,
    /// Of the confirm network; absent where it is not asked.
    #[serde(rename = "confirm_sensitivity")]
    pub(super) confirm: Option<f64>,
}

impl Sensitivities {
    /// Of individual testing.
    pub(super) fn alone(individual: f64) -> Self {
        Self { pooled: None, individual, confirm: None }
    }

    /// Pooled, individual, confirm.
    pub(super) fn describe(&self) -> String {
        let all = [self.pooled, Some(self.individual), self.confirm];
        all.iter().flatten().map(f64::to_string).collect::<Vec<_>>().join(" / ")
    }
}

/// A row.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// What was run.
    #[serde(flatten)]
    pub(super) case: Case,
    /// Share of positives that were flagged.
    pub(super) recall: Rate,
    /// Share of negatives that were flagged.
    pub(super) fpr: Rate,
    /// The same for individual testing with the same network and sensitivity.
    pub(super) individual_recall: Rate,
    /// The same for individual testing.
    pub(super) individual_fpr: Rate,
    /// Tests an image, those by the confirm network too.
    pub(super) tests_per_image: f64,
    /// Tests an image in each round.
    pub(super) tests_by_round: Vec<f64>,
    /// Tests an image by the confirm network.
    pub(super) confirm_tests_per_image: f64,
    /// Multiply-adds over those of individual testing.
    pub(super) relative_macs: f64,
    /// Seconds in the network over those of individual testing.
    pub(super) relative_network_seconds: f64,
    /// Seconds on the clock, decoding left out, over those of individual testing.
    pub(super) relative_wall_seconds: f64,
    /// Seconds in the network for an image.
    pub(super) network_seconds_per_image: f64,
    /// Verdicts that were neither flagged nor cleared.
    pub(super) failed: u64,
    /// The strata.
    pub(super) strata: Vec<StratumLine>,
    /// By class.
    pub(super) by_class: Vec<ClassLine>,
    /// By source, where the data names sources.
    pub(super) by_source: Vec<SourceLine>,
}

/// A stratum in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StratumLine {
    name: &'static str,
    share_of_groups: f64,
    images: u64,
    tests_per_image: f64,
    recall: Rate,
    fpr: Rate,
    relative_network_seconds: f64,
    /// Seconds in the network that the timing rests on.
    network_seconds: f64,
    /// Seconds of individual testing in between.
    reference_seconds: f64,
}

/// A class in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ClassLine {
    /// Its name in the data.
    pub(super) class: String,
    /// Whether it is to be found.
    pub(super) positive: bool,
    /// Images of it.
    pub(super) images: usize,
    /// Share that was flagged.
    pub(super) flagged: Rate,
    /// Share that individual testing flagged.
    pub(super) individual: Rate,
}

/// A source in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct SourceLine {
    /// Its name in the data.
    pub(super) source: String,
    /// Share of its positives that were flagged.
    pub(super) recall: Rate,
    /// Share of its negatives that were flagged.
    pub(super) fpr: Rate,
    /// Share of its positives that individual testing flagged.
    pub(super) individual_recall: Rate,
    /// Share of its negatives that individual testing flagged.
    pub(super) individual_fpr: Rate,
}

impl Row {
    /// Estimates a row. `macs` are those of one image alone, `individual` the verdicts of individual testing.
    pub(super) fn new(case: Case, parts: &[Part<'_>], split: &Split, macs: u64, individual: &Tally) -> Self {
        let recall = |images: &[usize]| rate(parts, images, |p| p.positives);
        let fpr = |images: &[usize]| rate(parts, images, |p| p.negatives);
        let alone = |images: &[usize]| Rate::of(individual.count(images));
        let mean = |of: &dyn Fn(&Ran) -> f64| parts.iter().map(|p| p.groups * of(&p.stratum.ran)).sum::<f64>();
        let rounds = parts.iter().map(|p| p.stratum.ran.tests_by_round.len()).max().unwrap_or(0);
        let tests =
            |ran: &Ran, round: usize| ran.tests_by_round.get(round).copied().unwrap_or(0) as f64 / ran.images as f64;
        let tests_by_round: Vec<f64> = (0..rounds).map(|round| mean(&|ran| tests(ran, round))).collect();
        let confirm_tests = mean(&|ran| ran.confirm_tests as f64 / ran.images as f64);
        let class = |c: &super::split::Class| ClassLine {
            class: c.name.clone(),
            positive: c.positive,
            images: c.images.len(),
            flagged: if c.positive { recall(&c.images) } else { fpr(&c.images) },
            individual: alone(&c.images),
        };
        let source = |s: &super::split::Source| SourceLine {
            source: s.name.clone(),
            recall: recall(&s.positives),
            fpr: fpr(&s.negatives),
            individual_recall: alone(&s.positives),
            individual_fpr: alone(&s.negatives),
        };
        Self {
            case,
            recall: recall(&split.positives),
            fpr: fpr(&split.negatives),
            individual_recall: alone(&split.positives),
            individual_fpr: alone(&split.negatives),
            tests_per_image: tests_by_round.iter().sum::<f64>() + confirm_tests,
            tests_by_round,
            confirm_tests_per_image: confirm_tests,
            relative_macs: mean(&|ran| ran.macs as f64 / ran.images as f64) / macs as f64,
            relative_network_seconds: mean(&Ran::relative_network),
            relative_wall_seconds: mean(&Ran::relative_wall),
            network_seconds_per_image: mean(&|ran| ran.grouped.network_an_image()),
            failed: parts.iter().map(|p| p.stratum.failed).sum(),
            strata: parts.iter().map(|p| StratumLine::new(p, split)).collect(),
            by_class: split.classes.iter().map(class).collect(),
            by_source: split.sources.iter().map(source).collect(),
        }
    }

    /// A row of individual testing itself, which took `seconds` in the network for an image.
    pub(super) fn individual(case: Case, split: &Split, tally: &Tally, failed: u64, seconds: f64) -> Self {
        let parts: [Part<'_>; 0] = [];
        let mut row = Self::new(case, &parts, split, 1, tally);
        (row.recall, row.fpr) = (row.individual_recall, row.individual_fpr);
        (row.tests_per_image, row.tests_by_round) = (1.0, vec![1.0]);
        (row.relative_macs, row.relative_network_seconds, row.relative_wall_seconds) = (1.0, 1.0, 1.0);
        (row.network_seconds_per_image, row.failed) = (seconds, failed);
        row.by_class.iter_mut().for_each(|class| class.flagged = class.individual);
        for source in &mut row.by_source {
            (source.recall, source.fpr) = (source.individual_recall, source.individual_fpr);
        }
        row
    }
}

impl StratumLine {
    fn new(part: &Part<'_>, split: &Split) -> Self {
        let (tally, ran) = (&part.stratum.tally, &part.stratum.ran);
        Self {
            name: part.name,
            share_of_groups: part.groups,
            images: ran.images,
            tests_per_image: ran.tests_by_round.iter().sum::<u64>() as f64 / ran.images as f64,
            recall: Rate::of(tally.count(&split.positives)),
            fpr: Rate::of(tally.count(&split.negatives)),
            relative_network_seconds: ran.relative_network(),
            network_seconds: ran.grouped.network,
            reference_seconds: ran.reference.network,
        }
    }
}

fn rate(parts: &[Part<'_>], images: &[usize], weight: impl Fn(&Part<'_>) -> f64) -> Rate {
    let strata: Vec<_> = parts.iter().map(|p| (weight(p), p.stratum.tally.count(images))).collect();
    Rate::weighted(&strata, images.len())
}
