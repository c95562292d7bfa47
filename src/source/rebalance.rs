//! The callbacks of librdkafka: rebalances, commits, statistics. They run inside the poll of the
//! source thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::{self, Statistics};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::assignment::{Assignments, Commit, Partition};
use super::queues;
use super::reader::Reader;
use crate::item::ReceivedItem;
use crate::ops::Services;

/// The state that the callbacks and the polling loop share.
pub(super) struct Context {
    pub assignments: Assignments,
    /// How long a revoked partition may wait for verdicts.
    pub drain: Duration,
    pub services: Services,
    /// The consumer, once it is used. It owns this value.
    pub consumer: OnceLock<Weak<BaseConsumer<Context>>>,
    /// Whether partitions were assigned or revoked since this was last looked at.
    pub moved: AtomicBool,
    /// Items that were read and not yet sent to the next stage.
    pub pending: Mutex<Vec<ReceivedItem>>,
    /// When the brokers were last asked about a gap.
    pub asked: Mutex<Option<Instant>>,
    /// The partition of the batch that is judged, if partitions are read cautiously.
    pub batch: Mutex<Option<Partition>>,
    /// When partitions were last assigned or revoked.
    moved_at: Mutex<Instant>,
}

/// How long after partitions have moved statistics are not trusted. The next offset to fetch may be that
/// of an earlier assignment, and librdkafka sets it back because it pauses all partitions during a
/// rebalance. Statistics are collected up to a second before they arrive.
const SETTLED: Duration = Duration::from_secs(4);

/// The least time between two questions about gaps.
const ASK_EVERY: Duration = Duration::from_secs(1);

impl Context {
    /// The state of a consumer without partitions. `drain`: how long a revoked partition may wait for
    /// verdicts.
    pub fn new(reader: Reader, drain: Duration, services: Services) -> Self {
        Self {
            assignments: Assignments::new(reader),
            drain,
            services,
            consumer: OnceLock::new(),
            moved: AtomicBool::new(false),
            pending: Mutex::new(Vec::new()),
            asked: Mutex::new(None),
            batch: Mutex::new(None),
            moved_at: Mutex::new(Instant::now()),
        }
    }

    /// Writes the watermarks to the offset store. librdkafka commits them from there.
    pub fn store(&self, consumer: &BaseConsumer<Context>, partitions: Option<&[Partition]>) {
        self.services.health.in_flight(self.assignments.unresolved(None));
        self.commit(consumer, &self.assignments.survived(), CommitMode::Async);
        for commit in self.assignments.to_store(partitions) {
            let (partition, offset) = (&commit.partition, commit.offset);
            match consumer.store_offsets(&with_notes(std::slice::from_ref(&commit))) {
                Ok(()) => {
                    // librdkafka commits stored offsets only if they rise.
                    if self.assignments.stored(partition, offset) {
                        self.commit(consumer, &[commit], CommitMode::Async);
                    }
                }
                // The partition was just revoked. Its next owner reads these items again.
                Err(error) => debug!(%error, partition = partition.1, offset, "offset not stored"),
            }
        }
    }

    /// Records that partitions were assigned or revoked.
    fn has_moved(&self) {
        self.moved.store(true, Ordering::Relaxed);
        *self.moved_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// The next offset to fetch of a partition, if every message below it is read.
    fn fetched(&self, of: &statistics::Partition) -> Option<i64> {
        let moved = *self.moved_at.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = moved.elapsed() > SETTLED;
        // librdkafka raises the offset after it has queued the messages below, so an empty queue
        // means that they are read.
        let read = settled && of.fetchq_cnt == 0 && of.fetch_state == "active";
        read.then_some(of.next_offset).filter(|&offset| offset >= 0)
    }

    /// Whether the brokers may be asked about a gap now.
    pub fn may_ask(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let may = asked.is_none_or(|at| at.elapsed() >= ASK_EVERY);
        if may {
            *asked = Some(Instant::now());
        }
        may
    }

    /// Commits offsets with their notes at once.
    pub fn commit(&self, consumer: &BaseConsumer<Context>, commits: &[Commit], mode: CommitMode) {
        if commits.is_empty() {
            return;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the partitions are assigned, and the broker refuses a commit of a former member"
        )]
        let committed = consumer.commit(&with_notes(commits), mode);
        if let Err(error) = committed {
            warn!(%error, partitions = commits.len(), "offsets were not committed");
        }
    }

    /// Begins a batch of a partition that is read cautiously. Returns the number of its items, at most.
    pub fn begin_batch(
        &self,
        consumer: &BaseConsumer<Context>,
        partition: &Partition,
        offset: i64,
    ) -> usize {
        let (most, commit) = self.assignments.begin_batch(partition, offset);
        if let Some(commit) = commit {
            self.commit(consumer, &[commit], CommitMode::Sync);
            *self.batch() = Some(partition.clone());
        }
        most
    }

    /// Commits the batch that was begun before, if there is one. All of its items are judged.
    pub fn end_batch(&self, consumer: &BaseConsumer<Context>) {
        let Some(partition) = self.batch().take() else { return };
        if let Some(commit) = self.assignments.end_batch(&partition) {
            self.assignments.stored(&partition, commit.offset);
            self.commit(consumer, &[commit], CommitMode::Sync);
        }
    }

