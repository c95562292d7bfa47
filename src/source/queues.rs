//! The queues of the assigned partitions: messages that librdkafka has fetched.
//!
//! Messages do not share a queue with the events of the consumer group. A worker whose own queues are
//! full therefore reads no messages, and goes on to take part in rebalances. Kafka's `pause` would do
//! the same, but discards the messages that were fetched, and the brokers would send them again.
//! librdkafka stops fetching for a partition whose queue is full.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rdkafka::consumer::BaseConsumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use tracing::error;

use super::assignment::Partition;
use super::rebalance::Context;
use crate::item::MAX_BATCH;

/// The queues of the assigned partitions, which are read in turn.
pub(super) struct Queues {
    by_partition: Vec<(Partition, PartitionQueue<Context>)>,
    /// The queue that is read.
    at: usize,
    /// Messages that it may still give in its turn.
    turn: usize,
    fetched: Sender<()>,
    ready: Receiver<()>,
}

impl Queues {
    /// No queues yet.
    pub fn new() -> Self {
        // One token says that some queue was empty and is not any more.
        let (fetched, ready) = bounded(1);
        Self { by_partition: Vec::new(), at: 0, turn: MAX_BATCH, fetched, ready }
    }

    /// Takes up the queues of partitions that were assigned, and empties and drops those of revoked
    /// partitions.
    pub fn follow(&mut self, consumer: &Arc<BaseConsumer<Context>>, assigned: Vec<Partition>) {
        self.by_partition.retain(|(partition, queue)| {
            let keep = assigned.contains(partition);
            // Otherwise, these messages would stay in memory until the partition is assigned again. Those
            // of a fetch that is under way do.
            while !keep && queue.poll(Duration::ZERO).is_some() {}
            keep
        });
        for partition in assigned {
            if self.by_partition.iter().any(|(known, _)| *known == partition) {
                continue;
            }
            let Some(mut queue) = divide(consumer, &partition) else {
                error!(topic = partition.0, partition = partition.1, "the partition has no queue");
                continue;
            };
            let fetched = self.fetched.clone();
            queue.set_nonempty_callback(move || {
                // A full channel already says so.
                let _ = fetched.try_send(());
            });
            self.by_partition.push((partition, queue));
        }
        (self.at, self.turn) = (0, MAX_BATCH);
    }

    /// The next message that was fetched, or an error of a partition. The partitions take turns. `None` if
    /// no queue has messages.
    pub fn next(&mut self) -> Option<Result<BorrowedMessage<'_>, KafkaError>> {
        // The queue that was read last may have used up its turn, so it is asked twice.
        for _ in 0..=self.by_partition.len() {
            let (_, queue) = self.by_partition.get(self.at)?;
            if self.turn > 0
                && let Some(message) = queue.poll(Duration::ZERO)
            {
                self.turn -= 1;
                return Some(message);
            }
            self.turn = MAX_BATCH;
            self.at = (self.at + 1) % self.by_partition.len();
        }
        None
    }

    /// Waits until a queue that was empty has messages, at most for `time`.
    pub fn wait(&self, time: Duration) {
        // The end of the wait is not an error.
        let _ = self.ready.recv_timeout(time);
    }
}

/// Gives a partition a queue of its own. It stays separate even if the value that is returned is
/// dropped, also after a revocation; its messages then wait until they are read.
///
/// Call this function before the partition is fetched. Messages that were fetched before would come
/// among the events, behind messages that were fetched later.
pub(super) fn divide(
    consumer: &Arc<BaseConsumer<Context>>,
    (topic, partition): &Partition,
) -> Option<PartitionQueue<Context>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the queues follow the assignment, and each wait for them ends soon"
    )]
    consumer.split_partition_queue(topic, *partition)
}
