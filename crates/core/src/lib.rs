//! Neural group testing without I/O.
//!
//! Many images share one forward pass of a network; only groups whose test is positive are retested
//! (Weixin Liang and James Zou, "Neural Group Testing to Accelerate Deep Learning", ISIT 2021).
//! This crate holds the parts of that method that are independent of any runtime, broker or image
//! format:
//!
//! | module | question |
//! |---|---|
//! | [`policy`] | How is a positive group resolved? |
//! | [`calibration`] | Which score makes a test positive, and how often is a test wrong? |
//! | [`cost`] | What does a test cost, in seconds or multiply-adds? |
//! | [`planner`] | Which group size, retests and sensitivities are cheapest at a prevalence? |
//! | [`grouping`] | Which items share a group? |
//! | [`engine`] | Which run of the network comes next, and when does an item have its verdict? |
//! | [`screen`] | Which images are cleared before they are decoded in full? |
//! | [`simulation`] | What would a plan cost and find on a stream of images? |
//! | [`interval`] | How certain is a measured share? |
//!
//! The crate reads no file, no socket and no clock. The caller supplies a [`engine::Network`] and a
//! [`engine::Clock`].
//!
//! # Example
//!
//! A positive group of four is retested one item at a time:
//!
//! ```
//! use dorfman_core::policy::{Decision, Members, MultiRound, Outcome, Plan};
//!
//! let plan = MultiRound::new(&[4, 1])?;
//! let mut policy = plan.policy();
//! let mut decision = Decision::default();
//! policy.start(4, &mut decision);
//! assert_eq!(decision.tests[0].members, Members::first(4));
//!
//! // The first test is positive: four individual tests follow.
//! let first = decision.tests[0];
//! decision.reset();
//! policy.observe(first, Outcome { positive: true, score: 0.9 }, &mut decision);
//! assert_eq!(decision.tests.len(), 4);
//! # Ok::<(), dorfman_core::policy::PlanError>(())
//! ```

pub mod calibration;
pub mod cost;
pub mod engine;
pub mod grouping;
pub mod interval;
pub mod planner;
pub mod policy;
pub mod screen;
pub mod simulation;

/// The README, whose example runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
