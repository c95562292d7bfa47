//! One member of the consumer group: a consumer that polls, and what it does with its messages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Sender, bounded};
use dorfman_core::grouping::key_hash;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use tracing::{debug, info, warn};

use super::assignment::{Before, Taken};
use super::caution::Note;
use super::kafka::SourceError;
use super::queues::Queues;
use super::rebalance::Context;
use super::{clock, history};
use crate::budget::Budget;
use crate::failure::{Failure, Reason};
use crate::item::{Header, MAX_BATCH, Malformed, Origin, ReceivedItem};
use crate::mapping::{Form, RawMessage};
use crate::ops::Services;

/// The longest wait for messages, or for room in the queue. Between two waits, the events of the
/// consumer group are served.
const POLL: Duration = Duration::from_millis(20);
/// Offsets at or above the watermarks, at most: 32 MB. Without a limit, one slow item would let the
/// offset trackers grow without bound. An image of a host that does not answer is given up after
/// `fetch.deadline` and `fetch.timeout`, 90 s; meanwhile, 22,000 images per second may be judged.
const MAX_HELD: usize = 2_000_000;
/// The interval between stores of offsets.
const STORE_EVERY: Duration = Duration::from_millis(100);

/// A member of the consumer group, from its joining to its end.
pub(super) struct Member<'a> {
    pub consumer: Arc<BaseConsumer<Context>>,
    /// How references are read.
    pub form: &'a Form,
    /// The bytes of messages between the source and the decode threads.
    pub budget: &'a Arc<Budget>,
    /// The longest wait for verdicts at the end.
    pub deadline: Duration,
    pub services: &'a Services,
}

