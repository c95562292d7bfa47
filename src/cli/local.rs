//! The worker's flow over files, without a broker.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, bounded};

use super::CliError;
use crate::config::Config;
use crate::offsets::Tracker;
use crate::sink::Ending;
use crate::source::files;
use crate::worker::{self, Model, Report, Running};

/// Batches of endings that wait to be read.
const QUEUE: usize = 64;

/// A worker on its way through a list of files.
pub(super) struct Local {
    /// What became of each of them. Whoever reads them resolves their tickets.
    pub(super) endings: Receiver<Vec<Ending>>,
    running: Running,
    feeder: JoinHandle<()>,
    tracker: Arc<Tracker>,
}

impl Local {
    /// Starts a worker and feeds it with `locations`, in order.
    ///
    /// # Errors
    /// What can't be set up.
    pub(super) fn start(config: &Config, model: Model, locations: Vec<String>) -> Result<Self, CliError> {
        let (incoming_out, incoming) = worker::incoming_queue(config.source.queue);
        let (endings_out, endings) = bounded(QUEUE);
        let running = worker::start_between(config, model, incoming, endings_out)?;
        let tracker = Tracker::new("files".into(), 0, 0);
        let books = Arc::clone(&tracker);
        let feeder = std::thread::spawn(move || files::send(&locations, &incoming_out, &books));
        Ok(Self { endings, running, feeder, tracker })
    }

    /// Ends the worker, once all endings were read.
    ///
    /// # Errors
    /// The worker's failure, or an image without a verdict.
    pub(super) fn finish(self) -> Result<Report, CliError> {
        self.feeder.join().map_err(|_| CliError::Failed("a bug: the feeding thread panicked".into()))?;
        let report = self.running.wait()?;
        match self.tracker.unresolved() {
            0 => Ok(report),
            left => Err(CliError::Failed(format!("a bug: {left} images got no verdict"))),
        }
    }
}
