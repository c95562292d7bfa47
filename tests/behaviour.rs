//! The worker on a broker: flags, dead letters, commits, rebalances, restarts and failures. The same tests run on librdkafka's mock cluster and on Apache Kafka.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[macro_use]
mod common;

use std::collections::BTreeSet;

use common::broker::{Broker, Embedded, Real};
use common::topic::{
    Read, committed, committed_metadata, count, produce, produce_tombstone, read, read_until,
};
use common::{
    config, confirmed_model, distinct, eventually, gated, ids, model, png, png_pair, reference,
    references, start, stop, topics,
};
use dorfman::message::ReferenceMessage;
use dorfman::sink::message::{DeadLetterRecord, FlagRecord, VerdictRecord};
use dorfman::worker;

on_both_brokers![
    positives_are_flagged_and_all_offsets_are_committed,
    only_images_that_the_confirm_network_confirms_are_flagged,
    items_that_cannot_be_scored_are_dead_lettered,
    the_message_key_is_the_id_of_a_raw_image,
    the_events_of_a_platform_are_read_by_a_mapping,
    a_record_without_a_payload_is_skipped,
    a_group_is_tested_at_its_deadline,
    a_stop_finishes_taken_items_and_a_restart_resumes_after_them,
    a_failing_network_acknowledges_no_item_without_a_verdict,
    no_item_is_lost_when_workers_join_and_leave,
    probes_and_metrics_report_the_state_of_the_worker,
];

fn positives_are_flagged_and_all_offsets_are_committed<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 3));
    let config = config(broker.bootstrap(), name);
    let (messages, positives) = references(0..500, 50);
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = start(&config);
    let flags: Vec<Read<FlagRecord>> =
        read(broker.bootstrap(), &config.sink.flagged_topic, positives.len());
    let verdicts: Vec<Read<VerdictRecord>> =
        read(broker.bootstrap(), config.sink.verdicts_topic.as_ref().unwrap(), 500);
    stop(running);

    assert_eq!(ids(&flags, |f| &f.id), positives);
    for flag in &flags {
        assert_eq!(
            (flag.key.as_str(), flag.record.label.as_str()),
            (flag.record.id.as_str(), "bad")
        );
        assert_eq!(
            flag.headers["trace"],
            flag.record.id.as_bytes(),
            "the flag has the headers of the message"
        );
        assert_eq!(
            (flag.record.bundle.name.as_str(), flag.record.source.topic.as_str()),
            ("scripted", config.source.topic.first())
        );
        assert_eq!(
            flag.record.tests, 3,
            "tests of the group of 16, of a part of 4, and of the image alone"
        );
        assert!(flag.record.score > 0.9 && flag.record.time.ends_with('Z'));
    }
    let flag_ids: BTreeSet<&str> = flags.iter().map(|f| f.record.flag_id.as_str()).collect();
    assert_eq!(flag_ids.len(), flags.len());
    assert_eq!(
        ids(&verdicts, |v| &v.id),
        messages.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>()
    );
    let flagged = verdicts.iter().filter(|v| v.record.verdict == "flagged").count();
    assert_eq!(flagged, positives.len());
    assert_eq!(
        committed(broker.bootstrap(), &config.kafka.group_id, config.source.topic.first(), 3),
        500
    );
}

