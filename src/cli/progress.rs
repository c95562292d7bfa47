//! Progress of long work, on standard error.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dorfman_lab::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar. It is hidden if standard error is not a terminal.
pub fn progress(task: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
    let template = "{prefix:>12} [{bar:40}] {human_pos}/{human_len} {per_sec}, {eta} left";
    // The template is a constant. The default style is used if it should ever be wrong.
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(task.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Shows the progress of an experiment: one bar per task, and notes.
#[derive(Debug, Default)]
pub(super) struct ProgressBars {
    bar: Mutex<Option<ProgressBar>>,
}

impl ProgressBars {
    fn replace(&self, bar: Option<ProgressBar>) {
        let mut current = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *current, bar) {
            before.finish_and_clear();
        }
    }
}

impl Progress for ProgressBars {
    fn begin(&self, task: &str, total: u64) {
        self.replace(Some(progress(task, total)));
    }

    fn advance(&self, by: u64) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(by);
        }
    }

    fn end(&self) {
        self.replace(None);
    }

    fn note(&self, text: &str) {
        eprintln!("{text}");
    }
}
