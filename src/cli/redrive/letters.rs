//! The dead-letter topic, as `redrive` reads it.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};

use super::super::CliError;
use super::ANSWER;
use crate::config::Config;

/// The dead-letter topic, from where the command stopped last to the end at its start.
pub(super) struct DeadLetters {
    consumer: BaseConsumer,
    topic: String,
    ends: BTreeMap<i32, i64>,
    next: BTreeMap<i32, i64>,
}

impl DeadLetters {
    /// Opens the topic at the first dead letter since a time, in milliseconds since 1970, or where the
    /// last run with these reasons stopped. Each set of reasons has a position of its own: a run passes
    /// over the dead letters with other reasons.
    ///
    /// # Errors
    /// If the brokers do not answer, or if the topic does not exist.
    pub fn open(
        config: &Config,
        since: Option<i64>,
        reasons: &BTreeSet<&str>,
    ) -> Result<Self, CliError> {
        let topic = config.sink.dead_letter_topic.clone();
        let words = std::iter::once("redrive").chain(reasons.iter().copied());
        let consumer = consumer(config, &words.collect::<Vec<_>>().join("-"))?;
        let metadata = consumer.fetch_metadata(Some(&topic), ANSWER)?;
        let found = metadata.topics().first().filter(|found| found.error().is_none());
        let Some(found) = found.filter(|found| !found.partitions().is_empty()) else {
            return Err(CliError::Failed(format!("the topic {topic} does not exist")));
        };
        let mut partitions = TopicPartitionList::new();
        for partition in found.partitions() {
            let offset = since.map_or(Offset::Invalid, Offset::Offset);
            partitions.add_partition_offset(&topic, partition.id(), offset)?;
        }
        let starts = match since {
            Some(_) => consumer.offsets_for_times(partitions, ANSWER)?,
            None => consumer.committed_offsets(partitions, ANSWER)?,
        };
        let (mut next, mut ends) = (BTreeMap::new(), BTreeMap::new());
        let mut assigned = TopicPartitionList::new();
        for start in starts.elements() {
            let partition = start.partition();
            let (first, end) = consumer.fetch_watermarks(&topic, partition, ANSWER)?;
            let begin = match start.offset() {
                Offset::Offset(offset) => offset.clamp(first, end),
                Offset::End => end,
                _ => first,
            };
            next.insert(partition, begin);
            ends.insert(partition, end);
            assigned.add_partition_offset(&topic, partition, Offset::Offset(begin))?;
        }
        consumer.assign(&assigned)?;
        Ok(Self { consumer, topic, ends, next })
    }

    /// Dead letters that are left.
    pub fn left(&self) -> u64 {
        let left = |(partition, end): (&i32, &i64)| (end - self.next[partition]).max(0) as u64;
        self.ends.iter().map(left).sum()
    }

    /// The next dead letter. `None` at the end.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn next(&mut self) -> Result<Option<OwnedMessage>, CliError> {
        while self.left() > 0 {
            let Some(message) = self.consumer.poll(ANSWER) else {
                return Err(CliError::Failed(format!(
                    "{} dead letters are left, but none has arrived for {} s; run the command again, \
                     it goes on from here",
                    self.left(),
                    ANSWER.as_secs()
                )));
            };
            let message = message?.detach();
            let (partition, offset) = (message.partition(), message.offset());
            if offset < self.ends.get(&partition).copied().unwrap_or_default() {
                self.next.insert(partition, offset + 1);
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Commits the position, so that the next run goes on from here.
    ///
    /// # Errors
    /// If the brokers refuse the position.
    pub fn commit(&self) -> Result<(), CliError> {
        let mut offsets = TopicPartitionList::new();
        for (&partition, &offset) in &self.next {
            offsets.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the group has no members: partitions are assigned by hand"
        )]
        self.consumer.commit(&offsets, CommitMode::Sync)?;
        Ok(())
    }
}

/// A consumer without automatic commits. Its group is that of the workers, with a suffix.
pub(super) fn consumer(config: &Config, suffix: &str) -> Result<BaseConsumer, CliError> {
    let mut client = config.kafka.client(&config.source.properties);
    for key in ["group.instance.id", "group.protocol", "partition.assignment.strategy"] {
        client.remove(key);
    }
    client.set("group.id", format!("{}-{suffix}", config.kafka.group_id));
    client.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    Ok(client.create()?)
}
