//! Reports of long work to the caller.

/// Receives the progress of long work. One task runs at a time.
///
/// `()` is a receiver that does nothing:
///
/// ```
/// use dorfman_lab::Progress;
///
/// let progress: &dyn Progress = &();
/// progress.begin("decoding", 100);
/// progress.advance(100);
/// progress.end();
/// ```
pub trait Progress: Sync {
    /// A task of `total` steps begins.
    fn begin(&self, task: &str, total: u64);

    /// `by` more steps of the task are done. Several threads may call this at once.
    fn advance(&self, by: u64);

    /// The task has ended.
    fn end(&self);

    /// A line of text for the user. No task is running.
    fn note(&self, text: &str);
}

impl Progress for () {
    fn begin(&self, _task: &str, _total: u64) {}

    fn advance(&self, _by: u64) {}

    fn end(&self) {}

    fn note(&self, _text: &str) {}
}
