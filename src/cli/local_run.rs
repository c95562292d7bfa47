//! The stages of the worker over local files, without a broker.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, bounded};

use super::CliError;
use crate::config::Config;
use crate::item::FinishedItem;
use crate::offsets::Tracker;
use crate::source::files;
use crate::worker::{self, Model, Report, Running};

/// Batches of finished items that may wait to be read.
const QUEUE: usize = 64;

/// A worker that processes a list of files.
pub(super) struct LocalRun {
    /// The finished items. The reader resolves their tickets.
    pub(super) finished: Receiver<Vec<FinishedItem>>,
    running: Running,
    reader: JoinHandle<()>,
    tracker: Arc<Tracker>,
}

impl LocalRun {
    /// Starts a worker that processes `locations` in order.
    ///
    /// # Errors
    /// [`CliError`] if the worker cannot be set up.
    pub(super) fn start(
        config: &Config,
        model: Model,
        locations: Vec<String>,
    ) -> Result<Self, CliError> {
        let (received_out, received) = worker::received_queue(config.source.queue);
        let (finished_out, finished) = bounded(QUEUE);
        let running = worker::start_between(config, model, received, finished_out)?;
        let tracker = Tracker::new("files".into(), 0);
        let entered = Arc::clone(&tracker);
        let reader = std::thread::spawn(move || files::send(&locations, &received_out, &entered));
        Ok(Self { finished, running, reader, tracker })
    }

    /// Waits for the end of the worker, after all finished items were read.
    ///
    /// # Errors
    /// [`CliError`] if the worker failed, or if an image has no verdict.
    pub(super) fn finish(self) -> Result<Report, CliError> {
        let panicked = |_| CliError::Failed("a bug: the thread that reads files panicked".into());
        self.reader.join().map_err(panicked)?;
        let report = self.running.wait()?;
        match self.tracker.unresolved() {
            0 => Ok(report),
            left => Err(CliError::Failed(format!("a bug: {left} images have no verdict"))),
        }
    }
}
