//! Shared by the tests of the worker: brokers, messages, and a model whose scores are the pixels of
//! the images.

#![allow(dead_code, reason = "each test binary uses a part of this module")]

/// Declares each function as a test on each broker.
#[allow(unused_macros, reason = "each test binary uses a part of this module")]
macro_rules! on_both_brokers {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[test]
                fn $name() {
                    super::$name::<super::Embedded>(concat!("e-", stringify!($name)))
                }
            )+
        }
        mod kafka {
            $(
                #[test]
                fn $name() {
                    super::$name::<super::Real>(concat!("k-", stringify!($name)))
                }
            )+
        }
    };
}

pub mod broker;
pub mod topic;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::time::{Duration, Instant};

use dorfman::config::Config;
use dorfman::config::group::GroupSize;
use dorfman::message::ReferenceMessage;
use dorfman::sink::message::VerdictRecord;
use dorfman::worker::{self, Model, Running};
use dorfman_core::calibration::Thresholds;
use dorfman_core::engine::{
    Network, NetworkPart, NetworkShape, RunError, ScriptedNetwork, single_label_shape,
};
use image::{GrayImage, ImageFormat, Luma};
use topic::Read;

/// The longest wait of a test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition is true. Between checks it parks, so that the worker's threads can run.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "timed out before {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A PNG of one pixel. Its level, 0 to 100, is the score of the image in percent.
pub fn png(level: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    GrayImage::from_pixel(1, 1, Luma([level]))
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .unwrap();
    bytes
}

/// A PNG of two pixels: the score of the network and the score of its confirm network, in percent.
pub fn png_pair(first: u8, second: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let image = GrayImage::from_fn(2, 1, |x, _| Luma([if x == 0 { first } else { second }]));
    image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    bytes
}

/// A reference that carries a clean or a positive image.
pub fn reference(id: &str, positive: bool) -> Vec<u8> {
    serde_json::to_vec(&ReferenceMessage::inline(id, &png(if positive { 98 } else { 2 }))).unwrap()
}

/// References numbered by the range `ids`, of which every `nth` is positive, and the ids of the
/// positives.
pub fn references(
    ids: std::ops::Range<usize>,
    nth: usize,
) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
    let id = |i: usize| format!("image-{i:05}");
    let messages = ids.clone().map(|i| (id(i), reference(&id(i), i % nth == 0))).collect();
    (messages, ids.filter(|i| i % nth == 0).map(id).collect())
}

/// A model whose score is the only pixel of the image, in percent.
pub fn model(network: impl Network + 'static) -> Model {
    Model::scripted(network, 1, 1)
}

/// A model whose score is the first pixel of the image, and whose confirm score is the second, in
/// percent.
pub fn confirmed_model() -> Model {
    let shape = NetworkShape { confirm_macs: Some(1000), ..single_label_shape(64, 10, 100) };
    let mut model = model(ScriptedNetwork::new(shape));
    model.input.width = 2;
    Model { confirm: Some(Thresholds::constant(0.5)), ..model }
}

/// A network whose scores are the pixels.
pub fn scripted() -> ScriptedNetwork {
    ScriptedNetwork::new(single_label_shape(64, 10, 100))
}

/// A configuration for a broker and topics named after a test.
pub fn config(bootstrap: &str, name: &str) -> Config {
    let mut config = Config::default();
    config.kafka.brokers = bootstrap.to_owned();
    config.kafka.group_id = format!("{name}-workers");
    config.source.topic = [format!("{name}-images")].into_iter().collect();
    config.source.properties = quick();
    config.sink.flagged_topic = format!("{name}-flagged");
    config.sink.verdicts_topic = Some(format!("{name}-verdicts"));
    config.sink.dead_letter_topic = format!("{name}-dead");
    config.group.size = GroupSize::Fixed(16);
    config.group.max_wait = Duration::from_millis(50);
    config.engine.slots = 64;
    config.ops.listen = "127.0.0.1:0".into();
    config.validate().unwrap();
    config
}

fn quick() -> BTreeMap<String, String> {
    // The broker removes a killed worker from the group within seconds.
    [
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "500"),
        ("auto.commit.interval.ms", "200"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into()
}

/// The topics of a test with their partitions.
pub fn topics(name: &str, partitions: i32) -> Vec<(String, i32)> {
    let one = |kind: &str| (format!("{name}-{kind}"), 1);
    vec![(format!("{name}-images"), partitions), one("flagged"), one("verdicts"), one("dead")]
}

/// A worker on the scripted network.
pub fn start(config: &Config) -> Running {
    worker::start(config, model(scripted())).unwrap()
}

/// A network that runs a test only after a permit, or fails; and the sender of its permits. `Ok`
/// permits one run of tests, and `Err` fails one. After the sender is dropped, all are permitted.
pub fn gated() -> (ScriptedNetwork, crossbeam_channel::Sender<Result<(), String>>) {
    let (sender, permits) = crossbeam_channel::bounded::<Result<(), String>>(1000);
    let network = scripted().with_test_hook(move |members, _, _| {
        // The warm-up uses only slot 0 and needs no permit.
        if members.iter().any(|&m| m != 0)
            && let Ok(Err(message)) = permits.recv()
        {
            return Err(RunError { part: NetworkPart::Stage(1), message });
        }
        Ok(())
    });
    (network, sender)
}

/// The number of items that have at least one verdict.
pub fn distinct(read: &[Read<VerdictRecord>]) -> usize {
    read.iter().map(|r| r.record.id.as_str()).collect::<BTreeSet<_>>().len()
}

/// The ids of the records, sorted.
pub fn ids<R>(read: &[Read<R>], id: impl Fn(&R) -> &str) -> Vec<String> {
    let mut ids: Vec<String> = read.iter().map(|r| id(&r.record).to_owned()).collect();
    ids.sort();
    ids
}

/// Stops a worker and waits for its end.
pub fn stop(running: Running) {
    running.stop();
    running.wait().unwrap();
}
