//! The loops of the stages between source and sink, each on its own threads.

pub(crate) mod band_planner;
pub(crate) mod engine;
pub(crate) mod ingest;
