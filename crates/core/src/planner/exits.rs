//! Which exits are worth considering, at which sensitivities (pure).

use std::cell::RefCell;
use std::collections::HashMap;

use super::expect::ChainLink;
use super::setting::{ExitBasis, Setting, item_parts};
use crate::calibration::OperatingPoints;
use crate::cost::StageCosts;

/// Shares of the allowed loss of recall that exits may use up. The rest is left to pooled tests.
const BUDGETS: [f64; 4] = [1.0, 0.7, 0.4, 0.15];

/// The cost of an item that passes, relative to its individual test: tested alone, or pooled.
const RESTS: [f64; 2] = [1.0, 0.25];

/// By exit: its operating point, or `None` if it is not used.
type Used = Vec<Option<usize>>;

/// What the exits of a network are chosen by.
pub(super) struct ExitSearch<'a> {
    basis: &'a ExitBasis,
    costs: &'a StageCosts,
    all: &'a OperatingPoints,
    alone: ChainLink,
    individual: usize,
    /// The share of all positives that a plan may lose.
    loss: f64,
    /// The cost of losing all positives.
    price: f64,
    known: RefCell<HashMap<Used, Priced>>,
}

/// What some exits in use do.
#[derive(Debug, Clone, Copy)]
struct Priced {
    /// The share of all positives that the exits lose.
    lost: f64,
    /// The cost per negative of the parts up to the exits.
    parts: f64,
    /// The share of the negatives that pass.
    passed: f64,
}

impl<'a> ExitSearch<'a> {
    /// A search. `individual` is the operating point of the individual test `alone` in the joint
    /// scores of `basis`, and `all` are the operating points of tests of all images.
    pub fn new(
        basis: &'a ExitBasis,
        costs: &'a StageCosts,
        all: &'a OperatingPoints,
        alone: ChainLink,
        individual: usize,
        loss: f64,
    ) -> Self {
        let (price, known) = (0.0, RefCell::default());
        Self { basis, costs, all, alone, individual, loss, price, known }
    }

    /// Adds the cost of losing all positives, in the unit of the costs.
    pub fn with_price(self, price: f64) -> Self {
        Self { price, ..self }
    }

    /// The settings among which the plan of every prevalence is chosen.
    ///
    /// For several shares of the allowed loss, the exits and sensitivities are searched at which a
    /// negative item costs least. The best single exit is always included: it is the plain cascade.
    /// The search changes one exit at a time, from several starts, so a cheaper combination may
    /// exist.
    pub fn settings(&self) -> Vec<Setting> {
        let mut found: Vec<Used> = Vec::new();
        let mut add = |used: Used| {
            if used.iter().any(Option::is_some) && !found.contains(&used) {
                found.push(used);
            }
        };
        self.single().into_iter().for_each(&mut add);
        for budget in BUDGETS {
            for rest in RESTS {
                self.starts().into_iter().for_each(|start| {
                    add(self.descend(start, budget * self.loss, rest));
                });
            }
        }
        found.iter().map(|used| self.setting(used)).collect()
    }

    fn setting(&self, used: &[Option<usize>]) -> Setting {
        Setting::with_exits(self.basis, used, self.costs, self.all, self.alone, self.individual)
    }

    fn points(&self, exit: usize) -> usize {
        self.basis.joint.exits()[exit].sensitivities.len()
    }

    fn none(&self) -> Used {
        vec![None; self.basis.joint.exits().len()]
    }

    /// One exit at one operating point.
    fn only(&self, exit: usize, point: usize) -> Used {
        let mut used = self.none();
        used[exit] = Some(point);
        used
    }

    /// For each exit, alone: its operating point at which a negative costs least within the whole
    /// loss.
    fn single(&self) -> Vec<Used> {
        let best = |exit: usize| {
            let points = (0..self.points(exit)).map(|point| self.only(exit, point));
            let priced = points.filter_map(|used| Some((self.cost(&used, self.loss, 1.0)?, used)));
            priced.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, used)| used)
        };
        (0..self.none().len()).filter_map(best).collect()
    }

    /// No exit, each exit alone at its highest sensitivity, and all exits.
    fn starts(&self) -> Vec<Used> {
        // An exit whose labels share no sensitivity has no operating point.
        let highest = |exit: usize| self.points(exit).checked_sub(1);
        let exits = self.none().len();
        let alone = (0..exits).filter_map(|exit| Some(self.only(exit, highest(exit)?)));
        let all = (0..exits).map(highest).collect();
        alone.chain([self.none(), all]).collect()
    }

    /// Changes one exit at a time to what costs least, until no change helps.
    fn descend(&self, start: Used, loss: f64, rest: f64) -> Used {
        let (mut best, mut cost) = (self.none(), f64::INFINITY);
        for used in [self.none(), start] {
            if let Some(of) = self.cost(&used, loss, rest).filter(|&of| of < cost) {
                (best, cost) = (used, of);
            }
        }
        loop {
            let changes = (0..best.len()).flat_map(|exit| {
                let points = (0..self.points(exit)).map(Some).chain([None]);
                points.map(move |point| (exit, point))
            });
            let changed = changes.filter_map(|(exit, point)| {
                let mut used = best.clone();
                used[exit] = point;
                Some((self.cost(&used, loss, rest)?, used))
            });
            match changed.min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((of, used)) if of < cost * (1.0 - 1e-9) => (best, cost) = (used, of),
                _ => return best,
            }
        }
    }

    /// The cost of a negative item, if items that pass cost `rest` of their individual test.
    /// `None` if the exits lose more than `loss` of all positives.
    fn cost(&self, used: &Used, loss: f64, rest: f64) -> Option<f64> {
        let price = self.price(used);
        let individual = self.costs.after_items().individual();
        let lost = self.price * price.lost;
        (price.lost <= loss + 1e-9).then_some(price.parts + price.passed * rest * individual + lost)
    }

    fn price(&self, used: &Used) -> Priced {
        if let Some(&known) = self.known.borrow().get(used) {
            return known;
        }
        let passage = self.basis.joint.passage(used, self.individual);
        let parts = item_parts(&self.basis.joint, used, &passage, self.costs);
        let price = Priced {
            lost: self.alone.point.sensitivity * (1.0 - passage.kept),
            parts: parts.iter().map(|part| part.cost * part.negative).sum(),
            passed: passage.negative.last().copied().unwrap_or(1.0),
        };
        self.known.borrow_mut().insert(used.clone(), price);
        price
    }
}
