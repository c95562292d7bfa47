//! The loops of the stages between source and sink, each on its own threads.

pub(crate) mod engine;
mod fetching;
pub(crate) mod ingest;
mod planner;
pub(crate) mod planners;
pub(crate) mod plans;
mod reading;
pub(crate) mod screen;
