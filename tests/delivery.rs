//! What only Apache Kafka can prove about records: refused records, missing topics, deleted messages.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use common::broker::{Broker, Real, admin, block_on};
use common::topic::{Read, committed, count, produce, produce_transaction, read, read_until};
use common::{config, eventually, gated, model, png, reference, scripted, start, stop, topics};
use dorfman::config::Config;
use dorfman::message::ReferenceMessage;
use dorfman::sink::message::{DeadLetterRecord, FlagRecord, VerdictRecord};
use dorfman::worker;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// A broker with the topics of a test, except one.
fn broker_without(name: &str, kind: &str) -> Real {
    let missing = format!("{name}-{kind}");
    let some: Vec<_> = topics(name, 1).into_iter().filter(|(topic, _)| *topic != missing).collect();
    Real::with_topics(&some)
}

/// A reference to a positive image with `bytes` of metadata.
fn positive_with_metadata(id: &str, bytes: usize) -> (String, Vec<u8>) {
    let mut message = ReferenceMessage::inline(id, &png(98));
    let note = serde_json::Value::String("x".repeat(bytes));
    message.metadata = Some([("note".to_owned(), note)].into_iter().collect());
    (id.to_owned(), serde_json::to_vec(&message).unwrap())
}

fn plain(id: &str, positive: bool) -> (String, Vec<u8>) {
    (id.to_owned(), reference(id, positive))
}

fn committed_of(broker: &Real, config: &Config) -> i64 {
    committed(broker.bootstrap(), &config.kafka.group_id, config.source.topic.first(), 1)
}

fn until_committed(broker: &Real, config: &Config, offsets: i64) {
    eventually("the offsets are committed", || committed_of(broker, config) >= offsets);
}

#[test]
fn a_flag_that_is_too_large_is_sent_without_the_fields_of_the_sender() {
    let broker = broker_without("slim", "flagged");
    broker.create_with("slim-flagged", "max.message.bytes", "2000");
    let config = config(broker.bootstrap(), "slim");
    let messages = [
        positive_with_metadata("large", 10_000),
        positive_with_metadata("small", 10),
        plain("clean", false),
    ];
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = start(&config);
    let flags = read::<FlagRecord>(broker.bootstrap(), &config.sink.flagged_topic, 2);
    until_committed(&broker, &config, 3);
    stop(running);

    let large = flags.iter().find(|flag| flag.record.id == "large").unwrap();
    assert_eq!((&large.record.metadata, large.headers.is_empty()), (&None, true));
    let small = flags.iter().find(|flag| flag.record.id == "small").unwrap();
    assert!(small.record.metadata.is_some(), "it was refused only because of its batch");
    assert_eq!(small.headers["trace"], b"small");
    assert_eq!(count(broker.bootstrap(), &config.sink.dead_letter_topic), 0);
}

#[test]
fn small_records_are_published_although_their_batch_is_too_large() {
    let broker = broker_without("batch", "verdicts");
    broker.create_with("batch-verdicts", "max.message.bytes", "3000");
    let config = config(broker.bootstrap(), "batch");
    let messages: Vec<_> = (0..300).map(|i| plain(&format!("image-{i}"), false)).collect();
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = start(&config);
    let topic = config.sink.verdicts_topic.clone().unwrap();
    read::<VerdictRecord>(broker.bootstrap(), &topic, 300);
    until_committed(&broker, &config, 300);
    stop(running);

    assert_eq!(count(broker.bootstrap(), &config.sink.dead_letter_topic), 0);
}

#[test]
fn a_flag_that_the_topic_refuses_becomes_a_dead_letter() {
    let broker = broker_without("refused", "flagged");
    broker.create_with("refused-flagged", "max.message.bytes", "120");
    let config = config(broker.bootstrap(), "refused");
    let messages = [plain("flagged", true), plain("clean", false)];
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = start(&config);
    let dead = read::<DeadLetterRecord>(broker.bootstrap(), &config.sink.dead_letter_topic, 1);
    until_committed(&broker, &config, 2);
    stop(running);

    let dead = &dead[0].record;
    assert_eq!((dead.id.as_deref(), &dead.reason[..]), (Some("flagged"), "undeliverable"));
    for part in ["`refused-flagged`", "`bad`", "score"] {
        assert!(dead.detail.contains(part), "{}", dead.detail);
    }
}