impl Member<'_> {
    /// Polls until the worker stops. Then waits for the verdicts of the items that were read,
    /// stores the offsets and leaves the group.
    ///
    /// # Errors
    /// [`SourceError`] if the source fails. The consumer then leaves the group too. After
    /// [`SourceError::Fatal`] it cannot leave: the brokers end its session, or give its name to its
    /// successor.
    pub fn run(self, topics: &[&str], out: &Sender<Vec<ReceivedItem>>) -> Result<(), SourceError> {
        // It is not set yet, because a member runs only once.
        let _ = self.context().consumer.set(Arc::downgrade(&self.consumer));
        self.consumer.subscribe(topics)?;
        let result = self.with_clock_watched(|| {
            // Each queue holds the consumer, which closes only when nothing holds it.
            let mut queues = Queues::new();
            self.read_until_stopped(&mut queues, out)?;
            self.drain(&mut queues, out)
        });
        self.services.metrics.blocked.set(0);
        match result {
            // Nothing can be committed any more. The items are read again, by this worker or others.
            Err(SourceError::Fatal(_)) => {
                self.context().give_up(&self.context().assignments.partitions());
                self.services.health.left();
            }
            _ => self.end(result.is_ok()),
        }
        result
    }

    /// Commits what has its verdicts, and gives up the rest. `well`: whether the source has not failed.
    fn end(&self, well: bool) {
        self.context().store(&self.consumer, None);
        let gave_up = self.context().assignments.unresolved(None) > 0;
        // An item without a verdict may be why the worker fails or hangs, unless the brokers, the network
        // or a store of images are.
        let (signals, health) = (&self.services.signals, &self.services.health);
        let waits = health.waits() && !signals.aborted();
        let partitions = self.context().assignments.partitions();
        if well && (!gave_up || waits || health.failed_by_others()) {
            self.context().leave(&self.consumer, &partitions);
        } else {
            self.context().fail(&self.consumer, &partitions);
        }
        self.context().give_up(&partitions);
        if gave_up {
            // The items will be read again. The other stages must not wait for them.
            self.services.signals.abort();
        }
        // Dropping the consumer closes it, which commits the stored offsets.
        if let Err(error) = self.consumer.commit_consumer_state(CommitMode::Sync)
            && !matches!(error, KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset))
        {
            warn!(%error, "the last offsets were not committed; some items will be read again");
        }
    }

    /// Calls `work`. Meanwhile, a thread wakes librdkafka if the wall clock is set back.
    fn with_clock_watched<T>(&self, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            let (end, ended) = bounded(0);
            let watching = std::thread::Builder::new().name("clock".into());
            let watched = watching.spawn_scoped(scope, move || {
                clock::watch(&ended, || wake(&self.consumer));
            });
            if let Err(error) = watched {
                warn!(%error, "the wall clock is not watched");
            }
            let result = work();
            drop(end);
            result
        })
    }

    fn read_until_stopped(
        &self,
        queues: &mut Queues,
        out: &Sender<Vec<ReceivedItem>>,
    ) -> Result<(), SourceError> {
        let mut stored = Instant::now();
        while !self.services.signals.stopping() {
            self.services.health.polled();
            self.serve(queues, Duration::ZERO)?;
            let full = self.context().assignments.held() > MAX_HELD;
            if full {
                self.services.signals.wait_for_verdicts(POLL);
            } else if self.context().pending().is_empty() {
                self.fill(queues)?;
            }
            let sent = self.send_pending(out);
            self.services.metrics.blocked.set(i64::from(full || !sent || out.is_full()));
            if stored.elapsed() >= STORE_EVERY {
                stored = Instant::now();
                self.context().store(&self.consumer, None);
                self.check_lost()?;
            }
        }
        Ok(())
    }

    /// Serves the events of the consumer group, and waits for one at most for `wait`.
    fn serve(&self, queues: &mut Queues, wait: Duration) -> Result<(), SourceError> {
        // Messages come among the events only if a partition has no queue of its own.
        while let Some(message) = self.consumer.poll(wait) {
            self.take(message)?;
        }
        if self.context().moved.swap(false, Ordering::Relaxed) {
            queues.follow(&self.consumer, self.context().assignments.partitions());
        }
        Ok(())
    }

    /// Reads up to one batch of messages. Waits only for the first.
    fn fill(&self, queues: &mut Queues) -> Result<(), SourceError> {
        for read in 0..MAX_BATCH {
            if self.services.signals.stopping() {
                break;
            }
            let Some(message) = queues.next() else {
                if read == 0 {
                    queues.wait(POLL);
                }
                break;
            };
            self.take(message)?;
        }
        Ok(())
    }

    fn take(&self, read: Result<BorrowedMessage<'_>, KafkaError>) -> Result<(), SourceError> {
        match read {
            Ok(message) => self.receive(&message),
            Err(error) => {
                if let Some((_, reason)) = self.consumer.client().fatal_error() {
                    return Err(SourceError::Fatal(reason));
                }
                // librdkafka retries after temporary errors, such as an unavailable broker or a
                // missing topic.
                warn!(%error, "kafka consumer");
                self.services.metrics.consumer_errors.inc();
            }
        }
        Ok(())
    }

    fn receive(&self, message: &BorrowedMessage<'_>) {
        let topic = message.topic();
        let partition = message.partition();
        let offset = message.offset();
        let taken = self.context().assignments.take(topic, partition, offset);
        let Some(Taken { ticket, before }) = taken else {
            debug!(topic, partition, offset, "message of a partition that is not assigned");
            return;
        };
        let ends = match before {
            Before::Nothing => None,
            before => self.look_before(topic, partition, offset, before),
        };
        self.services.metrics.received.inc();
        if message.payload().is_none() {
            // A tombstone: the record of a key that a compacted topic forgets. It has no image.
            self.services.metrics.tombstones.inc();
            return ticket.resolve();
        }
        let payload = message.payload().unwrap_or_default();
        let headers = headers(message);
        let content = match ends {
            Some(ends) => Err(quarantined(ends)),
            None => {
                self.form.reference(RawMessage { key: message.key(), headers: &headers, payload })
            }
        };
        let malformed = |failure| Malformed { failure, payload: Bytes::copy_from_slice(payload) };
        let content = content.map_err(malformed);
        let key = message.key().map(key_hash);
        let timestamp = message.timestamp().to_millis();
        let origin = Origin { ticket, headers, key, timestamp, received: Instant::now() };
        let bytes = payload.len();
        self.context().pending().push(ReceivedItem { origin, content, bytes, held: None });
    }

    /// Counts deleted messages before a message, and notices that offsets have fallen while no worker
    /// read the partition. It asks the brokers at the first message of a partition, and at most once
    /// per second after a gap. Returns the number of ended workers if the message has ended them.
    fn look_before(&self, topic: &str, partition: i32, offset: i64, before: Before) -> Option<u32> {
        let context = self.context();
        let gap = matches!(before, Before::Gap(_));
        if gap && !context.may_ask() {
            return None;
        }
        // With many new partitions and slow brokers, the questions take long.
        self.services.health.polled();
        let found = history::ask(&self.consumer, (topic, partition), offset, before);
        let messages = history::report_skipped((topic, partition), &found.skipped);
        self.services.metrics.skipped.inc_by(messages);
        if let Some(above) = found.above {
            context.assignments.fell(&(topic.to_owned(), partition), above);
        }
        if gap {
            return None;
        }
        let (begun, quarantine) =
            context.assignments.begin(&(topic.to_owned(), partition), offset, found.note)?;
        let Note { ends, batch, .. } = begun.note;
        if batch > 0 {
            warn!(
                topic,
                partition,
                offset,
                ends,
                batch,
                "workers that read this partition have ended without warning; its items are judged in \
                 small batches until the cause is found or passed"
            );
        } else {
            // The item may end the process at once.
            context.commit(&self.consumer, &[begun], CommitMode::Sync);
        }
        // The offset of a batch that is judged is committed before.
        (quarantine && found.committed == Some(offset)).then_some(ends)
    }

    /// Sends the pending items to the next stage. Returns whether all were sent. Otherwise, it has waited
    /// for what they wait for, at most for [`POLL`].
    fn send_pending(&self, out: &Sender<Vec<ReceivedItem>>) -> bool {
        let context = self.context();
        let mut batch = std::mem::take(&mut *context.pending());
        self.services.metrics.queue.with_label_values(&["decode"]).set(out.len() as i64);
        let held_back = self.hold_back(&mut batch);
        let mut rest = self.without_memory(&mut batch);
        rest.extend(held_back);
        if !batch.is_empty()
            && let Err(refused) = out.send_timeout(batch, POLL)
        {
            let mut batch = refused.into_inner();
            batch.extend(rest);
            *context.pending() = batch;
            return false;
        }
        if rest.is_empty() {
            return true;
        }
        *context.pending() = rest;
        self.services.signals.wait_for_verdicts(POLL);
        false
    }

    /// While partitions are read cautiously, lets one batch of one partition be judged at a time.
    /// Returns the messages that wait.
    fn hold_back(&self, batch: &mut Vec<ReceivedItem>) -> Vec<ReceivedItem> {
        let context = self.context();
        if !context.assignments.cautious() {
            return Vec::new();
        }
        // Groups need not wait for more members than there are.
        self.services.signals.flush();
        if context.assignments.judges_others(batch.len()) {
            return std::mem::take(batch);
        }
        context.end_batch(&self.consumer);
        let Some(first) = batch.first().map(|item| &item.origin.ticket) else { return Vec::new() };
        let partition = (first.topic().to_owned(), first.partition());
        let mut left = context.begin_batch(&self.consumer, &partition, first.offset());
        let chosen = |item: &mut ReceivedItem| {
            let ticket = &item.origin.ticket;
            let same = ticket.topic() == partition.0 && ticket.partition() == partition.1;
            let chosen = same && left > 0;
            left -= usize::from(chosen);
            chosen
        };
        let chosen: Vec<ReceivedItem> = batch.extract_if(.., chosen).collect();
        std::mem::replace(batch, chosen)
    }

    /// Takes memory for messages, in their order, and returns those for which there is none left.
    fn without_memory(&self, batch: &mut Vec<ReceivedItem>) -> Vec<ReceivedItem> {
        for (at, item) in batch.iter_mut().enumerate() {
            item.held = item.held.take().or_else(|| self.budget.take(item.bytes));
            if item.held.is_none() {
                return batch.split_off(at);
            }
        }
        Vec::new()
    }

    /// Waits for the verdicts of all items that were read. Events are served meanwhile, because the
    /// group would otherwise remove the consumer.
    fn drain(
        &self,
        queues: &mut Queues,
        out: &Sender<Vec<ReceivedItem>>,
    ) -> Result<(), SourceError> {
        if self.services.signals.aborted() {
            return Ok(());
        }
        let start = Instant::now();
        let assignments = &self.context().assignments;
        info!(items = assignments.unresolved(None), "stopping: waiting for verdicts");
        while assignments.unresolved(None) > 0
            && start.elapsed() < self.deadline
            && !self.services.signals.aborted()
        {
            self.send_pending(out);
            self.services.signals.flush();
            self.serve(queues, POLL)?;
        }
        match assignments.unresolved(None) {
            0 => info!(seconds = start.elapsed().as_secs_f32(), "no item waits for its verdict"),
            items => warn!(items, "stopped waiting for verdicts; these items will be read again"),
        }
        Ok(())
    }

    fn check_lost(&self) -> Result<(), SourceError> {
        match self.context().assignments.lost() {
            // If another stage failed, its items are lost too. The error of that stage is reported.
            _ if self.services.signals.aborted() => Ok(()),
            0 => Ok(()),
            lost => Err(SourceError::Lost(lost)),
        }
    }

    fn context(&self) -> &Context {
        self.consumer.context()
    }
}

/// Lets librdkafka's main thread look at the clock again, by a request that it must serve. Its answer
/// ends the poll of the source's thread.
fn wake(consumer: &BaseConsumer<Context>) {
    warn!("the wall clock was set back");
    // There may be no offset to commit. The callback reports any other error.
    let _ = consumer.commit_consumer_state(CommitMode::Async);
}

/// The headers of a message. Empty if the key of a header is not UTF-8, because the client library
/// panics on such a key.
fn headers(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let Some(headers) = message.headers() else { return Vec::new() };
    let read = catch_unwind(AssertUnwindSafe(|| headers.iter().map(header).collect()));
    read.unwrap_or_else(|_| {
        warn!(offset = message.offset(), "a header's key is not UTF-8; the headers are ignored");
        Vec::new()
    })
}

/// The failure of an item that has ended workers.
fn quarantined(ends: u32) -> Failure {
    let detail = format!(
        "{ends} workers that read this partition ended without warning, the last one while it judged \
         only this image"
    );
    Failure::new(Reason::Quarantined, detail)
}

fn header(header: rdkafka::message::Header<'_, &[u8]>) -> Header {
    Header { key: header.key.to_owned(), value: header.value.map(<[u8]>::to_vec) }
}