    /// Tells the next readers of partitions that this one leaves them on purpose.
    pub fn leave(&self, consumer: &BaseConsumer<Context>, partitions: &[Partition]) {
        self.commit(consumer, &self.assignments.leave(partitions), CommitMode::Sync);
    }

    /// Tells the next readers of partitions that this one has failed.
    pub fn fail(&self, consumer: &BaseConsumer<Context>, partitions: &[Partition]) {
        self.commit(consumer, &self.assignments.failed(partitions), CommitMode::Sync);
    }

    /// Gives up partitions: verdicts of their items have no effect any more.
    pub fn give_up(&self, partitions: &[Partition]) {
        self.release_pending(partitions);
        self.assignments.close(partitions);
        for (topic, partition) in partitions {
            // The series is absent if there were no statistics of the partition yet.
            let labels = [topic.as_str(), &partition.to_string()];
            let _ = self.services.metrics.lag.remove_label_values(&labels);
        }
        self.count_partitions();
    }

    /// Gives partitions that are about to be fetched queues of their own.
    fn divide_queues(&self, partitions: &[Partition]) {
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else { return };
        for partition in partitions {
            drop(queues::divide(&consumer, partition));
        }
    }

    fn count_partitions(&self) {
        self.services.metrics.partitions.set(self.assignments.partitions().len() as i64);
    }

    fn batch(&self) -> MutexGuard<'_, Option<Partition>> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn pending(&self) -> MutexGuard<'_, Vec<ReceivedItem>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases the pending items of partitions.
    fn release_pending(&self, partitions: &[Partition]) {
        let pending = std::mem::take(&mut *self.pending());
        let revoked = |i: &ReceivedItem| {
            let ticket = &i.origin.ticket;
            partitions.iter().any(|(topic, partition)| {
                ticket.partition() == *partition && ticket.topic() == topic
            })
        };
        let (released, kept): (Vec<_>, Vec<_>) = pending.into_iter().partition(revoked);
        *self.pending() = kept;
        released.into_iter().for_each(|item| item.origin.ticket.release());
    }

    /// Waits until the items of partitions have their verdicts, at most for `self.drain`.
    fn drain(&self, partitions: &[Partition]) {
        let start = Instant::now();
        while self.assignments.unresolved(Some(partitions)) > 0
            && start.elapsed() < self.drain
            && !self.services.signals.aborted()
        {
            self.services.signals.flush();
            self.services.health.polled();
            self.services.signals.wait_for_verdicts(Duration::from_millis(20));
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
        // Statistics may arrive after a revocation. Only assigned partitions are exported, because
        // the series of a revoked partition would never be removed again.
        for (topic, partition) in self.assignments.partitions() {
            let of_topic = statistics.topics.get(&topic);
            let Some(found) = of_topic.and_then(|t| t.partitions.get(&partition)) else { continue };
            if found.consumer_lag >= 0 {
                let labels = [topic.as_str(), &partition.to_string()];
                self.services.metrics.lag.with_label_values(&labels).set(found.consumer_lag);
            }
            let fetched = self.fetched(found);
            self.assignments.fetched(&(topic, partition), fetched);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, reason, "kafka consumer");
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.has_moved();
        match rebalance {
            Rebalance::Assign(partitions) => {
                info!(partitions = partitions.count(), "partitions assigned");
                self.services.metrics.rebalances.inc();
                let partitions = owned(partitions);
                self.divide_queues(&partitions);
                self.assignments.assign(partitions.into_iter());
                self.count_partitions();
                self.services.health.joined();
            }
            Rebalance::Revoke(partitions) => {
                let partitions = owned(partitions);
                info!(partitions = partitions.len(), "partitions revoked");
                self.services.metrics.rebalances.inc();
                // The next owner reads these items; the drain must not wait for them.
                self.release_pending(&partitions);
                if !consumer.assignment_lost() {
                    self.drain(&partitions);
                    self.store(consumer, Some(&partitions));
                    self.leave(consumer, &partitions);
                }
                self.give_up(&partitions);
            }
            Rebalance::Error(error) => warn!(%error, "rebalance"),
        }
    }

    fn commit_callback(&self, result: Result<(), KafkaError>, offsets: &TopicPartitionList) {
        match result {
            Ok(()) => {
                debug!(partitions = offsets.count(), "offsets committed");
                self.services.metrics.commits.inc();
            }
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => warn!(%error, "offsets were not committed; librdkafka retries"),
        }
    }
}

fn owned(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect()
}

/// A list of offsets with their notes for librdkafka.
fn with_notes(commits: &[Commit]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(commits.len());
    for Commit { partition: (topic, partition), offset, note } in commits {
        let mut element = list.add_partition(topic, *partition);
        element.set_metadata(note.to_string());
        if let Err(error) = element.set_offset(Offset::Offset(*offset)) {
            warn!(%error, offset, "offset not set");
        }
    }
    list
}