/// Nothing shorter can be sent, so the worker must not go on. The error says what to raise.
#[test]
fn a_dead_letter_that_the_topic_refuses_ends_the_worker() {
    let broker = broker_without("mute", "dead");
    broker.create_with("mute-dead", "max.message.bytes", "100");
    let config = config(broker.bootstrap(), "mute");
    produce(broker.bootstrap(), config.source.topic.first(), &[("a", b"broken".to_vec())]);
    let error = start(&config).wait().unwrap_err().to_string();
    assert!(error.contains("`mute-dead` refuses a dead letter"), "{error}");
    assert!(error.contains("raise its `max.message.bytes`"), "{error}");
    assert_eq!(committed_of(&broker, &config), 0);
}

#[test]
fn a_missing_topic_of_dead_letters_stops_the_worker_at_its_start() {
    let broker = broker_without("missing", "dead");
    let config = config(broker.bootstrap(), "missing");
    let error = start(&config).wait().unwrap_err().to_string();
    assert!(
        error.contains("`sink.dead_letter_topic`") && error.contains("missing-dead"),
        "{error}"
    );
}

#[test]
fn check_connects_and_names_a_missing_topic() {
    let broker = broker_without("checked", "dead");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dorfman.yaml");
    let yaml = format!(
        "kafka: {{brokers: '{}'}}\nsource: {{topic: checked-images}}\n\
         sink: {{flagged_topic: checked-flagged, dead_letter_topic: checked-dead}}\n",
        broker.bootstrap()
    );
    std::fs::write(&file, yaml).unwrap();
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dorfman"));
        let output =
            command.args(["check", "--quiet", "--connect", "--config"]).arg(&file).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = check();
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("`sink.dead_letter_topic`"), "{text}");
    broker.create_with("checked-dead", "max.message.bytes", "5000");
    let (code, text) = check();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("checked-dead: 1 partitions, records of at most 5000 bytes"), "{text}");
}

#[test]
fn messages_that_were_deleted_before_they_were_read_are_counted() {
    let broker = Real::with_topics(&topics("deleted", 1));
    let config = config(broker.bootstrap(), "deleted");
    let topic = config.source.topic.first();
    let messages: Vec<_> = (0..100).map(|i| plain(&format!("image-{i}"), false)).collect();
    produce(broker.bootstrap(), topic, &messages);
    let at = |offset: i64| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
        list
    };
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", &config.kafka.group_id)
        .create()
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "the group has no members")]
    reader.commit(&at(5), CommitMode::Sync).unwrap();
    block_on(admin(broker.bootstrap()).delete_records(&at(50), &AdminOptions::new())).unwrap();
    let running = start(&config);
    until_committed(&broker, &config, 100);
    let metrics = running.metrics().text();
    stop(running);

    assert!(metrics.contains("\ndorfman_skipped_messages_total 45\n"), "{metrics}");
    assert!(metrics.contains("\ndorfman_messages_received_total 50\n"), "{metrics}");
}

#[test]
fn the_offsets_of_a_recreated_topic_are_committed() {
    let broker = Real::with_topics(&topics("recreated", 1));
    let config = config(broker.bootstrap(), "recreated");
    let topic = config.source.topic.first();
    let messages = |kind: &str, count: usize| -> Vec<_> {
        (0..count).map(|i| plain(&format!("{kind}-{i}"), i == 0)).collect()
    };
    produce(broker.bootstrap(), topic, &messages("old", 100));
    let running = start(&config);
    until_committed(&broker, &config, 100);
    let admin = admin(broker.bootstrap());
    block_on(admin.delete_topics(&[topic], &AdminOptions::new())).unwrap();
    // The broker refuses the name until the deletion is complete.
    eventually("the topic is deleted", || broker.try_create(topic));
    produce(broker.bootstrap(), topic, &messages("new", 30));
    let flags = read::<FlagRecord>(broker.bootstrap(), &config.sink.flagged_topic, 2);
    eventually("the lower offset is committed", || committed_of(&broker, &config) == 30);
    stop(running);

    let [old, new] = &flags[..2] else { panic!("{flags:?}") };
    assert_eq!((old.record.source.offset, new.record.source.offset), (0, 0));
    assert_ne!(old.record.flag_id, new.record.flag_id, "they are flags of different images");
}

