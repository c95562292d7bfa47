//! A plan: exits, and a chain of tests behind them; and the constraints on plans (pure).

use super::expect::{ChainLink, Expectation};
use crate::engine::NetworkPart;

/// Constraints on plans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanConstraints {
    /// The least sensitivity of the individual test, 0 to 1. The test uses the calibrated point
    /// with the smallest sensitivity that reaches it. The individual test decides the flags, and
    /// its sensitivity is the recall of individual testing.
    pub individual_sensitivity: f64,
    /// The share of all positives that exits and pooled tests together may miss in addition to
    /// individual testing, 0 to 1, such as 0.005.
    pub recall_loss: f64,
    /// What losing recall costs, at least 0: a plan that loses a share x more of all positives must
    /// save at least `recall_price` times x of the cost of individual testing. 0: the cheapest plan
    /// within `recall_loss`.
    pub recall_price: f64,
    /// The largest group size, in items. Individual testing is always allowed.
    pub largest: usize,
    /// The largest number of rounds, which is the number of sizes of a chain. 0 counts as 1, which
    /// allows only individual testing.
    pub rounds: usize,
}

impl Default for PlanConstraints {
    /// Individual tests that find 99 %, a loss of at most 1 % at a price of 1, groups of up to 32
    /// items, and four rounds.
    fn default() -> Self {
        Self {
            individual_sensitivity: 0.99,
            recall_loss: 0.01,
            recall_price: 1.0,
            largest: 32,
            rounds: 4,
        }
    }
}

/// A plan with its expectation: the exits in use, and the chain of tests of the items that pass.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainPlan {
    /// The exits in use, in the order in which an item meets them. Empty without exits.
    pub exits: Vec<ExitLink>,
    /// The exit sensitivity at which the operating points of `chain` were measured
    /// ([`super::PassedPoints::exit_sensitivity`]). `None`: on all images.
    pub measured_at: Option<f64>,
    /// The sizes of the tests, falling to 1, each with the operating point of its threshold. At
    /// least one.
    pub chain: Vec<ChainLink>,
    /// What becomes of an item at the exits. `None` without exits: every item passes.
    pub flow: Option<ItemFlow>,
    /// The expected cost and results at the prevalence for which the plan was made.
    pub expected: Expectation,
}

/// An exit in use, at the operating point of one sensitivity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExitLink {
    /// The screen, or the stage whose exit it is.
    pub part: NetworkPart,
    /// The calibrated sensitivity of the exit alone, 0 to 1.
    pub sensitivity: f64,
}

/// What becomes of an item at the exits of a plan, by its kind. Shares are 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ItemFlow {
    /// The share of the positives that pass all exits.
    pub positive: f64,
    /// The share of the negatives that pass all exits.
    pub negative: f64,
    /// The mean cost of a positive up to and including its last exit, in the unit of the costs. An
    /// item that passes has paid for all item stages.
    pub positive_cost: f64,
    /// The same cost of a negative.
    pub negative_cost: f64,
}

/// What a plan does in order to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlanKind {
    /// Every item is tested alone.
    Individual,
    /// Items are pooled, and no exit is in use.
    Pooled,
    /// Exits are in use, and the items that pass are tested alone.
    Exits,
    /// The items that pass the exits are pooled.
    Both,
}

impl PlanKind {
    /// The name in reports: `individual`, `pooled`, `exits` or `both`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Individual => "individual",
            Self::Pooled => "pooled",
            Self::Exits => "exits",
            Self::Both => "both",
        }
    }
}

impl ChainPlan {
    /// A chain without exits, with its expectation.
    pub fn without_exits(chain: Vec<ChainLink>, expected: Expectation) -> Self {
        Self { exits: Vec::new(), measured_at: None, chain, flow: None, expected }
    }

    /// What the plan does in order to save.
    pub fn kind(&self) -> PlanKind {
        match (self.exits.is_empty(), self.chain.len() == 1) {
            (true, true) => PlanKind::Individual,
            (true, false) => PlanKind::Pooled,
            (false, true) => PlanKind::Exits,
            (false, false) => PlanKind::Both,
        }
    }

    /// The sizes of the tests, in items, falling to 1.
    pub fn sizes(&self) -> Vec<usize> {
        self.chain.iter().map(|link| link.size).collect()
    }

    /// The sensitivity of tests of `arity` items, 0 to 1: that of the smallest size of the chain
    /// that is at least `arity`, or else of the largest size.
    ///
    /// # Panics
    /// If the chain is empty.
    pub fn sensitivity(&self, arity: usize) -> f64 {
        let holds = self.chain.iter().rev().find(|link| link.size >= arity);
        holds.unwrap_or(&self.chain[0]).point.sensitivity
    }

    /// The plan in words, such as `16 > 4 > 1`, `individual`, or `screen > exits 0, 2 >
    /// individual`. The number of an exit is that of its stage.
    pub fn describe(&self) -> String {
        let exits = describe_exits(&self.exits);
        let sizes = self.sizes();
        let tests = match &sizes[..] {
            [_] => vec!["individual".into()],
            sizes => sizes.iter().map(usize::to_string).collect(),
        };
        exits.into_iter().chain(tests).collect::<Vec<_>>().join(" > ")
    }

    /// Whether the plan tests every item alone.
    pub fn is_individual(&self) -> bool {
        self.kind() == PlanKind::Individual
    }
}

/// Exits in words: `screen` and `exits 0, 2`, those of them that are in use.
pub fn describe_exits(exits: &[ExitLink]) -> Vec<String> {
    let screen = exits.iter().any(|link| link.part == NetworkPart::Screen);
    let stages: Vec<String> = exits
        .iter()
        .filter_map(|link| match link.part {
            NetworkPart::Stage(stage) => Some(stage.to_string()),
            _ => None,
        })
        .collect();
    let stages = match &stages[..] {
        [] => None,
        [one] => Some(format!("exit {one}")),
        several => Some(format!("exits {}", several.join(", "))),
    };
    screen.then(|| "screen".to_owned()).into_iter().chain(stages).collect()
}
