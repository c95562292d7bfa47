//! Dorfman: a worker that finds rare positive images in a Kafka topic by neural group testing.
//!
//! Many images share one forward pass of a network; only groups whose test is positive are
//! retested.
//!
//! ```text
//! source -> fetch -> decode -> pools -> engine -> sink -> offsets
//!   Kafka   bytes    pixels   groups   verdicts  records  commit
//! ```
//!
//! [`item`] defines what travels between the stages. [`worker`] starts the stages, supervises them
//! and stops them. Every channel is bounded: when a stage is slow, its queue fills, then the queue
//! before it, back to the source, which reads no messages and goes on to serve the consumer group.
//!
//! The pure parts are in `dorfman-core` (policies, planning, grouping, the engine). Bundles,
//! decoding and ONNX Runtime are in `dorfman-model`. Experiments (`dorfman evaluate`, `replay`,
//! `bench-paper`) are in `dorfman-lab`.

mod budget;
pub mod cli;
pub mod config;
mod error;
pub mod failure;
pub mod fetch;
pub mod frames;
pub mod item;
pub mod mapping;
pub mod message;
mod model;
pub mod offsets;
pub mod ops;
pub mod sink;
pub mod source;
mod stages;
pub mod worker;