fn only_images_that_the_confirm_network_confirms_are_flagged<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let config = config(broker.bootstrap(), name);
    let images = [("clean", 2, 98), ("doubtful", 98, 2), ("bad", 98, 80)];
    let message = |(id, first, second): (&str, u8, u8)| {
        let reference = ReferenceMessage::inline(id, &png_pair(first, second));
        (id.to_owned(), serde_json::to_vec(&reference).unwrap())
    };
    produce(broker.bootstrap(), config.source.topic.first(), &images.map(message));
    let running = worker::start(&config, confirmed_model()).unwrap();
    let verdicts_topic = config.sink.verdicts_topic.as_ref().unwrap();
    let verdicts: Vec<Read<VerdictRecord>> = read(broker.bootstrap(), verdicts_topic, 3);
    let flags: Vec<Read<FlagRecord>> = read(broker.bootstrap(), &config.sink.flagged_topic, 1);
    let metrics = running.metrics().text();
    stop(running);

    assert_eq!(
        (flags.len(), flags[0].record.id.as_str(), flags[0].record.confirm_score),
        (1, "bad", Some(0.8))
    );
    let verdict = |id: &str| &verdicts.iter().find(|v| v.record.id == id).unwrap().record;
    assert_eq!(
        (verdict("clean").verdict.as_str(), verdict("clean").confirm_score),
        ("cleared", None)
    );
    let doubtful = verdict("doubtful");
    assert!(
        doubtful.verdict == "cleared"
            && doubtful.confirm_score < Some(0.1)
            && doubtful.score > Some(0.9)
    );
    assert!(metrics.contains("dorfman_network_rows_total{stage=\"confirm\"} 2"), "{metrics}");
    assert!(metrics.contains("dorfman_confirmed_total 1"), "{metrics}");
}

fn items_that_cannot_be_scored_are_dead_lettered<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("good.png"), png(98)).unwrap();
    std::fs::write(root.path().join("broken.png"), &png(98)[..40]).unwrap();
    config.fetch.roots = vec![root.path().to_owned()];
    let uri = |id: &str, uri: &str| {
        (id.to_owned(), serde_json::to_vec(&ReferenceMessage::uri(id, uri)).unwrap())
    };
    let file = |id: &str, file: &str| uri(id, root.path().join(file).to_str().unwrap());
    let messages = [
        ("not-json".to_owned(), b"{".to_vec()),
        file("good", "good.png"),
        file("broken", "broken.png"),
        file("missing", "missing.png"),
        uri("outside", "/etc/hostname"),
        uri("scheme", "ftp://example.org/a.png"),
        uri("private", "http://127.0.0.1:9/a.png"),
        (
            "text".to_owned(),
            serde_json::to_vec(&ReferenceMessage::inline("text", b"no image")).unwrap(),
        ),
    ];
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = start(&config);
    let dead: Vec<Read<DeadLetterRecord>> =
        read(broker.bootstrap(), &config.sink.dead_letter_topic, 7);
    let flags: Vec<Read<FlagRecord>> = read(broker.bootstrap(), &config.sink.flagged_topic, 1);
    stop(running);

    let reason = |id: Option<&str>| {
        dead.iter().find(|d| d.record.id.as_deref() == id).map(|d| d.record.reason.as_str())
    };
    assert_eq!(reason(None), Some("malformed"));
    assert_eq!(reason(Some("broken")), Some("undecodable"));
    assert_eq!(reason(Some("missing")), Some("not_found"));
    assert_eq!(reason(Some("outside")), Some("forbidden"));
    assert_eq!(reason(Some("scheme")), Some("unsupported_scheme"));
    assert_eq!(reason(Some("private")), Some("forbidden"));
    assert_eq!(reason(Some("text")), Some("unsupported_format"));
    let malformed = dead.iter().find(|d| d.record.id.is_none()).unwrap();
    assert_eq!(
        malformed.record.payload.as_deref(),
        Some("ew=="),
        "the payload is the message in base64"
    );
    assert_eq!(malformed.headers["trace"], b"not-json");
    assert_eq!(ids(&flags, |f| &f.id), ["good"]);
    assert_eq!(
        committed(broker.bootstrap(), &config.kafka.group_id, config.source.topic.first(), 1),
        8,
        "dead letters are acknowledged"
    );
}

