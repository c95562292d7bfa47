//! Keeps the plan to what the stream is like now.

use super::expect::Expected;
use super::prevalence::Prevalence;
use super::search::{Choice, Planner};

/// How a pilot steers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steering {
    /// The first guess at the prevalence.
    pub prevalence: f64,
    /// How many images are remembered.
    pub memory: f64,
    /// How much cheaper another plan must be, as a share of the present one's cost, before it takes over.
    pub gain: f64,
}

/// Verdicts that are taken in at once: fewer tell nothing, and each look costs a little.
pub const LOOK: u64 = 500;

/// How far the estimate must be from the one that was last planned for before it is planned again.
const MOVED: f64 = 1.2;

/// Watches verdicts, estimates the prevalence, and changes the plan when that pays.
#[derive(Debug, Clone)]
pub struct Pilot {
    planner: Planner,
    steering: Steering,
    prevalence: Prevalence,
    planned_for: f64,
    choice: Choice,
    /// Whether the plan is new: the next verdicts are still by the one before.
    new: bool,
}

impl Pilot {
    /// A pilot with the plan for the first guess.
    pub fn new(planner: Planner, steering: Steering) -> Self {
        let choice = planner.best(steering.prevalence);
        let prevalence = Prevalence::new(steering.prevalence, steering.memory);
        Self { planner, steering, prevalence, planned_for: steering.prevalence, choice, new: false }
    }

    /// The present plan.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// The estimate of the prevalence.
    pub fn prevalence(&self) -> f64 {
        self.prevalence.mean()
    }

    /// What is expected of the present plan at the estimated prevalence.
    pub fn expected(&self) -> Expected {
        self.planner.expected(&self.choice.chain, self.prevalence())
    }

    /// The expected cost of the present plan, over that of individual testing.
    pub fn relative_cost(&self) -> f64 {
        self.expected().cost / self.planner.costs().individual()
    }

    /// Takes in that `images` images have their verdict and `flagged` of them were flagged, before any confirm network; true if there is
    /// another plan from now on.
    pub fn observe(&mut self, images: u64, flagged: u64) -> bool {
        if images == 0 || std::mem::take(&mut self.new) {
            return false;
        }
        let now = self.expected();
        self.prevalence.observe(images, flagged, now.recall, now.fpr);
        let (estimate, planned_for) = (self.prevalence(), self.planned_for);
        if estimate < planned_for * MOVED && estimate > planned_for / MOVED {
            return false;
        }
        self.planned_for = estimate;
        let (choice, present) = (self.planner.best(estimate), self.expected());
        let kept = present.recall >= self.planner.least_recall(estimate);
        if kept && choice.expected.cost > present.cost * (1.0 - self.steering.gain) {
            return false;
        }
        let changed = choice.chain != self.choice.chain;
        self.choice = choice;
        self.new = changed;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::{StageCosts, Wanted};
    use crate::retest::{Answers, Point, SizeAnswers};

    fn pilot(gain: f64) -> Pilot {
        let size = |arity: usize| {
            let point = |s: f64| Point {
                sensitivity: s,
                specificity: 1.0 - 0.03 * (1.0 - s).powf(-0.25) * arity as f64 / 32.0,
            };
            SizeAnswers { arity, points: [0.98, 0.99, 0.995].map(point).into() }
        };
        let answers = Answers::new([1, 2, 4, 8, 16, 32].map(size).into()).unwrap();
        let costs = StageCosts { item: 0.1, tiers: vec![], score: vec![(1, 0.9)] };
        let wanted = Wanted { individual_sensitivity: 0.99, recall_loss: 0.01, largest: 32, rounds: 4 };
        let planner = Planner::new(answers, costs, wanted).unwrap();
        Pilot::new(planner, Steering { prevalence: 0.001, memory: 20_000.0, gain })
    }

    /// Shows it a stream of `images` of a prevalence, in parts of 1,000; how often the plan changed.
    fn fly(pilot: &mut Pilot, prevalence: f64, images: u64) -> usize {
        let mut owed = 0.0;
        let mut part = || {
            let e = pilot.planner.expected(&pilot.choice().chain, prevalence);
            owed += 1000.0 * (prevalence * e.recall + (1.0 - prevalence) * e.fpr);
            let flagged = owed as u64;
            owed -= flagged as f64;
            pilot.observe(1000, flagged)
        };
        (0..images / 1000).filter(|_| part()).count()
    }

    #[test]
    fn it_follows_the_stream() {
        let mut pilot = pilot(0.02);
        let before = pilot.choice().sizes();
        fly(&mut pilot, 0.15, 200_000);
        assert!((pilot.prevalence() / 0.15 - 1.0).abs() < 0.02, "{}", pilot.prevalence());
        assert!(pilot.choice().sizes()[0] < before[0]);
        fly(&mut pilot, 0.5, 200_000);
        assert!(pilot.choice().is_individual());
        fly(&mut pilot, 0.001, 400_000);
        // Not the plan it began with, perhaps, but one that costs nearly the same.
        let first = pilot.planner.best(0.001);
        assert!(pilot.choice().sizes()[0] > 8 && pilot.expected().cost < first.expected.cost * 1.03);
    }

    #[test]
    fn a_steady_stream_has_a_steady_plan() {
        let mut pilot = pilot(0.03);
        fly(&mut pilot, 0.01, 200_000);
        assert_eq!(fly(&mut pilot, 0.01, 1_000_000), 0);
    }

    #[test]
    fn small_gains_change_nothing() {
        let mut pilot = pilot(0.9);
        let before = pilot.choice().clone();
        assert_eq!(fly(&mut pilot, 0.02, 200_000), 0);
        assert_eq!(pilot.choice(), &before);
    }
}
