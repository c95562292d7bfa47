//! The engine with its policy, without I/O and without a network.

use std::time::Instant;

use dorfman_core::calibration::Thresholds;
use dorfman_core::engine::{
    BandPlan, BatchSettings, Driver, Engine, EngineError, ScriptedNetwork, scripted_image,
    single_label_shape,
};
use dorfman_core::policy::{PlanSpec, PolicyKind};
use dorfman_model::cpu::SystemClock;

use super::super::CliError;
use super::figure;
use crate::config::group::GroupConfig;

const ITEMS: usize = 4_000_000;

pub(super) fn run() -> Result<(), CliError> {
    let spec =
        PlanSpec { policy: PolicyKind::MultiRound, group_size: 16, chain: vec![4], worth: 500.0 };
    let plan = spec.build(None).map_err(|e| CliError::Failed(e.to_string()))?;
    let plan = BandPlan::new(plan, Thresholds::constant(0.5));
    let max_wait = GroupConfig::default().max_wait;
    let settings = BatchSettings { max_batch: 64, preferred_batch: 16, buckets: vec![], max_wait };
    let network = ScriptedNetwork::new(single_label_shape(512, 1, 1));
    let mut driver = Driver::new(Engine::new(network, SystemClock, plan, settings));
    // One image in a hundred is positive. The images are allocated before the clock starts.
    let mut random = fastrand::Rng::with_seed(1);
    let mut image = |_| scripted_image(&[if random.u32(..100) == 0 { 0.9 } else { 0.1 }]);
    let images: Vec<Vec<u8>> = (0..ITEMS).map(&mut image).collect();
    let start = Instant::now();
    test_all(&mut driver, images).map_err(|e| CliError::Failed(e.to_string()))?;
    let rate = ITEMS as f64 / start.elapsed().as_secs_f64();
    let tests = driver.engine().stats().tests() as f64 / ITEMS as f64;
    let name = "engine alone: items/s (16 > 4 > 1 at 1 %, one thread)";
    figure(name, format!("{rate:.0}"), "at least 1000000");
    figure("engine alone: tests per item", format!("{tests:.4}"), "");
    Ok(())
}

fn test_all(
    driver: &mut Driver<ScriptedNetwork, usize>,
    images: Vec<Vec<u8>>,
) -> Result<(), EngineError> {
    let mut images = images.into_iter().enumerate();
    while !driver.is_done() {
        while driver.room() > 0 {
            let Some((item, image)) = images.next() else {
                driver.close();
                break;
            };
            driver.offer(image, item);
        }
        driver.turn()?;
        driver.verdicts().for_each(drop);
    }
    Ok(())
}