fn the_message_key_is_the_id_of_a_raw_image<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    config.source.format = dorfman::config::source::Format::Raw;
    produce(
        broker.bootstrap(),
        config.source.topic.first(),
        &[("clean", png(1)), ("bad", png(100)), ("", png(100))],
    );
    let running = start(&config);
    let flags: Vec<Read<FlagRecord>> = read(broker.bootstrap(), &config.sink.flagged_topic, 1);
    let dead: Vec<Read<DeadLetterRecord>> =
        read(broker.bootstrap(), &config.sink.dead_letter_topic, 1);
    stop(running);
    assert_eq!(ids(&flags, |f| &f.id), ["bad"]);
    assert!(dead[0].record.detail.contains("key"), "{}", dead[0].record.detail);
}

/// The headers of the test's producer have the id: `trace` is the key of the record.
fn the_events_of_a_platform_are_read_by_a_mapping<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    let mapping = serde_json::json!(
        {"id": "header:trace", "data": "/upload/pixels", "risk": "/sender/risk", "metadata": ""});
    config.source.mapping = Some(serde_json::from_value(mapping).unwrap());
    config.source.strict = true;
    let event = |id: &str, level: u8| {
        let Some(pixels) = ReferenceMessage::inline("", &png(level)).data else { panic!("data") };
        let event = serde_json::json!(
            {"kind": "upload", "sender": {"risk": "0.5"}, "upload": {"pixels": pixels}});
        (id.to_owned(), serde_json::to_vec(&event).unwrap())
    };
    let topic = config.source.topic.first();
    let messages = [event("clean", 2), event("bad", 98), ("none".to_owned(), b"{}".to_vec())];
    produce(broker.bootstrap(), topic, &messages);
    let running = start(&config);
    let flags: Vec<Read<FlagRecord>> = read(broker.bootstrap(), &config.sink.flagged_topic, 1);
    let dead: Vec<Read<DeadLetterRecord>> =
        read(broker.bootstrap(), &config.sink.dead_letter_topic, 1);
    stop(running);

    assert_eq!(ids(&flags, |f| &f.id), ["bad"]);
    assert_eq!(flags[0].record.metadata.as_ref().unwrap()["kind"], "upload");
    assert_eq!((dead[0].key.as_str(), dead[0].record.reason.as_str()), ("", "malformed"));
    assert_eq!(committed(broker.bootstrap(), &config.kafka.group_id, topic, 1), 3);
}

fn a_record_without_a_payload_is_skipped<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let config = config(broker.bootstrap(), name);
    produce_tombstone(broker.bootstrap(), config.source.topic.first(), "forgotten");
    produce(broker.bootstrap(), config.source.topic.first(), &[("a", reference("a", true))]);
    let running = start(&config);
    read::<FlagRecord>(broker.bootstrap(), &config.sink.flagged_topic, 1);
    let group = &config.kafka.group_id;
    eventually("both offsets are committed", || {
        committed(broker.bootstrap(), group, config.source.topic.first(), 1) == 2
    });
    let metrics = running.metrics().text();
    stop(running);

    assert!(metrics.contains("dorfman_tombstones_total 1"), "{metrics}");
    assert_eq!(count(broker.bootstrap(), &config.sink.dead_letter_topic), 0);
}

fn a_group_is_tested_at_its_deadline<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let config = config(broker.bootstrap(), name);
    let running = start(&config);
    produce(broker.bootstrap(), config.source.topic.first(), &references(0..3, 2).0);
    let flags: Vec<Read<FlagRecord>> = read(broker.bootstrap(), &config.sink.flagged_topic, 2);
    assert_eq!(ids(&flags, |f| &f.id), ["image-00000", "image-00002"]);
    stop(running);
}

