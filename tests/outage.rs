//! Hosts that do not answer: the stream goes on without them, or waits for the store.
//!
//! The same tests run on librdkafka's mock cluster and on Apache Kafka.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[macro_use]
mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use common::broker::{Broker, Embedded, Real};
use common::topic::{count, produce, read, read_until};
use common::{config, eventually, png, reference, start, stop, topics};
use dorfman::config::Config;
use dorfman::message::ReferenceMessage;
use dorfman::sink::message::{DeadLetterRecord, VerdictRecord};
use dorfman::worker::Running;

on_both_brokers![
    a_host_that_never_answers_stops_no_other_item,
    a_store_that_is_down_pauses_the_stream_until_it_answers,
    with_a_limit_the_items_of_a_store_become_dead_letters,
    a_dead_host_becomes_dead_letters_at_once,
    a_folder_that_is_gone_pauses_the_stream_until_it_is_back,
];

/// Serves one image at every path, with one thread per connection.
fn serve(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let image = png(2);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    image.len()
                );
                // The client may have given up.
                let _ = stream.write_all(&[head.as_bytes(), &image].concat());
            });
        }
    });
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// An address at which nothing listens.
fn closed() -> SocketAddr {
    listen().local_addr().unwrap()
}

fn remote(id: impl ToString, host: SocketAddr) -> (String, Vec<u8>) {
    let reference = ReferenceMessage::uri(id.to_string(), format!("http://{host}/image.png"));
    (id.to_string(), serde_json::to_vec(&reference).unwrap())
}

fn local(id: impl ToString) -> (String, Vec<u8>) {
    (id.to_string(), reference(&id.to_string(), false))
}

fn over_http(bootstrap: &str, name: &str) -> Config {
    let mut config = config(bootstrap, name);
    config.fetch.allow_private = true;
    config.fetch.backoff = Duration::from_millis(1);
    config.validate().unwrap();
    config
}

/// The ids of the first `count` different items that the network has judged.
fn judged(broker: &impl Broker, config: &Config, count: usize) -> BTreeSet<String> {
    let topic = config.sink.verdicts_topic.as_ref().unwrap();
    let ids = |read: &[common::topic::Read<VerdictRecord>]| -> BTreeSet<String> {
        let judged = read.iter().filter(|read| read.record.verdict != "failed");
        judged.map(|read| read.record.id.clone()).collect()
    };
    ids(&read_until(broker.bootstrap(), topic, |read| ids(read).len() >= count))
}

fn down(running: &Running) -> bool {
    running.metrics().text().contains("\ndorfman_fetch_outage 1\n")
}

/// The references to the silent host come first. There are more of them than fetches may run.
fn a_host_that_never_answers_stops_no_other_item<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let config = over_http(broker.bootstrap(), name);
    let (silent, good) = (listen(), listen());
    let (silent_at, good_at) = (silent.local_addr().unwrap(), good.local_addr().unwrap());
    serve(good);
    let hanging = (0..200).map(|i| remote(format!("hanging-{i}"), silent_at));
    let others = (0..300).map(|i| local(format!("local-{i}")));
    let fetched = (0..100).map(|i| remote(format!("fetched-{i}"), good_at));
    let messages: Vec<_> = hanging.chain(others).chain(fetched).collect();
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = start(&config);
    let ids = judged(&broker, &config, 400);
    assert_eq!(count(broker.bootstrap(), &config.sink.dead_letter_topic), 0, "a fetch has ended");
    drop(silent);
    let dead = config.sink.dead_letter_topic.clone();
    running.stop();
    drop(running.wait());

    assert!(ids.iter().all(|id| !id.starts_with("hanging")));
    assert!(count(broker.bootstrap(), &dead) <= 200);
}

fn a_store_that_is_down_pauses_the_stream_until_it_answers<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = over_http(broker.bootstrap(), name);
    config.source.queue = 64;
    let store = closed();
    let messages: Vec<_> = (0..1000).map(|i| remote(format!("image-{i}"), store)).collect();
    let (first, later) = messages.split_at(300);
    produce(broker.bootstrap(), config.source.topic.first(), first);
    let running = start(&config);
    eventually("the store is reported as down", || down(&running));
    let unready = running.health().unready();
    assert!(unready.as_ref().is_some_and(|why| why.contains(&store.to_string())), "{unready:?}");
    assert_eq!(running.health().unhealthy(), None, "a restart does not help");
    produce(broker.bootstrap(), config.source.topic.first(), later);
    eventually("the source is blocked", || {
        running.metrics().text().contains("\ndorfman_source_blocked 1\n")
    });
    serve(TcpListener::bind(store).unwrap());
    let ids = judged(&broker, &config, messages.len());
    eventually("the outage is over", || !down(&running));
    stop(running);

    assert_eq!(ids.len(), messages.len());
    assert_eq!(count(broker.bootstrap(), &config.sink.dead_letter_topic), 0);
}

fn with_a_limit_the_items_of_a_store_become_dead_letters<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = over_http(broker.bootstrap(), name);
    config.fetch.outage_limit = Some(Duration::from_millis(300));
    let store = closed();
    let messages: Vec<_> = (0..200).map(|i| remote(format!("image-{i}"), store)).collect();
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = start(&config);
    let dead = read::<DeadLetterRecord>(broker.bootstrap(), &config.sink.dead_letter_topic, 200);
    stop(running);

    assert!(dead.iter().all(|dead| dead.record.reason == "unavailable"), "{:?}", dead[0]);
}

fn a_dead_host_becomes_dead_letters_at_once<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = over_http(broker.bootstrap(), name);
    // Retries of each item would take a minute.
    config.fetch.backoff = Duration::from_secs(10);
    config.fetch.attempts = 20;
    let dead_host = closed();
    let others = (0..1000).map(|i| local(format!("local-{i}")));
    let dead = (0..60).map(|i| remote(format!("dead-{i}"), dead_host));
    let messages: Vec<_> = others.chain(dead).collect();
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let running = start(&config);
    let dead = read::<DeadLetterRecord>(broker.bootstrap(), &config.sink.dead_letter_topic, 60);
    judged(&broker, &config, 1000);
    stop(running);

    let probed =
        |dead: &&common::topic::Read<DeadLetterRecord>| dead.record.detail.contains("in a row");
    assert!(dead.iter().filter(probed).count() >= 20, "{:?}", dead[0]);
}

fn a_folder_that_is_gone_pauses_the_stream_until_it_is_back<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("images");
    let fill = || {
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("image.png"), png(2)).unwrap();
    };
    fill();
    let mut config = over_http(broker.bootstrap(), name);
    config.fetch.roots = vec![root.clone()];
    let file = |i: usize| {
        let uri = root.join("image.png").to_str().unwrap().to_owned();
        let reference = ReferenceMessage::uri(format!("file-{i}"), uri);
        (format!("file-{i}"), serde_json::to_vec(&reference).unwrap())
    };
    let produce = |range: std::ops::Range<usize>| {
        let messages: Vec<_> = range.map(file).collect();
        produce(broker.bootstrap(), config.source.topic.first(), &messages);
    };
    let running = start(&config);
    produce(0..50);
    judged(&broker, &config, 50);
    std::fs::remove_dir_all(&root).unwrap();
    produce(50..300);
    eventually("the folder is reported as down", || down(&running));
    let unready = running.health().unready();
    assert!(unready.as_ref().is_some_and(|why| why.contains("file:/")), "{unready:?}");
    fill();
    judged(&broker, &config, 300);
    eventually("the outage is over", || !down(&running));
    stop(running);

    assert_eq!(count(broker.bootstrap(), &config.sink.dead_letter_topic), 0);
}
