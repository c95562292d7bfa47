//! Dorfman finds the rare bad image in a stream by testing many images in one forward pass and retesting only what comes back positive.
//!
//! ```text
//! source -> fetch -> decode -> grouping -> engine <-> retest -> sink -> offsets
//!   Kafka   bytes    tensor    M or age    ONNX       next      flags    commit
//! ```
//!
//! A stage of the flow is a module, listed here in order; [`worker`] is the one place that wires them. Every channel is bounded: pressure
//! runs back to the source, which pauses its partitions and goes on polling.

pub mod config;
pub mod cpu;
pub mod interval;
pub mod message;
pub mod source;
pub mod fetch;
pub mod decode;
pub mod grouping;
pub mod retest;
pub mod planner;
pub mod simulation;
pub mod replay;
pub mod engine;
pub mod model;
pub mod sink;
pub mod offsets;
pub mod ops;
pub mod worker;
pub mod cli;