fn a_stop_finishes_taken_items_and_a_restart_resumes_after_them<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 3));
    let config = config(broker.bootstrap(), name);
    let verdicts_topic = config.sink.verdicts_topic.clone().unwrap();
    let (messages, positives) = references(0..3000, 100);
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let (network, permits) = gated();
    let running = worker::start(&config, model(network)).unwrap();
    for _ in 0..20 {
        permits.send(Ok(())).unwrap();
    }
    // The worker is stopped when some verdicts are published, the network waits for a permit and
    // the queues are full.
    read_until(broker.bootstrap(), &verdicts_topic, |v: &[Read<VerdictRecord>]| !v.is_empty());
    running.stop();
    drop(permits);
    running.wait().unwrap();
    let published = count(broker.bootstrap(), &verdicts_topic);
    let acknowledged =
        committed(broker.bootstrap(), &config.kafka.group_id, config.source.topic.first(), 3);
    assert_eq!(acknowledged, published, "exactly the items with a verdict are acknowledged");
    assert!(published < 3000, "the worker stopped before the end of the stream");

    let restarted = start(&config);
    let verdicts: Vec<Read<VerdictRecord>> = read(broker.bootstrap(), &verdicts_topic, 3000);
    stop(restarted);
    assert_eq!(distinct(&verdicts), 3000, "no item is lost");
    assert_eq!(count(broker.bootstrap(), &verdicts_topic), 3000, "no item has two verdicts");
    let flags: Vec<Read<FlagRecord>> =
        read(broker.bootstrap(), &config.sink.flagged_topic, positives.len());
    assert_eq!(ids(&flags, |f| &f.id), positives);
}

fn a_failing_network_acknowledges_no_item_without_a_verdict<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let config = config(broker.bootstrap(), name);
    let verdicts_topic = config.sink.verdicts_topic.clone().unwrap();
    produce(broker.bootstrap(), config.source.topic.first(), &references(0..200, 10_000).0);
    let (network, permits) = gated();
    let running = worker::start(&config, model(network)).unwrap();
    permits.send(Ok(())).unwrap();
    permits.send(Err("out of memory".into())).unwrap();
    let error = running.wait().unwrap_err().to_string();
    assert!(error.contains("out of memory"), "{error}");
    let published = count(broker.bootstrap(), &verdicts_topic);
    let (group, topic) = (&config.kafka.group_id, config.source.topic.first());
    assert!(committed(broker.bootstrap(), group, topic, 1) <= published);
    // No item is the cause: the next worker must not look for one.
    let note = committed_metadata(broker.bootstrap(), group, topic);
    assert!(note.contains("open=false"), "{note}");

    let restarted = start(&config);
    let verdicts: Vec<Read<VerdictRecord>> =
        read_until(broker.bootstrap(), &verdicts_topic, |v| distinct(v) == 200);
    assert_eq!(distinct(&verdicts), 200);
    stop(restarted);
}

fn no_item_is_lost_when_workers_join_and_leave<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 4));
    let config = config(broker.bootstrap(), name);
    let verdicts_topic = config.sink.verdicts_topic.clone().unwrap();
    let send = |range: std::ops::Range<usize>| {
        produce(broker.bootstrap(), config.source.topic.first(), &references(range, 50).0)
    };
    let wait_for = |n: usize| {
        read_until(broker.bootstrap(), &verdicts_topic, |v: &[Read<VerdictRecord>]| {
            distinct(v) >= n
        });
    };
    send(0..1000);
    let first = start(&config);
    wait_for(100);
    let second = start(&config);
    eventually("the second worker has partitions", || second.metrics().rebalances.get() > 0);
    send(1000..3000);
    eventually("the second worker receives messages", || second.metrics().received.get() > 0);
    wait_for(1500);
    stop(first);
    send(3000..4000);
    wait_for(4000);
    stop(second);
    let verdicts: Vec<Read<VerdictRecord>> =
        read_until(broker.bootstrap(), &verdicts_topic, |v| distinct(v) == 4000);
    let (_, positives) = references(0..4000, 50);
    let flags: Vec<Read<FlagRecord>> =
        read_until(broker.bootstrap(), &config.sink.flagged_topic, |f| f.len() >= positives.len());
    let flagged: BTreeSet<String> = ids(&flags, |f| &f.id).into_iter().collect();
    assert_eq!(flagged.into_iter().collect::<Vec<_>>(), positives);
    assert_eq!(
        committed(broker.bootstrap(), &config.kafka.group_id, config.source.topic.first(), 4),
        4000
    );
    assert_eq!(distinct(&verdicts), 4000);
}