/// A lag that never reaches 0 would keep an autoscaler from stopping the last worker.
#[test]
fn offsets_are_committed_behind_the_markers_of_transactions() {
    let broker = Real::with_topics(&topics("markers", 1));
    let mut config = config(broker.bootstrap(), "markers");
    let properties = &mut config.source.properties;
    properties.insert("statistics.interval.ms".into(), "500".into());
    let topic = config.source.topic.first().to_owned();
    produce_transaction(broker.bootstrap(), &topic, &[plain("a", true), plain("b", false)]);
    let running = start(&config);
    until_committed(&broker, &config, 3);
    produce(broker.bootstrap(), &topic, &[plain("c", true)]);
    read::<FlagRecord>(broker.bootstrap(), &config.sink.flagged_topic, 2);
    until_committed(&broker, &config, 4);
    let metrics = running.metrics().text();
    stop(running);

    assert!(metrics.contains("dorfman_skipped_messages_total 0"), "{metrics}");
    assert_eq!(committed_of(&broker, &config), 4);
}

/// Brokers that were away for longer than a session can leave a static member fenced. Here another
/// consumer takes its name, while items wait in every queue of the worker.
#[test]
fn a_worker_whose_consumer_was_fenced_joins_again() {
    let broker = Real::with_topics(&topics("fenced", 1));
    let mut config = config(broker.bootstrap(), "fenced");
    config.source.properties.insert("group.instance.id".into(), "worker-0".into());
    config.source.queue_bytes = 1 << 20;
    let topic = config.source.topic.first().to_owned();
    let messages: Vec<_> =
        (0..300).map(|i| positive_with_metadata(&format!("{i:03}"), 50_000)).collect();
    produce(broker.bootstrap(), &topic, &messages);
    let (network, permits) = gated();
    let running = worker::start(&config, model(network)).unwrap();
    let blocked = || running.metrics().text().contains("\ndorfman_source_blocked 1\n");
    eventually("the queues are full", blocked);
    let mut client = config.kafka.client(&config.source.properties);
    client.set("partition.assignment.strategy", "cooperative-sticky");
    client.set("enable.auto.commit", "false");
    let other: BaseConsumer = client.set("group.id", &config.kafka.group_id).create().unwrap();
    other.subscribe(&[&topic]).unwrap();
    eventually("the worker has a new consumer", || {
        assert!(!running.failed());
        other.poll(Duration::ZERO);
        running.metrics().consumer_renewals.get() == 1
    });
    drop(other);
    eventually("the queues are full again", blocked);
    drop(permits);
    until_committed(&broker, &config, 300);
    eventually("the source reads again", || !blocked());
    stop(running);

    // Verdicts of the items that the first consumer has read are not published.
    let flags = read::<FlagRecord>(broker.bootstrap(), &config.sink.flagged_topic, 300);
    let ids: BTreeSet<_> = flags.iter().map(|flag| flag.record.id.clone()).collect();
    assert_eq!((ids.len(), count(broker.bootstrap(), &config.sink.flagged_topic)), (300, 300));
}

/// A worker that panics leaves the group at once, unlike one that is killed.
#[test]
fn an_image_with_which_the_worker_panics_each_time_is_quarantined() {
    let broker = Real::with_topics(&topics("failing", 1));
    let mut config = config(broker.bootstrap(), "failing");
    config.source.properties.remove("session.timeout.ms");
    let messages: Vec<_> = (0..100).map(|i| plain(&format!("{i:03}"), i == 41)).collect();
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let dead_letters = || count(broker.bootstrap(), &config.sink.dead_letter_topic);
    let mut ends = 0;
    let running = loop {
        let network = scripted().with_test_hook(|_, _, scores| {
            assert!(scores.iter().all(|&score| score < 0.5), "a bug");
            Ok(())
        });
        let running = worker::start(&config, model(network)).unwrap();
        eventually("the worker fails, or the image is quarantined", || {
            running.failed() || dead_letters() > 0
        });
        if !running.failed() {
            break running;
        }
        running.wait().unwrap_err();
        ends += 1;
        assert!(ends < 10, "the cause is not found");
    };
    until_committed(&broker, &config, 100);
    stop(running);

    assert!(ends >= 6, "{ends} ends: three as usual, then in batches of 32, 4 and 1 images");
    // A worker that ends between a verdict's acknowledgement and its commit repeats the verdict.
    let cleared = |read: &[Read<VerdictRecord>]| -> BTreeSet<_> {
        read.iter().map(|verdict| verdict.record.id.clone()).collect()
    };
    let topic = config.sink.verdicts_topic.as_ref().unwrap();
    let verdicts = read_until(broker.bootstrap(), topic, |read| cleared(read).len() >= 99);
    assert_eq!((cleared(&verdicts).contains("041"), dead_letters()), (false, 1));
}

