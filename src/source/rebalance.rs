//! What librdkafka calls back: rebalances, commits, statistics. All of it runs inside the source thread's poll.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::Incoming;
use super::assignment::{Assignments, Partition};
use crate::ops::metrics::Metrics;
use crate::ops::{Health, Signals};

/// What the callbacks and the polling loop share.
pub(super) struct Context {
    pub(super) assignments: Assignments,
    pub(super) drain: Duration,
    pub(super) signals: Arc<Signals>,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) paused: AtomicBool,
    /// Taken and not yet handed over.
    pub(super) pending: Mutex<Vec<Incoming>>,
}

impl Context {
    /// Puts the watermarks into the offset store, from where librdkafka commits them.
    pub fn store(&self, consumer: &BaseConsumer<Context>, partitions: Option<&[Partition]>) {
        self.health.in_flight(self.assignments.unresolved(None));
        for (partition, offset) in self.assignments.to_store(partitions) {
            match consumer.store_offsets(&list(std::slice::from_ref(&partition), Some(offset))) {
                Ok(()) => self.assignments.stored(&partition, offset),
                // The partition was just taken away: whoever has it now reads these items again.
                Err(error) => debug!(%error, partition = partition.1, offset, "offset not stored"),
            }
        }
    }

    pub fn pending(&self) -> MutexGuard<'_, Vec<Incoming>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back what was taken from partitions and not handed over.
    fn give_back(&self, partitions: &[Partition]) {
        let pending = std::mem::take(&mut *self.pending());
        let theirs = |i: &Incoming| {
            let ticket = &i.origin.ticket;
            partitions.iter().any(|(topic, partition)| ticket.partition() == *partition && ticket.topic() == topic)
        };
        let (back, keep): (Vec<Incoming>, Vec<Incoming>) = pending.into_iter().partition(theirs);
        *self.pending() = keep;
        back.into_iter().for_each(|item| item.origin.ticket.release());
    }

    /// Waits, within bounds, until the partitions' items have their verdicts.
    fn drain(&self, partitions: &[Partition]) {
        let start = Instant::now();
        while self.assignments.unresolved(Some(partitions)) > 0
            && start.elapsed() < self.drain
            && !self.signals.aborted()
        {
            self.signals.flush();
            self.signals.wait_for_verdicts(Duration::from_millis(20));
        }
        let left = self.assignments.unresolved(Some(partitions));
        info!(
            partitions = partitions.len(),
            left,
            seconds = start.elapsed().as_secs_f32(),
            "drained revoked partitions"
        );
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        // Statistics taken before a revocation come after it too: its series would be back for good.
        for (topic, partition) in self.assignments.partitions() {
            let lag = statistics.topics.get(&topic).and_then(|t| t.partitions.get(&partition)).map(|p| p.consumer_lag);
            if let Some(lag) = lag.filter(|lag| *lag >= 0) {
                self.metrics.lag.with_label_values(&[topic.as_str(), &partition.to_string()]).set(lag);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, reason, "kafka consumer");
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                info!(partitions = partitions.count(), "partitions assigned");
                self.metrics.rebalances.inc();
                self.assignments.assign(owned(partitions).into_iter());
                self.health.joined();
            }
            Rebalance::Revoke(partitions) => {
                let partitions = owned(partitions);
                info!(partitions = partitions.len(), "partitions revoked");
                self.metrics.rebalances.inc();
                self.give_back(&partitions);
                if !consumer.assignment_lost() {
                    self.drain(&partitions);
                    self.store(consumer, Some(&partitions));
                }
                self.assignments.close(&partitions);
                // A pause outlives the assignment: were the partition to come back, it would stay silent.
                if let Err(error) = consumer.resume(&list(&partitions, None)) {
                    debug!(%error, "revoked partitions were not resumed");
                }
                for (topic, partition) in &partitions {
                    // Absent if no statistics came for it yet.
                    let _ = self.metrics.lag.remove_label_values(&[topic.as_str(), &partition.to_string()]);
                }
            }
            Rebalance::Error(error) => warn!(%error, "rebalance"),
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance
            && self.paused.load(Ordering::Relaxed)
            && let Err(error) = consumer.pause(partitions)
        {
            warn!(%error, "new partitions were not paused");
        }
    }

    fn commit_callback(&self, result: Result<(), KafkaError>, offsets: &TopicPartitionList) {
        match result {
            Ok(()) => {
                debug!(partitions = offsets.count(), "offsets committed");
                self.metrics.commits.inc();
            }
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => warn!(%error, "offsets were not committed; librdkafka tries again"),
        }
    }
}

fn owned(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect()
}

/// A list for librdkafka, each partition with an offset or none.
pub(super) fn list(partitions: &[Partition], offset: Option<i64>) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        let mut element = list.add_partition(topic, *partition);
        if let Some(offset) = offset
            && let Err(error) = element.set_offset(Offset::Offset(offset))
        {
            warn!(%error, offset, "offset not set");
        }
    }
    list
}
