//! Grouping, engine and policies alone.

use std::time::{Duration, Instant};

use super::super::CliError;
use super::figure;
use crate::engine::{Engine, ScriptedNetwork, Settings, single_label_form};
use crate::retest::{MultiRound, Thresholds};

const ITEMS: usize = 4_000_000;

pub(super) fn run() -> Result<(), CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::Failed(e.to_string());
    let plan = MultiRound::new(&[16, 4, 1]).map_err(|e| failed(&e))?;
    let settings =
        Settings { max_batch: 64, preferred_batch: 16, buckets: Vec::new(), max_wait: Duration::from_millis(200) };
    let network = ScriptedNetwork::new(single_label_form(512, 1, 1));
    let mut engine: Engine<_, usize> = Engine::new(network, Box::new(plan), Thresholds::constant(0.5), settings);
    let mut random = fastrand::Rng::with_seed(1);
    // One image in a hundred is positive; the tensors are made before the clock starts.
    let mut images: Vec<Vec<f32>> = (0..ITEMS).map(|_| vec![if random.u32(..100) == 0 { 0.9 } else { 0.1 }]).collect();
    let start = Instant::now();
    let (mut next, mut verdicts) = (0, 0);
    while verdicts < ITEMS {
        while next < ITEMS && engine.has_room() {
            engine.offer(std::mem::take(&mut images[next]), next, start).map_err(|e| failed(&e))?;
            next += 1;
        }
        if next == ITEMS {
            engine.flush().map_err(|e| failed(&e))?;
        }
        engine.step().map_err(|e| failed(&e))?;
        verdicts += engine.judged().count();
    }
    let rate = ITEMS as f64 / start.elapsed().as_secs_f64();
    let tests = engine.stats().tests() as f64 / ITEMS as f64;
    figure("engine alone: items/s (16 > 4 > 1 at 1 %, one thread)", format!("{rate:.0}"), "at least 1000000");
    figure("engine alone: tests an item", format!("{tests:.4}"), "");
    Ok(())
}
