//! The worker from poll to commit with a null network: the cost of everything except the network,
//! and the memory over time.

use std::time::{Duration, Instant};

use dorfman_core::engine::{NullNetwork, single_label_shape};
use dorfman_model::cpu;

use super::super::CliError;
use super::super::demo::stream::{Watched, watch};
use super::super::progress::progress;
use super::figure;
use super::tiny::{self, TOPIC};
use crate::config::group::GroupSize;
use crate::source::embedded::EmbeddedBroker;
use crate::worker;

/// Items per partition. The embedded broker keeps 5 MiB per partition, which is more than these
/// items need.
const ITEMS_PER_PARTITION: usize = 10_000;

pub(super) fn run(items: usize) -> Result<(), CliError> {
    let partitions = items.div_ceil(ITEMS_PER_PARTITION).max(1) as i32;
    let broker =
        EmbeddedBroker::start(&[(TOPIC, partitions), ("images.flagged", 1), ("images.dead", 1)])?;
    let mut config = tiny::config(broker.bootstrap_servers())?;
    config.group.size = GroupSize::Fixed(16);
    eprintln!("producing {items} inline images to {partitions} partitions");
    let mut stream = tiny::Stream::new(&config, TOPIC, partitions)?;
    stream.send_up_to(items)?;
    stream.flush()?;
    drop(stream);
    let before = cpu::resident_memory().0;
    let network = NullNetwork::new(single_label_shape(config.engine.slots, 1, 1));
    let running = worker::start(&config, tiny::model(network))?;
    let bar = progress("stream", items as u64);
    let (sampler, samples) = sample(items as u64, running.metrics().received.clone());
    let start = Instant::now();
    let watched = watch(&running, items as u64, &bar);
    let joining = start.elapsed().as_secs_f64();
    running.stop();
    running.wait()?;
    bar.finish_and_clear();
    let Watched { seconds, threads, ingest } = watched?;
    let seconds = seconds + start.elapsed().as_secs_f64() - joining;
    drop(sampler);
    let samples: Vec<u64> = samples.join().unwrap_or_default();
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let rate = items as f64 / seconds;
    figure(
        "null network, inline 8x8 PNG: items/s, poll to commit",
        format!("{rate:.0}"),
        "at least 30000",
    );
    for (name, cpu) in threads.iter().filter(|(_, cpu)| **cpu > 0.005) {
        figure(
            &format!("  CPU us per item: thread {name}"),
            format!("{:.2}", cpu * 1e6 / items as f64),
            "",
        );
    }
    for (part, cpu) in &ingest {
        figure(&format!("  of which {part}"), format!("{:.2}", cpu * 1e6 / items as f64), "");
    }
    figure("memory before the worker (with broker and stream)", mib(before), "");
    for (i, sample) in samples.iter().enumerate() {
        let at = items * (i + 1) / samples.len().max(1);
        figure(&format!("  increase after {at} items"), mib(sample.saturating_sub(before)), "flat");
    }
    figure("memory peak of the process", mib(cpu::resident_memory().1), "");
    Ok(())
}

type Sampler = (crossbeam_channel::Sender<()>, std::thread::JoinHandle<Vec<u64>>);

/// Resident memory at each tenth of the stream.
fn sample(items: u64, received: prometheus::IntCounter) -> Sampler {
    let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
    let thread = std::thread::spawn(move || {
        let mut samples = Vec::new();
        while samples.len() < 10 {
            let next = items * (samples.len() as u64 + 1) / 10;
            if received.get() >= next {
                samples.push(cpu::resident_memory().0);
            } else if stopped.recv_timeout(Duration::from_millis(5))
                == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
            {
                break;
            }
        }
        samples
    });
    (stop, thread)
}
