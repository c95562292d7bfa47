//! Dead letters are sent to the source topic again. The test runs the binary with the worker of the
//! test and Apache Kafka.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use common::broker::{Broker, Real, admin, block_on};
use common::topic::{Read, produce, read};
use common::{config, eventually, png, start, stop, topics};
use dorfman::config::Config;
use dorfman::message::ReferenceMessage;
use dorfman::sink::message::{DeadLetterRecord, FlagRecord};
use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};

/// A worker that reads files below a folder, and its configuration as a file.
fn story(broker: &Real, name: &str, dir: &Path) -> (Config, String) {
    let mut config = config(broker.bootstrap(), name);
    config.fetch.roots = vec![dir.to_owned()];
    let file = dir.join("dorfman.yaml");
    let yaml = serde_json::json!({
        "kafka": {"brokers": config.kafka.brokers, "group_id": config.kafka.group_id},
        "source": {"topic": config.source.topic.first()},
        "sink": {
            "flagged_topic": config.sink.flagged_topic,
            "dead_letter_topic": config.sink.dead_letter_topic,
        },
    });
    std::fs::write(&file, yaml.to_string()).unwrap();
    (config, file.to_str().unwrap().to_owned())
}

fn redrive(file: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dorfman"));
    command.args(["redrive", "--config", file]).args(more).output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// References to files that do not exist yet, with a risk.
fn missing(dir: &Path, ids: &[&str]) -> Vec<(String, Vec<u8>)> {
    let reference = |id: &&str| {
        let uri = dir.join(format!("{id}.png")).to_str().unwrap().to_owned();
        let message = ReferenceMessage { risk: Some(0.25), ..ReferenceMessage::uri(*id, uri) };
        ((*id).to_owned(), serde_json::to_vec(&message).unwrap())
    };
    ids.iter().map(reference).collect()
}

fn fill(dir: &Path, ids: &[&str]) {
    ids.iter().for_each(|id| std::fs::write(dir.join(format!("{id}.png")), png(98)).unwrap());
}

fn flags(broker: &Real, config: &Config, count: usize) -> Vec<Read<FlagRecord>> {
    read(broker.bootstrap(), &config.sink.flagged_topic, count)
}

#[test]
fn dead_letters_are_sent_again_and_keep_their_flag_ids() {
    let broker = Real::with_topics(&topics("redrive", 1));
    let dir = tempfile::tempdir().unwrap();
    let (config, file) = story(&broker, "redrive", dir.path());
    let mut messages = missing(dir.path(), &["a", "b"]);
    messages.push(("c".into(), b"{".to_vec()));
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = start(&config);
    let dead = read::<DeadLetterRecord>(broker.bootstrap(), &config.sink.dead_letter_topic, 3);
    let found = dead.iter().find(|dead| dead.record.id.as_deref() == Some("a")).unwrap();
    assert_eq!((found.record.risk, found.record.source_timestamp.is_some()), (Some(0.25), true));

    let only = ["--reason", "not_found"];
    let counted = out(&redrive(&file, &[&only[..], &["--dry-run"]].concat()));
    assert!(counted.contains("2  not_found            to send"), "{counted}");
    assert!(counted.contains("1  malformed            left out"), "{counted}");
    fill(dir.path(), &["a", "b"]);
    assert!(out(&redrive(&file, &only)).contains("2  not_found            sent"));
    flags(&broker, &config, 2);
    assert_eq!(out(&redrive(&file, &only)), "", "it goes on where it stopped");
    let other = out(&redrive(&file, &["--reason", "malformed", "--dry-run"]));
    assert!(other.contains("1  malformed            to send"), "{other}");
    out(&redrive(&file, &[&only[..], &["--since", "2020-01-01T00:00:00Z"]].concat()));
    let flags = flags(&broker, &config, 4);
    stop(running);

    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for flag in &flags {
        let trace = String::from_utf8(flag.headers["trace"].clone()).unwrap();
        assert_eq!((&flag.key, &trace), (&flag.record.id, &flag.record.id));
        ids.entry(flag.record.id.clone()).or_default().push(flag.record.flag_id.clone());
    }
    assert_eq!(ids.len(), 2);
    assert!(ids.values().all(|ids| ids.len() == 2 && ids[0] == ids[1]), "{ids:?}");
}

#[test]
fn without_the_message_a_reference_is_made_from_the_dead_letter() {
    let broker = Real::with_topics(&topics("regone", 1));
    let dir = tempfile::tempdir().unwrap();
    let (config, file) = story(&broker, "regone", dir.path());
    let mut messages = missing(dir.path(), &["a"]);
    let inline = ReferenceMessage::inline("b", b"no image");
    messages.push(("b".into(), serde_json::to_vec(&inline).unwrap()));
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = start(&config);
    read::<DeadLetterRecord>(broker.bootstrap(), &config.sink.dead_letter_topic, 2);
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(config.source.topic.first(), 0, Offset::Offset(2)).unwrap();
    let options = AdminOptions::new();
    block_on(admin(broker.bootstrap()).delete_records(&all, &options)).unwrap();
    fill(dir.path(), &["a"]);
    let output = redrive(&file, &[]);
    let flags = flags(&broker, &config, 1);
    eventually("the redriven item is committed", || {
        let topic = config.source.topic.first();
        common::topic::committed(broker.bootstrap(), &config.kafka.group_id, topic, 1) >= 3
    });
    stop(running);

    assert_eq!(output.status.code(), Some(1), "the image of b is lost");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("1  not_found            sent, from the dead letter"), "{printed}");
    assert!(printed.contains("1  unsupported_format   lost"), "{printed}");
    assert_eq!(flags[0].record.id, "a");
}

/// The brokers refuse a message that is sent again. It must be sent again in the next run.
#[test]
fn a_message_that_the_brokers_refuse_is_not_passed_over() {
    let broker = Real::with_topics(&topics("rerefused", 1));
    let dir = tempfile::tempdir().unwrap();
    let (config, file) = story(&broker, "rerefused", dir.path());
    let topic = config.source.topic.first();
    produce(broker.bootstrap(), topic, &missing(dir.path(), &["a"]));
    let running = start(&config);
    read::<DeadLetterRecord>(broker.bootstrap(), &config.sink.dead_letter_topic, 1);
    fill(dir.path(), &["a"]);
    broker.alter(topic, "max.message.bytes", "50");
    let refused = redrive(&file, &[]);
    broker.alter(topic, "max.message.bytes", "1000000");
    assert!(out(&redrive(&file, &[])).contains("1  not_found            sent"));
    flags(&broker, &config, 1);
    stop(running);

    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("did not accept 1 of the messages"), "{message}");
}
