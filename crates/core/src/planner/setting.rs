//! Exits in use, and the tests of the items that pass them (pure).

use super::expect::{ChainLink, Coherence, ExitShare, Expectation, expected};
use super::plan::{ExitLink, ItemFlow};
use crate::calibration::{JointExit, JointScores, OperatingPoint, OperatingPoints, Passage};
use crate::cost::StageCosts;
use crate::engine::NetworkPart;

/// Operating points of tests that were measured on images that pass the screen and all exits.
#[derive(Debug, Clone, PartialEq)]
pub struct PassedPoints {
    /// The sensitivity of each exit at which these images pass, 0 to 1.
    pub exit_sensitivity: f64,
    /// The share of the negatives that pass all of them, 0 to 1.
    pub negatives: f64,
    /// The operating points of tests of these images.
    pub points: OperatingPoints,
}

/// The exits of a network: their joint scores, and tests of the images that pass.
#[derive(Debug, Clone)]
pub(super) struct ExitBasis {
    pub joint: JointScores,
    /// By rising share of negatives.
    pub passed: Vec<PassedPoints>,
}

/// A part of the network that runs on single items, with the shares of positives and negatives that
/// reach it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ItemPart {
    pub cost: f64,
    pub positive: f64,
    pub negative: f64,
}

/// Some exits in use (or none), and what is known about the items that pass them.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// In the order in which an item meets them.
    pub exits: Vec<ExitLink>,
    /// [`PassedPoints::exit_sensitivity`] of the operating points. `None`: those of all images.
    pub measured_at: Option<f64>,
    /// Operating points of tests of items that pass.
    pub points: OperatingPoints,
    /// The individual test of an item that passes.
    pub alone: ChainLink,
    /// Shares of positives and negatives that reach each exit, and that pass all.
    reached: Vec<(f64, f64)>,
    parts: Vec<ItemPart>,
    /// The costs behind the exits.
    after: StageCosts,
}

impl Setting {
    /// No exit in use: every item is tested by the operating points of all images.
    pub fn without_exits(points: OperatingPoints, costs: &StageCosts, alone: ChainLink) -> Self {
        let part = |&cost: &f64| ItemPart { cost, positive: 1.0, negative: 1.0 };
        Self {
            exits: Vec::new(),
            measured_at: None,
            points,
            alone,
            reached: vec![(1.0, 1.0)],
            parts: costs.items.iter().map(part).collect(),
            after: costs.after_items(),
        }
    }

    /// The exits that `used` selects: by exit of the joint scores, its operating point. `all` are
    /// the operating points of all images, and `alone` the individual test of any image, whose
    /// operating point in the joint scores is `individual`.
    pub fn with_exits(
        basis: &ExitBasis,
        used: &[Option<usize>],
        costs: &StageCosts,
        all: &OperatingPoints,
        alone: ChainLink,
        individual: usize,
    ) -> Self {
        let passage = basis.joint.passage(used, individual);
        let exits = links(&basis.joint, used);
        let measured = nearest(&basis.passed, passed(&passage.negative));
        let sensitivity = alone.point.sensitivity * passage.kept / passed(&passage.positive);
        let point = OperatingPoint {
            sensitivity: if sensitivity.is_finite() { sensitivity.min(1.0) } else { 0.0 },
            specificity: passage.specificity,
        };
        let in_use = (0..used.len()).filter(|&exit| used[exit].is_some());
        let last = passage.positive.len() - 1;
        let reached = in_use.chain([last]).map(|at| (passage.positive[at], passage.negative[at]));
        Self {
            exits,
            measured_at: measured.map(|m| m.exit_sensitivity),
            points: measured.map_or_else(|| all.clone(), |m| m.points.clone()),
            alone: ChainLink { size: 1, point },
            reached: reached.collect(),
            parts: item_parts(&basis.joint, used, &passage, costs),
            after: costs.after_items(),
        }
    }

    /// What becomes of an item at the exits.
    pub fn flow(&self) -> ItemFlow {
        let (positive, negative) = self.reached[self.reached.len() - 1];
        ItemFlow {
            positive,
            negative,
            positive_cost: self.parts.iter().map(|part| part.cost * part.positive).sum(),
            negative_cost: self.parts.iter().map(|part| part.cost * part.negative).sum(),
        }
    }

