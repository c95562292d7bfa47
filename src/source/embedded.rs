//! A broker with the Kafka protocol inside the process: librdkafka's mock cluster. The demo, the
//! benches and the tests use it.
//!
//! The broker keeps about 5 MiB per partition and drops older records. A stream that is not
//! consumed at once needs enough partitions.

use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;

/// A running broker. Dropping it stops the broker.
pub struct EmbeddedBroker {
    bootstrap: String,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts a broker with topics, each with its number of partitions.
    ///
    /// # Errors
    /// If librdkafka cannot create the broker or a topic.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, KafkaError> {
        let topics: Vec<(String, i32)> = topics.iter().map(|&(t, n)| (t.to_owned(), n)).collect();
        let (started, ready) = bounded(1);
        let (stop, stopped) = bounded::<()>(1);
        let thread = std::thread::spawn(move || {
            // The cluster is not `Send`, so this thread creates and owns it.
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

    /// The bootstrap servers, as `host:port`.
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
