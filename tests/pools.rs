//! Which images share a test: risk bands, key pools and one-round testing, on librdkafka's mock
//! cluster and on Apache Kafka. `crates/core/tests/pools.rs` tests the same in the engine.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[macro_use]
mod common;

use common::broker::{Broker, Embedded, Real};
use common::topic::{Read, produce, read};
use common::{PATIENCE, config, ids, model, png, reference, scripted, stop, topics};
use dorfman::config::group::GroupSize;
use dorfman::config::retest::PolicyKind;
use dorfman::message::ReferenceMessage;
use dorfman::sink::message::{FlagRecord, VerdictRecord};
use dorfman::worker;
use dorfman_core::grouping::key_hash;

on_both_brokers![
    images_with_a_high_risk_are_tested_alone,
    images_with_the_same_key_share_a_group,
    one_round_flags_without_retests,
];

fn risky(id: &str, positive: bool, risk: f32) -> (String, Vec<u8>) {
    let message = ReferenceMessage {
        risk: Some(risk),
        ..ReferenceMessage::inline(id, &png(if positive { 98 } else { 2 }))
    };
    (id.to_owned(), serde_json::to_vec(&message).unwrap())
}

fn verdicts(
    broker: &impl Broker,
    config: &dorfman::config::Config,
    count: usize,
) -> Vec<Read<VerdictRecord>> {
    read(broker.bootstrap(), config.sink.verdicts_topic.as_ref().unwrap(), count)
}

fn images_with_a_high_risk_are_tested_alone<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    config.group.risk_bands = vec![0.01];
    config.group.individual_from = Some(0.5);
    // One decode thread keeps the order, so every group of suspicious images has a positive.
    config.decode.threads = 1;
    config.group.size = GroupSize::Fixed(4);
    config.group.max_wait = PATIENCE;
    config.validate().unwrap();
    // Harmless images, suspicious images (every fourth is positive) and likely images, interleaved.
    let messages: Vec<(String, Vec<u8>)> = (0..24)
        .map(|i| match i % 3 {
            0 => risky(&format!("harmless-{i}"), false, 0.001),
            1 => risky(&format!("suspicious-{i}"), i % 12 == 1, 0.1),
            _ => risky(&format!("likely-{i}"), true, 0.9),
        })
        .collect();
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = worker::start(&config, model(scripted())).unwrap();
    let verdicts = verdicts(&broker, &config, messages.len());
    let metrics = running.metrics().text();
    stop(running);

    for Read { record, .. } in verdicts {
        let kind = record.id.split('-').next().unwrap();
        let tests = record.tests;
        let arity = record.arity;
        match kind {
            "harmless" => assert_eq!((tests, arity), (1, 4), "{record:?}"),
            "suspicious" => assert_eq!((tests, arity), (2, 1), "{record:?}"),
            _ => assert_eq!((tests, arity), (1, 1), "{record:?}"),
        }
    }
    for line in [
        "plan_group_size{band=\"0\"} 4",
        "plan_group_size{band=\"0.01\"} 4",
        "plan_group_size{band=\"0.5\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

fn images_with_the_same_key_share_a_group<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    config.group.key_pools = 4;
    config.group.size = GroupSize::Fixed(4);
    config.group.max_wait = PATIENCE;
    config.validate().unwrap();
    // One album per pool, with interleaved images. All images of one album are positive.
    let in_pool = |key: &str, pool: u64| key_hash(key.as_bytes()) % 4 == pool;
    let mut keys = (0..).map(|i| format!("album-{i}"));
    let mut album = |pool: u64| keys.find(|key| in_pool(key, pool)).unwrap();
    let albums: Vec<String> = (0..4).map(&mut album).collect();
    let message =
        |i: usize| (albums[i % 4].clone(), reference(&format!("{}/{i}", i % 4), i % 4 == 3));
    let messages: Vec<(String, Vec<u8>)> = (0..16).map(message).collect();
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = worker::start(&config, model(scripted())).unwrap();
    let verdicts = verdicts(&broker, &config, messages.len());
    stop(running);

    for Read { record, .. } in verdicts {
        assert_eq!(record.tests, if record.id.starts_with('3') { 2 } else { 1 }, "{record:?}");
    }
}

fn one_round_flags_without_retests<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    config.retest.policy = PolicyKind::OneRound;
    config.group.max_wait = PATIENCE;
    config.validate().unwrap();
    let id = |i: usize| format!("image-{i:02}");
    let messages: Vec<(String, Vec<u8>)> =
        (0..16).map(|i| (id(i), reference(&id(i), i == 11))).collect();
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = worker::start(&config, model(scripted())).unwrap();
    let flags: Vec<Read<FlagRecord>> = read(broker.bootstrap(), &config.sink.flagged_topic, 1);
    let verdicts = verdicts(&broker, &config, messages.len());
    stop(running);

    assert_eq!(ids(&flags, |f| &f.id), [id(11)]);
    let flag = &flags[0].record;
    assert!(
        flag.tests == 2 && flag.label == "bad" && flag.labels.len() == 1 && flag.score > 0.9,
        "{flag:?}"
    );
    assert!(verdicts.iter().all(|v| v.record.rounds == 1 && v.record.arity == 4));
}
