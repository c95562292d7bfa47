//! SIGTERM and SIGINT: what they do from the first moment of a worker's life.

use std::process;
use std::sync::{Arc, OnceLock};

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use super::CliError;
use crate::worker::Running;

type Action = Box<dyn Fn() + Send + Sync>;

/// What signals act on, once there is a worker.
#[derive(Clone, Default)]
pub(super) struct Listener(Arc<OnceLock<[Action; 2]>>);

impl Listener {
    /// Listens from now on. Until there is a worker, a signal ends the process: what it has taken in its first moment, if anything, is
    /// read again, and as a container's first process it would not be ended by the signal itself.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start() -> Result<Self, CliError> {
        let listener = Self::default();
        let actions = Arc::clone(&listener.0);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (term, int) = {
            let _inside = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        let thread = std::thread::Builder::new().name("signals".into());
        thread.spawn(move || runtime.block_on(listen(term, int, &actions)))?;
        Ok(listener)
    }

    /// From now on the first signal stops the worker, and a second one ends it at once.
    pub(super) fn act_on(&self, running: &Running) {
        let _ = self.0.set([Box::new(running.stopper()), Box::new(running.aborter())]);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing is acknowledged yet, and whoever starts the worker can't be interrupted"
)]
async fn listen(mut term: Signal, mut int: Signal, actions: &OnceLock<[Action; 2]>) {
    let mut next = async || {
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        }
    };
    let name = next().await;
    let Some([stop, abort]) = actions.get() else {
        warn!(signal = name, "stopped before the worker was up");
        process::exit(0);
    };
    warn!(signal = name, "stopping: finishing what was taken; a second signal stops at once");
    stop();
    next().await;
    warn!("stopping at once; items without a verdict will be read again");
    abort();
}
