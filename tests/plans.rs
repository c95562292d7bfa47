//! How the worker changes and audits its plan, on librdkafka's mock cluster and on Apache Kafka.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[macro_use]
mod common;

use std::path::Path;

use common::broker::{Broker, Embedded, Real};
use common::topic::{Read, produce, read};
use common::{config, ids, model, references, scripted, stop, topics};
use dorfman::config::exits::ExitMode;
use dorfman::config::group::GroupSize;
use dorfman::config::planning::PlanningConfig;
use dorfman::sink::message::{FlagRecord, VerdictRecord};
use dorfman::worker::{self, Model};
use dorfman_core::engine::ScriptedNetwork;
use dorfman_model::Bundle;

on_both_brokers![the_plan_follows_the_stream, an_audit_finds_positives_that_pooling_misses];

fn the_plan_follows_the_stream<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    config.group.size = GroupSize::Auto;
    // The scripted network has no exits.
    config.exits.mode = ExitMode::None;
    config.planning =
        PlanningConfig { prevalence: 0.0001, memory: 1000, ..PlanningConfig::default() };
    config.validate().unwrap();
    let (messages, positives) = references(0..3000, 3);
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    // The scores are the pixels. The sizes and thresholds are those of the shipped bundle.
    let bundle =
        Bundle::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fashion-bag")).unwrap();
    let running =
        worker::start(&config, Model { calibrated: Some(bundle), ..model(scripted()) }).unwrap();
    let size = || running.metrics().group_size.with_label_values(&["0"]).get();
    let before = size();
    let flags: Vec<Read<FlagRecord>> =
        read(broker.bootstrap(), &config.sink.flagged_topic, positives.len());
    let after = size();
    let replans = running.metrics().replans.get();
    let set = |gauge: &prometheus::GaugeVec| gauge.with_label_values(&["0"]).get();
    let prevalence = set(&running.metrics().prevalence);
    let cost = set(&running.metrics().planned_cost);
    stop(running);

    assert_eq!(ids(&flags, |f| &f.id), positives);
    assert!(before > 8 && after <= 4 && replans >= 1, "groups of {before}, then of {after}");
    assert!((0.2..0.5).contains(&prevalence) && (0.7..=1.0).contains(&cost), "{prevalence} {cost}");
}

/// A network whose pooled tests are never positive.
fn misses_in_pools() -> ScriptedNetwork {
    scripted().with_test_hook(|_, arity, scores| {
        if arity > 1 {
            scores.fill(0.0);
        }
        Ok(())
    })
}

fn an_audit_finds_positives_that_pooling_misses<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    config.audit.fraction = 1.0;
    let (messages, positives) = references(0..320, 20);
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = worker::start(&config, model(misses_in_pools())).unwrap();
    let flags: Vec<Read<FlagRecord>> =
        read(broker.bootstrap(), &config.sink.flagged_topic, positives.len());
    let verdicts_topic = config.sink.verdicts_topic.as_ref().unwrap();
    let verdicts: Vec<Read<VerdictRecord>> = read(broker.bootstrap(), verdicts_topic, 320);
    let metrics = running.metrics().text();
    stop(running);

    assert_eq!(ids(&flags, |f| &f.id), positives);
    assert!(
        flags.iter().all(|f| f.record.audit && f.record.tests == 2),
        "the test of a group of 16, and the audit"
    );
    assert!(verdicts.iter().all(|v| v.record.audit && v.record.rounds == 1));
    for line in [
        "dorfman_audits_total 320",
        "dorfman_audits_flagged_total 16",
        "dorfman_pool_cleared_total 320",
        "dorfman_audit_miss_rate{bound=\"estimate\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}
