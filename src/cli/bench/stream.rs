//! The worker from poll to commit with a null network: the cost of everything except the network,
//! and the memory over time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dorfman_core::calibration::Thresholds;
use dorfman_core::engine::{NullNetwork, single_label_shape};
use dorfman_model::manifest::{Channels, Filter, InputSpec, Layout, PixelType, Resize};
use dorfman_model::{Provider, cpu};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rdkafka::producer::BaseRecord;

use super::super::CliError;
use super::super::demo::stream::{Watched, watch};
use super::super::producer::MessageProducer;
use super::super::progress::progress;
use super::figure;
use crate::config::Config;
use crate::config::group::GroupSize;
use crate::message::ReferenceMessage;
use crate::sink::message::BundleName;
use crate::source::embedded::EmbeddedBroker;
use crate::worker::{self, Model};

const TOPIC: &str = "images";
const SIDE: u32 = 8;
/// Items per partition. The embedded broker keeps 5 MiB per partition, which is more than these
/// items need.
const ITEMS_PER_PARTITION: usize = 10_000;

pub(super) fn run(items: usize) -> Result<(), CliError> {
    let partitions = items.div_ceil(ITEMS_PER_PARTITION).max(1) as i32;
    let broker =
        EmbeddedBroker::start(&[(TOPIC, partitions), ("images.flagged", 1), ("images.dead", 1)])?;
    let mut config = Config::default();
    config.kafka.brokers = broker.bootstrap_servers().to_owned();
    config.group.size = GroupSize::Fixed(16);
    config.ops.listen = "127.0.0.1:0".into();
    config.logging.level = "warn,librdkafka=error".into();
    crate::ops::logging::init(&config.logging).map_err(|e| CliError::Failed(e.to_string()))?;
    produce(&config, items, partitions)?;
    let before = cpu::resident_memory().0;
    let running = worker::start(&config, null_model(config.engine.slots))?;
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

fn produce(config: &Config, items: usize, partitions: i32) -> Result<(), CliError> {
    let mut png = Vec::new();
    let pixels: Vec<u8> = (0..SIDE * SIDE).map(|x| x as u8).collect();
    PngEncoder::new(&mut png)
        .write_image(&pixels, SIDE, SIDE, ExtendedColorType::L8)
        .map_err(|e| CliError::Failed(e.to_string()))?;
    let producer = MessageProducer::new(&config.kafka, &BTreeMap::new())?;
    eprintln!("producing {items} inline images of {} bytes to {partitions} partitions", png.len());
    for i in 0..items {
        let message = serde_json::to_vec(&ReferenceMessage::inline(format!("item-{i}"), &png))?;
        producer.send(BaseRecord::to(TOPIC).key(&i.to_string()).payload(&message))?;
    }
    producer.flush()
}

/// A model that clears every item without computation.
fn null_model(slots: usize) -> Model {
    Model {
        calibrated: None,
        network: Box::new(NullNetwork::new(single_label_shape(slots, 1, 1))),
        thresholds: Thresholds::constant(0.5),
        confirm: None,
        screen: None,
        input: InputSpec {
            width: SIDE,
            height: SIDE,
            channels: Channels::Grey,
            layout: Layout::Nchw,
            resize: Resize::Stretch { filter: Filter::Bilinear, draft: 0 },
            dtype: PixelType::Uint8,
            mean: Vec::new(),
            std: Vec::new(),
        },
        labels: vec!["none".into()],
        bundle: BundleName { name: "null".into(), version: "1".into() },
        provider: Provider::Cpu,
        fell_back: false,
        profile: None,
    }
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