fn probes_and_metrics_report_the_state_of_the_worker<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let config = config(broker.bootstrap(), name);
    produce(broker.bootstrap(), config.source.topic.first(), &references(0..100, 25).0);
    produce(broker.bootstrap(), config.source.topic.first(), &[("x", b"{")]);
    let running = start(&config);
    let address = running.address().unwrap();
    read::<VerdictRecord>(broker.bootstrap(), config.sink.verdicts_topic.as_ref().unwrap(), 101);
    eventually("every verdict is counted", || {
        let counts = ["flagged", "cleared", "failed"]
            .iter()
            .map(|v| running.metrics().items.with_label_values(&[*v]).get());
        counts.sum::<u64>() == 101
    });
    let get = |path: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        })
    };
    assert_eq!(get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get("/readyz"), (200, "ok\n".to_owned()));
    let (_, metrics) = get("/metrics");
    for line in [
        "dorfman_items_total{verdict=\"flagged\"} 4",
        "dorfman_items_total{verdict=\"cleared\"} 96",
        "dorfman_items_total{verdict=\"failed\"} 1",
        "dorfman_dead_letters_total{reason=\"malformed\"} 1",
        "dorfman_messages_received_total 101",
        "dorfman_flagged_total{label=\"bad\"} 4",
        "dorfman_source_blocked 0",
    ] {
        assert!(metrics.contains(line), "no `{line}` in\n{metrics}");
    }
    running.stop();
    assert_eq!(running.health().unready().as_deref(), Some("stopping"));
    running.wait().unwrap();
}

/// The broker assigns the partitions (KIP-848). The mock cluster implements this protocol only in
/// part.
#[test]
fn a_worker_consumes_with_the_protocol_of_kip_848() {
    let name = "k-kip-848";
    let broker = Real::with_topics(&topics(name, 3));
    let mut config = config(broker.bootstrap(), name);
    config.source.properties = [("group.protocol".to_owned(), "consumer".to_owned())].into();
    produce(broker.bootstrap(), config.source.topic.first(), &references(0..300, 30).0);
    let running = start(&config);
    let flags: Vec<Read<FlagRecord>> = read(broker.bootstrap(), &config.sink.flagged_topic, 10);
    read::<VerdictRecord>(broker.bootstrap(), config.sink.verdicts_topic.as_ref().unwrap(), 300);
    stop(running);
    assert_eq!(flags.len(), 10);
    assert_eq!(
        committed(broker.bootstrap(), &config.kafka.group_id, config.source.topic.first(), 3),
        300
    );
}

/// The record of the flag with its metadata would be larger than `message.max.bytes`.
#[test]
fn a_flag_is_published_without_metadata_that_is_too_large() {
    let name = "e-large";
    let broker = Embedded::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    config.sink.properties = [("message.max.bytes".to_owned(), "2000".to_owned())].into();
    let mut message: serde_json::Value = serde_json::from_slice(&reference("big", true)).unwrap();
    message["metadata"] = serde_json::json!({ "note": "x".repeat(10_000) });
    produce(
        broker.bootstrap(),
        config.source.topic.first(),
        &[("big", serde_json::to_vec(&message).unwrap())],
    );
    let running = start(&config);
    let flags: Vec<Read<FlagRecord>> = read(broker.bootstrap(), &config.sink.flagged_topic, 1);
    stop(running);
    assert_eq!((flags[0].record.id.as_str(), &flags[0].record.metadata), ("big", &None));
}
