//! The first runs, before any item comes.

use super::core::{Engine, EngineError};
use super::network::Network;

impl<N: Network, T> Engine<N, T> {
    /// Runs every stage at every bucket and every arity that the plans use or `others` name, so that no item pays for a first run.
    ///
    /// # Errors
    /// [`EngineError::Network`].
    pub fn warm_up(&mut self, image_len: usize, others: &[usize]) -> Result<(), EngineError> {
        let blank = vec![0.0; image_len];
        let top = self.network.form().span(self.network.form().top());
        let arities = self.courses.iter().flat_map(|course| course.plan.arities()).chain(others.iter().copied());
        let mut lanes: Vec<usize> = arities.map(|a| self.network.form().padded(a.div_ceil(top))).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let form = self.network.form().clone();
        let batches = match self.settings.buckets.is_empty() {
            true => vec![1, self.settings.preferred_batch, self.settings.max_batch],
            false => self.settings.buckets.clone(),
        };
        for batch in batches {
            self.network.embed(&vec![&blank[..]; batch.min(form.levels[0].rows)], 0)?;
            for level in 1..form.levels.len() {
                let arity = form.levels[level].fan_in;
                self.network.merge(level, &vec![0; batch.min(form.levels[level].rows) * arity], arity, 0)?;
            }
            for &arity in &lanes {
                self.scores.clear();
                self.network.score(&vec![0; batch * arity], arity, &mut self.scores)?;
            }
            if self.confirm.is_some() {
                self.scores.clear();
                self.network.confirm(&vec![&blank[..]; batch], &mut self.scores)?;
            }
        }
        Ok(())
    }
}
