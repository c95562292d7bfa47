//! The screen and early exits in the worker, on librdkafka's mock cluster and on Apache Kafka.
//! `crates/core/tests/exits.rs` tests the same in the engine.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[macro_use]
mod common;

use std::net::TcpListener;
use std::path::Path;

use common::broker::{Broker, Embedded, Real};
use common::topic::{count, produce, read};
use common::{config, model, png, stop, topics};
use dorfman::config::Config;
use dorfman::config::exits::ExitMode;
use dorfman::config::group::GroupSize;
use dorfman::message::ReferenceMessage;
use dorfman::sink::message::{DeadLetterRecord, VerdictRecord};
use dorfman::worker::{self, Model};
use dorfman_core::engine::{
    Level, NetworkShape, RunError, ScriptedNetwork, scripted_score, single_label_shape,
};
use dorfman_core::screen::ScreenNetwork;
use dorfman_model::Bundle;

on_both_brokers![
    an_image_that_the_screen_clears_is_not_tested,
    audited_images_of_the_screen_are_tested_alone,
    an_image_that_the_screen_cannot_read_is_a_dead_letter,
    images_that_pass_do_not_wait_for_a_slow_host,
];

/// A screen whose score is the only pixel of the image.
struct PixelScreen;

impl ScreenNetwork for PixelScreen {
    fn labels(&self) -> usize {
        1
    }

    fn macs(&self) -> u64 {
        1
    }

    fn score(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        scores.extend(images.iter().map(|image| scripted_score(image[0])));
        Ok(())
    }
}

/// A model with the calibration of the shipped bundle for photos, and scripted scores.
fn screened() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/shoes");
    let bundle = Bundle::open(&folder).unwrap();
    let items = &bundle.manifest.stages[..bundle.item_stages()];
    let level = |exit| Level { fan_in: 1, slots: 64, macs: 10, exit };
    let levels = items.iter().map(|stage| level(stage.exit.is_some())).collect();
    let shape = NetworkShape { levels, ..single_label_shape(64, 10, 100) };
    let model = model(ScriptedNetwork::new(shape));
    let screen: Box<dyn ScreenNetwork> = Box::new(PixelScreen);
    Model { calibrated: Some(bundle), screen: Some((screen, model.input.clone())), ..model }
}

/// A configuration that uses only the screen.
fn only_the_screen(bootstrap: &str, name: &str) -> Config {
    let mut config = config(bootstrap, name);
    config.exits.mode = ExitMode::Fixed;
    config.exits.sensitivities = [("screen".to_owned(), 0.99)].into();
    config.group.size = GroupSize::Fixed(4);
    config.validate().unwrap();
    config
}

/// Images of which every tenth is positive; the others have a score of 0.
fn messages(count: usize) -> Vec<(String, Vec<u8>)> {
    let message = |i: usize| {
        let id = format!("image-{i:04}");
        let image = png(if i.is_multiple_of(10) { 98 } else { 0 });
        (id.clone(), serde_json::to_vec(&ReferenceMessage::inline(&id, &image)).unwrap())
    };
    (0..count).map(message).collect()
}

fn verdicts(broker: &impl Broker, config: &Config, count: usize) -> Vec<VerdictRecord> {
    let topic = config.sink.verdicts_topic.as_ref().unwrap();
    read(broker.bootstrap(), topic, count).into_iter().map(|read| read.record).collect()
}

fn is_positive(record: &VerdictRecord) -> bool {
    record.id.ends_with('0')
}

fn an_image_that_the_screen_clears_is_not_tested<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 3));
    let config = only_the_screen(broker.bootstrap(), name);
    let messages = messages(1500);
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = worker::start(&config, screened()).unwrap();
    let verdicts = verdicts(&broker, &config, messages.len());
    let metrics = running.metrics().text();
    stop(running);

    for record in &verdicts {
        if is_positive(record) {
            assert_eq!((&record.verdict[..], &record.exit), ("flagged", &None), "{record:?}");
            assert!(record.tests > 0, "{record:?}");
        } else {
            let exit = record.exit.as_deref();
            assert_eq!((&record.verdict[..], exit), ("cleared", Some("screen")), "{record:?}");
            assert_eq!((record.tests, record.rounds), (0, 0), "{record:?}");
        }
    }
    for line in [
        "dorfman_exit_scored_total{exit=\"screen\"} 1500",
        "dorfman_exit_cleared_total{exit=\"screen\"} 1350",
        "dorfman_network_rows_total{stage=\"0\"} 150",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

fn audited_images_of_the_screen_are_tested_alone<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = only_the_screen(broker.bootstrap(), name);
    config.audit.fraction = 1.0;
    let messages = messages(100);
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = worker::start(&config, screened()).unwrap();
    let verdicts = verdicts(&broker, &config, messages.len());
    let metrics = running.metrics().text();
    stop(running);

    for record in verdicts.iter().filter(|record| !is_positive(record)) {
        let audited = (record.audit, record.exit.as_deref(), record.tests, record.arity);
        assert_eq!(audited, (true, Some("screen"), 1, 1), "{record:?}");
        assert_eq!(record.verdict, "cleared", "{record:?}");
    }
    let miss_rate = "dorfman_audit_miss_rate{bound=\"estimate\"} 0";
    assert!(
        metrics.contains("dorfman_audits_total 90") && metrics.contains(miss_rate),
        "{metrics}"
    );
}

fn an_image_that_the_screen_cannot_read_is_a_dead_letter<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let config = only_the_screen(broker.bootstrap(), name);
    let broken = ReferenceMessage::inline("broken", b"not an image");
    let mut messages = messages(20);
    messages.push(("broken".into(), serde_json::to_vec(&broken).unwrap()));
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = worker::start(&config, screened()).unwrap();
    let dead = read::<DeadLetterRecord>(broker.bootstrap(), &config.sink.dead_letter_topic, 1);
    let verdicts = verdicts(&broker, &config, messages.len());
    stop(running);

    assert_eq!(dead[0].record.id.as_deref(), Some("broken"));
    assert_eq!(verdicts.iter().filter(|record| record.verdict == "failed").count(), 1);
}

/// The only decode thread waits for the only fetch permit, which a host that never answers holds.
fn images_that_pass_do_not_wait_for_a_slow_host<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = only_the_screen(broker.bootstrap(), name);
    config.decode.threads = 1;
    config.fetch.concurrency = 1;
    config.fetch.attempts = 1;
    config.fetch.allow_private = true;
    config.validate().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/image.png", silent.local_addr().unwrap());
    let slow = |id: &str| {
        let reference = ReferenceMessage::uri(id, &uri);
        (id.to_owned(), serde_json::to_vec(&reference).unwrap())
    };
    let local = messages(20);
    let all = [&local[..], &[slow("slow-1"), slow("slow-2")]].concat();
    produce(broker.bootstrap(), config.source.topic.first(), &all);
    let running = worker::start(&config, screened()).unwrap();
    let records = verdicts(&broker, &config, local.len());
    assert_eq!(count(broker.bootstrap(), &config.sink.dead_letter_topic), 0, "a fetch has ended");
    drop(silent);
    let dead = read::<DeadLetterRecord>(broker.bootstrap(), &config.sink.dead_letter_topic, 2);
    stop(running);

    assert_eq!(records.iter().filter(|record| record.verdict == "flagged").count(), 2);
    assert!(dead.iter().all(|dead| dead.record.id.as_deref().unwrap().starts_with("slow")));
}
