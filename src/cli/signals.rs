//! What SIGTERM and SIGINT do, from the start of the process.

use std::process;
use std::sync::{Arc, OnceLock};

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use super::CliError;
use crate::worker::Running;

type Action = Box<dyn Fn() + Send + Sync>;

/// Listens for signals. Its actions are set after the worker has started.
#[derive(Clone, Default)]
pub(super) struct Listener(Arc<OnceLock<[Action; 2]>>);

impl Listener {
    /// Starts to listen. Before the worker has started, a signal ends the process: no item is
    /// acknowledged yet. Without a listener, a signal would have no effect on the first process of
    /// a container.
    ///
    /// # Errors
    /// If the system refuses a handler or a thread.
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

    /// From now on, the first signal stops the worker and the second signal aborts it.
    pub(super) fn act_on(&self, running: &Running) {
        let _ = self.0.set([Box::new(running.stopper()), Box::new(running.aborter())]);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "no item is acknowledged yet, and the start of a worker cannot be interrupted"
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
        warn!(signal = name, "stopped before the worker had started");
        process::exit(0);
    };
    warn!(signal = name, "stopping: finishing the items in flight; a second signal stops at once");
    stop();
    next().await;
    warn!("stopping at once; items without a verdict will be read again");
    abort();
}
