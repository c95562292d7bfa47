//! A Kafka-protocol broker inside the process: librdkafka's mock cluster. For the demo, the benches and the tests.
//!
//! It keeps about 5 MiB a partition and drops older records, so a stream that is not consumed at once needs enough partitions.

use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;

/// A running broker; it ends when dropped.
pub struct EmbeddedBroker {
    bootstrap: String,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts a broker with topics, each of so many partitions.
    ///
    /// # Errors
    /// Whatever librdkafka says.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, KafkaError> {
        let topics: Vec<(String, i32)> = topics.iter().map(|&(t, n)| (t.to_owned(), n)).collect();
        let (started, ready) = bounded(1);
        let (stop, stopped) = bounded::<()>(1);
        let thread = std::thread::spawn(move || {
            // The cluster is not `Send`: this thread makes it and keeps it until it is told to stop.
            let cluster = match create(&topics) {
                Ok(cluster) => cluster,
                Err(error) => return drop(started.send(Err(error))),
            };
            if started.send(Ok(cluster.bootstrap_servers())).is_ok() {
                let _ = stopped.recv();
            }
        });
        let bootstrap = ready.recv().unwrap_or(Err(KafkaError::Canceled))?;
        Ok(Self { bootstrap, stop: Some(stop), thread: Some(thread) })
    }

    /// What clients connect to.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap
    }
}

fn create(
    topics: &[(String, i32)],
) -> Result<MockCluster<'static, rdkafka::producer::DefaultProducerContext>, KafkaError> {
    let cluster = MockCluster::new(1)?;
    for (topic, partitions) in topics {
        cluster.create_topic(topic, *partitions, 1)?;
    }
    Ok(cluster)
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
