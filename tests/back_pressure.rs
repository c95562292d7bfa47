//! A worker whose queues are full reads no messages, and no partition waits for another one. The same
//! tests run on librdkafka's mock cluster and on Apache Kafka.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[macro_use]
mod common;

use std::time::Duration;

use common::broker::{Broker, Embedded, Real};
use common::topic::{Read, committed, produce, read, read_until};
use common::{
    config, distinct, eventually, gated, model, reference, references, start, stop, topics,
};
use dorfman::sink::message::VerdictRecord;
use dorfman::worker;

on_both_brokers![
    a_full_queue_blocks_the_source_and_loses_no_item,
    a_partition_that_left_a_blocked_source_is_read_again,
    a_long_partition_does_not_hold_up_a_short_one,
];

fn a_full_queue_blocks_the_source_and_loses_no_item<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 3));
    let mut config = config(broker.bootstrap(), name);
    config.source.queue = 32;
    let (messages, _) = references(0..2000, 10_000);
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let (network, permits) = gated();
    let running = worker::start(&config, model(network)).unwrap();
    eventually("the source is blocked", || running.metrics().blocked.get() == 1);
    assert!(running.metrics().received.get() < 2000, "the queues are bounded");
    drop(permits);
    let verdicts: Vec<Read<VerdictRecord>> =
        read(broker.bootstrap(), config.sink.verdicts_topic.as_ref().unwrap(), 2000);
    assert_eq!(distinct(&verdicts), 2000);
    eventually("the source reads again", || running.metrics().blocked.get() == 0);
    stop(running);
    assert_eq!(
        committed(broker.bootstrap(), &config.kafka.group_id, config.source.topic.first(), 3),
        2000
    );
}

fn a_partition_that_left_a_blocked_source_is_read_again<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 4));
    let mut config = config(broker.bootstrap(), name);
    config.source.queue = 32;
    config.source.drain = Duration::from_secs(1);
    let verdicts_topic = config.sink.verdicts_topic.clone().unwrap();
    let send = |range| {
        produce(broker.bootstrap(), config.source.topic.first(), &references(range, 10_000).0)
    };
    let wait_for = |n: usize| {
        read_until(broker.bootstrap(), &verdicts_topic, |v: &[Read<VerdictRecord>]| {
            distinct(v) >= n
        });
    };
    send(0..2000);
    let (network, permits) = gated();
    let first = worker::start(&config, model(network)).unwrap();
    eventually("the first source is blocked", || first.metrics().blocked.get() == 1);
    let second = start(&config);
    eventually("the second worker receives messages", || second.metrics().received.get() > 0);
    drop(permits);
    wait_for(2000);
    stop(second);
    // The first worker is assigned all partitions again, also those that it lost while its source was
    // blocked.
    send(2000..3000);
    wait_for(3000);
    stop(first);
    assert_eq!(
        committed(broker.bootstrap(), &config.kafka.group_id, config.source.topic.first(), 4),
        3000
    );
}

fn a_long_partition_does_not_hold_up_a_short_one<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 2));
    let mut config = config(broker.bootstrap(), name);
    config.source.queue = 32;
    let topic = config.source.topic.first();
    // One key has one partition. Of many keys, some have the other one.
    let long: Vec<_> = (0..3000).map(|i| ("long", reference(&format!("{i:04}"), false))).collect();
    let short: Vec<_> =
        (0..40).map(|i| (i.to_string(), reference(&format!("short-{i}"), false))).collect();
    produce(broker.bootstrap(), topic, &long);
    produce(broker.bootstrap(), topic, &short);
    let (network, permits) = gated();
    let running = worker::start(&config, model(network)).unwrap();
    eventually("the source is blocked", || running.metrics().blocked.get() == 1);
    drop(permits);
    let verdicts: Vec<Read<VerdictRecord>> =
        read(broker.bootstrap(), config.sink.verdicts_topic.as_ref().unwrap(), 3040);
    stop(running);

    let full =
        |partition: i32| verdicts.iter().filter(move |v| v.record.source.partition == partition);
    let other = i32::from(full(0).count() > full(1).count());
    let first = verdicts.iter().position(|v| v.record.source.partition == other);
    assert!(first.is_some_and(|first| first < 1500), "{first:?} of 3040");
}