    /// The share of the positives that pass all exits.
    pub fn positives_passed(&self) -> f64 {
        self.reached.last().map_or(1.0, |share| share.0)
    }

    /// The costs behind the exits.
    pub fn after_costs(&self) -> &StageCosts {
        &self.after
    }

    /// The share of positives among the items that pass, at `prevalence` among all items.
    pub fn prevalence_behind(&self, prevalence: f64) -> f64 {
        let passed = self.mixed(self.reached.len() - 1, prevalence);
        if passed > 0.0 { prevalence * self.positives_passed() / passed } else { 0.0 }
    }

    /// A lower bound of the cost per item at `prevalence`, for groups of `size` items.
    pub fn least_cost(&self, size: usize, prevalence: f64) -> f64 {
        let share = self.mixed(self.reached.len() - 1, prevalence);
        self.item_cost(prevalence) + share * self.after.first(size) / size as f64
    }

    /// The expectation of the exits and of `chain` behind them at `prevalence`. `chain` is as for
    /// [`expected`].
    pub fn expected(
        &self,
        chain: &[ChainLink],
        prevalence: f64,
        coherence: Coherence,
    ) -> Expectation {
        let (positive, negative) = self.reached[self.reached.len() - 1];
        let passed = self.mixed(self.reached.len() - 1, prevalence);
        let among = self.prevalence_behind(prevalence);
        let behind = expected(chain, among, coherence, &self.after);
        let exit = |(i, link): (usize, &ExitLink)| {
            let scored = self.mixed(i, prevalence);
            let cleared = scored - self.mixed(i + 1, prevalence);
            ExitShare { part: link.part, scored, cleared }
        };
        Expectation {
            tests: behind.tests.iter().map(|tests| tests * passed).collect(),
            exits: self.exits.iter().enumerate().map(exit).collect(),
            cost: self.item_cost(prevalence) + passed * behind.cost,
            recall: positive * behind.recall,
            fpr: negative * behind.fpr,
        }
    }

    /// The share of all items that reaches exit `at` of those in use, or passes all.
    fn mixed(&self, at: usize, prevalence: f64) -> f64 {
        let (positive, negative) = self.reached[at];
        prevalence * positive + (1.0 - prevalence) * negative
    }

    fn item_cost(&self, prevalence: f64) -> f64 {
        let share = |p: &ItemPart| prevalence * p.positive + (1.0 - prevalence) * p.negative;
        self.parts.iter().map(|part| part.cost * share(part)).sum()
    }
}

/// The exits in use as links.
pub(super) fn links(joint: &JointScores, used: &[Option<usize>]) -> Vec<ExitLink> {
    let link = |(exit, used): (&JointExit, &Option<usize>)| {
        let sensitivity = exit.sensitivities[(*used)?];
        Some(ExitLink { part: exit.part, sensitivity })
    };
    joint.exits().iter().zip(used).filter_map(link).collect()
}

fn passed(shares: &[f64]) -> f64 {
    shares.last().copied().unwrap_or(1.0)
}

/// The operating points that were measured at the share of negatives nearest to `share`, as a
/// ratio.
fn nearest(passed: &[PassedPoints], share: f64) -> Option<&PassedPoints> {
    let distance =
        |points: &PassedPoints| (points.negatives.max(1e-9) / share.max(1e-9)).ln().abs();
    passed.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// The screen, if it is in use, and the item stages, each with the shares that reach it.
pub(super) fn item_parts(
    joint: &JointScores,
    used: &[Option<usize>],
    passage: &Passage,
    costs: &StageCosts,
) -> Vec<ItemPart> {
    let exits = joint.exits();
    let screened = |exit: usize| exits[exit].part == NetworkPart::Screen && used[exit].is_some();
    let mut parts = Vec::new();
    if (0..used.len()).any(screened) {
        parts.push(ItemPart { cost: costs.screen, positive: 1.0, negative: 1.0 });
    }
    for (stage, &cost) in costs.items.iter().enumerate() {
        // The exits in front of a stage: the screen, and the exits of earlier stages.
        let before = |exit: &&JointExit| match exit.part {
            NetworkPart::Stage(of) => of < stage,
            NetworkPart::Screen => true,
            NetworkPart::Confirm => false,
        };
        let at = exits.iter().take_while(before).count();
        let (positive, negative) = (passage.positive[at], passage.negative[at]);
        parts.push(ItemPart { cost, positive, negative });
    }
    parts
}
