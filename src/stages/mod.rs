//! The loops of the stages between source and sink, each on its own threads.

pub(crate) mod budget;
pub(crate) mod engine;
mod fetching;
pub(crate) mod ingest;
mod planner;
pub(crate) mod planners;
pub(crate) mod plans;
pub(crate) mod screen;
