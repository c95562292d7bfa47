//! The first runs of every shape, before any item arrives.

use super::engine::{Engine, EngineError};
use super::network::Network;

impl<N: Network, T> Engine<N, T> {
    /// Runs every stage, and the confirm network if it is used, so that no item waits for the first
    /// run of a shape. With buckets, every bucket is run, and tests at every arity that the plans or
    /// `arities` contain. Without buckets, a runtime that takes any batch prepares little per shape:
    /// every arity is run with one test, and the largest batch at the largest arity.
    ///
    /// `image_len` is the number of bytes of an image. `arities` are further numbers of items per
    /// test, such as those of plans that may follow. Call it before any item is offered: it
    /// overwrites slots. Its runs are not counted in the stats.
    ///
    /// # Errors
    /// [`EngineError::Network`] if a run fails.
    pub fn warm_up(&mut self, image_len: usize, arities: &[usize]) -> Result<(), EngineError> {
        let blank = vec![0; image_len];
        let shape = self.network().shape().clone();
        let span = shape.span(shape.top());
        let arities = self.arities().into_iter().chain(arities.iter().copied());
        let mut padded: Vec<usize> = arities.map(|a| shape.padded(a.div_ceil(span))).collect();
        padded.sort_unstable();
        padded.dedup();
        let settings = self.scheduler.settings();
        let largest = padded.len().saturating_sub(1);
        let runs: Vec<(usize, &[usize])> = if settings.buckets.is_empty() {
            vec![(1, &padded[..]), (settings.max_batch, &padded[largest..])]
        } else {
            settings.buckets.iter().map(|&bucket| (bucket, &padded[..])).collect()
        };
        let confirm = self.confirm.is_some();
        let network = self.executor.network_mut();
        let mut scores = Vec::new();
        for (batch, arities) in runs {
            scores.clear();
            network.embed(&vec![&blank[..]; batch.min(shape.levels[0].slots)], 0, &mut scores)?;
            for (level, entry) in shape.levels.iter().enumerate().skip(1) {
                let members = vec![0; batch.min(entry.slots) * entry.fan_in];
                network.merge(level, &members, entry.fan_in, 0, &mut scores)?;
            }
            for &arity in arities {
                scores.clear();
                network.score(&vec![0; batch * arity], arity, &mut scores)?;
            }
            if confirm {
                scores.clear();
                network.confirm(&vec![&blank[..]; batch], &mut scores)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use crate::calibration::Thresholds;
    use crate::engine::{
        BandPlan, BatchSettings, Engine, ManualClock, ScriptedNetwork, single_label_shape,
    };
    use crate::policy::MultiRound;

    /// The tests of a warm-up, each with its rows and its arity.
    fn warm_up_tests(buckets: Vec<usize>) -> Vec<(usize, usize)> {
        let tests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&tests);
        let network = ScriptedNetwork::new(single_label_shape(64, 1, 1));
        let network = network.with_test_hook(move |members, arity, _| {
            seen.lock().unwrap().push((members.len() / arity, arity));
            Ok(())
        });
        let plan = MultiRound::new(&[16, 4, 1]).unwrap();
        let plan = BandPlan::new(Box::new(plan), Thresholds::constant(0.5));
        let max_wait = Duration::from_millis(100);
        let settings = BatchSettings { max_batch: 8, preferred_batch: 4, buckets, max_wait };
        let clock = ManualClock::new(Instant::now());
        let mut engine: Engine<_, usize> = Engine::new(network, clock, plan, settings);
        engine.warm_up(1, &[2]).unwrap();
        tests.lock().unwrap().clone()
    }

    #[test]
    fn every_arity_is_warmed_up_and_the_largest_batch() {
        let alone = [(1, 1), (1, 2), (1, 4), (1, 16)];
        assert_eq!(warm_up_tests(vec![]), [&alone[..], &[(8, 16)]].concat());
        let full = [(8, 1), (8, 2), (8, 4), (8, 16)];
        assert_eq!(warm_up_tests(vec![1, 8]), [alone, full].concat());
    }
}