#[test]
fn several_topics_are_read() {
    let mut all = topics("several", 1);
    all.push(("several-uploads".into(), 2));
    let broker = Real::with_topics(&all);
    let mut config = config(broker.bootstrap(), "several");
    let both = ["several-images", "several-uploads"];
    config.source.topic = both.map(str::to_owned).into_iter().collect();
    produce(broker.bootstrap(), both[0], &[plain("a", true)]);
    produce(broker.bootstrap(), both[1], &[plain("b", true), plain("c", false)]);
    let running = start(&config);
    let verdicts =
        read::<VerdictRecord>(broker.bootstrap(), config.sink.verdicts_topic.as_ref().unwrap(), 3);
    stop(running);

    let from =
        |id: &str| verdicts.iter().find(|v| v.record.id == id).unwrap().record.source.topic.clone();
    assert_eq!(["a", "b", "c"].map(from), [both[0], both[1], both[1]]);
    let group = &config.kafka.group_id;
    assert_eq!(committed(broker.bootstrap(), group, both[1], 2), 2);
}

#[test]
fn large_messages_are_limited_by_their_bytes() {
    let broker = Real::with_topics(&topics("large", 1));
    let mut config = config(broker.bootstrap(), "large");
    config.source.queue_bytes = 1 << 20;
    let messages: Vec<_> =
        (0..300).map(|i| positive_with_metadata(&format!("{i}"), 50_000)).collect();
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let (network, permits) = gated();
    let running = worker::start(&config, model(network)).unwrap();
    eventually("the source is blocked", || {
        running.metrics().text().contains("\ndorfman_source_blocked 1\n")
    });
    let waiting = running.metrics().received.get();
    drop(permits);
    until_committed(&broker, &config, 300);
    stop(running);

    // 20 messages wait, and one batch and the items in the engine have left the queue.
    assert!(waiting < 250, "{waiting}");
}

/// The brokers answer, but take no records for a time. A mock cluster is told so.
#[test]
fn records_without_an_answer_are_sent_again_by_a_new_producer() {
    let cluster = MockCluster::new(1).unwrap();
    for (topic, partitions) in topics("anew", 1) {
        cluster.create_topic(&topic, partitions, 1).unwrap();
    }
    let mut config = config(&cluster.bootstrap_servers(), "anew");
    config.sink.renew_after = Duration::from_secs(1);
    let bootstrap = config.kafka.brokers.clone();
    let messages: Vec<_> = (0..50).map(|i| plain(&format!("{i:02}"), true)).collect();
    produce(&bootstrap, config.source.topic.first(), &messages);
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 30],
    );
    let running = start(&config);
    eventually("the producer is replaced twice", || running.metrics().producer_renewals.get() >= 2);
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    let flags = read_until(&bootstrap, &config.sink.flagged_topic, |flags| flag_ids(flags) >= 50);
    eventually("the offsets are committed", || {
        committed(&bootstrap, &config.kafka.group_id, config.source.topic.first(), 1) == 50
    });
    stop(running);

    let ids: BTreeSet<_> = flags.iter().map(|flag| flag.record.id.clone()).collect();
    assert_eq!((ids.len(), flag_ids(&flags)), (50, 50));
}

fn flag_ids(flags: &[Read<FlagRecord>]) -> usize {
    flags.iter().map(|flag| &flag.record.flag_id).collect::<BTreeSet<_>>().len()
}
