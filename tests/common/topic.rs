//! Producing to topics and reading topics with an ordinary client.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde::de::DeserializeOwned;

use super::PATIENCE;

/// A record that was read, with its key and its headers.
#[derive(Debug, Clone)]
pub struct Read<R> {
    pub key: String,
    pub headers: BTreeMap<String, Vec<u8>>,
    pub record: R,
}

/// Produces messages with their keys, and waits until the broker has acknowledged them.
pub fn produce<K: AsRef<str>, V: AsRef<[u8]>>(bootstrap: &str, topic: &str, messages: &[(K, V)]) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    for (key, payload) in messages {
        let headers = OwnedHeaders::new()
            .insert(rdkafka::message::Header { key: "trace", value: Some(key.as_ref()) });
        let record =
            BaseRecord::to(topic).key(key.as_ref()).payload(payload.as_ref()).headers(headers);
        producer.send(record).map_err(|(e, _)| e).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

/// Produces messages whose timestamp is a time since 1970.
pub fn produce_at<K: AsRef<str>>(
    bootstrap: &str,
    topic: &str,
    messages: &[(K, Vec<u8>)],
    time: Duration,
) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    for (key, payload) in messages {
        let record = BaseRecord::to(topic).key(key.as_ref()).payload(payload);
        let record = record.timestamp(time.as_millis() as i64);
        producer.send(record).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Produces messages in one transaction. Behind them, the partition has a marker without a message.
pub fn produce_transaction(bootstrap: &str, topic: &str, messages: &[(String, Vec<u8>)]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", topic)
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    for (key, payload) in messages {
        producer.send(BaseRecord::to(topic).key(key).payload(payload)).map_err(|(e, _)| e).unwrap();
    }
    producer.commit_transaction(PATIENCE).unwrap();
}

/// Produces a record with a key and without a payload.
pub fn produce_tombstone(bootstrap: &str, topic: &str, key: &str) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    producer.send(BaseRecord::<str, [u8]>::to(topic).key(key)).map_err(|(e, _)| e).unwrap();
    producer.flush(PATIENCE).unwrap();
}

/// Reads a topic with one partition from its beginning until `enough` is true.
pub fn read_until<R: DeserializeOwned>(
    bootstrap: &str,
    topic: &str,
    enough: impl Fn(&[Read<R>]) -> bool,
) -> Vec<Read<R>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "reader")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&all).unwrap();
    let mut read = Vec::new();
    let start = Instant::now();
    while !enough(&read) {
        assert!(start.elapsed() < PATIENCE, "timed out with {} records of {topic}", read.len());
        // Errors here are lost connections, which the client opens again. The assertion above
        // limits the wait.
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else { continue };
        let headers = message
            .headers()
            .map(|h| h.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())));
        read.push(Read {
            key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
            headers: headers.into_iter().flatten().collect(),
            record: serde_json::from_slice(message.payload().unwrap()).unwrap(),
        });
    }
    read
}

/// Reads at least `n` records of a topic with one partition.
pub fn read<R: DeserializeOwned>(bootstrap: &str, topic: &str, n: usize) -> Vec<Read<R>> {
    read_until(bootstrap, topic, |read| read.len() >= n)
}

/// The number of records in a topic with one partition.
pub fn count(bootstrap: &str, topic: &str) -> i64 {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let (low, high) = consumer.fetch_watermarks(topic, 0, PATIENCE).unwrap();
    high - low
}

/// The sum of a group's committed offsets over the partitions of a topic.
pub fn committed(bootstrap: &str, group: &str, topic: &str, partitions: i32) -> i64 {
    committed_list(bootstrap, group, topic, partitions)
        .elements()
        .iter()
        .map(|e| if let Offset::Offset(o) = e.offset() { o } else { 0 })
        .sum()
}

/// The metadata beside the committed offset of partition 0.
pub fn committed_metadata(bootstrap: &str, group: &str, topic: &str) -> String {
    committed_list(bootstrap, group, topic, 1).elements()[0].metadata().to_owned()
}

fn committed_list(
    bootstrap: &str,
    group: &str,
    topic: &str,
    partitions: i32,
) -> TopicPartitionList {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", bootstrap).set("group.id", group);
    let consumer: BaseConsumer = client.create().unwrap();
    let mut all = TopicPartitionList::new();
    all.add_partition_range(topic, 0, partitions - 1);
    consumer.committed_offsets(all, PATIENCE).unwrap()
}
