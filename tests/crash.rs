//! `kill -9` during a stream loses no verdict. The test runs the binary with the shipped bundle and
//! Apache Kafka.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::broker::{Broker, Real};
use common::topic::{Read, committed, produce, read_until};
use common::topics;
use dorfman::message::ReferenceMessage;
use dorfman::sink::message::{FlagRecord, VerdictRecord};

/// Items that are produced before each of the three workers starts. Each worker joins the consumer
/// group, takes over the unfinished items of the worker before it, and tests new items.
const SHARE: usize = 2000;
const ITEMS: usize = 3 * SHARE;

/// A worker process. Dropping this value kills the process.
struct Worker(Child);

impl Worker {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dorfman"));
        command.args(["run", "--config"]).arg(config).current_dir(env!("CARGO_MANIFEST_DIR"));
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Sends SIGKILL. The worker cannot publish pending records or leave the consumer group.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Sends SIGTERM and waits for the exit status.
    fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.0.wait().unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The number of items that have at least one verdict.
fn distinct(verdicts: &[Read<VerdictRecord>]) -> usize {
    verdicts.iter().map(|v| v.record.id.as_str()).collect::<BTreeSet<_>>().len()
}

#[test]
fn a_killed_worker_loses_no_verdict() {
    let name = "crash";
    let broker = Real::with_topics(&topics(name, 4));
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/agreement");
    let mut files: Vec<String> = std::fs::read_dir(&images)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|f| f.starts_with("bag-") || f.starts_with("other-"))
        .collect();
    files.sort();
    let (bags, others): (Vec<String>, Vec<String>) =
        files.into_iter().partition(|f| f.starts_with("bag-"));
    let is_bag = |i: usize| i % 100 == 7;
    let messages: Vec<(String, Vec<u8>)> = (0..ITEMS)
        .map(|i| {
            let file = if is_bag(i) { &bags[i % bags.len()] } else { &others[i % others.len()] };
            let id = format!("{i:05}");
            let uri = images.join(file).to_str().unwrap().to_owned();
            (id.clone(), serde_json::to_vec(&ReferenceMessage::uri(id, uri)).unwrap())
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("dorfman.yaml");
    let yaml = serde_json::json!({
        "kafka": {"brokers": broker.bootstrap(), "group_id": "crash-workers"},
        "source": {
            "topic": "crash-images",
            "properties": {"session.timeout.ms": "6000", "auto.commit.interval.ms": "200"},
        },
        "sink": {
            "flagged_topic": "crash-flagged",
            "verdicts_topic": "crash-verdicts",
            "dead_letter_topic": "crash-dead",
        },
        "fetch": {"roots": [images]},
        "ops": {"listen": "127.0.0.1:0"},
    });
    std::fs::write(&config, yaml.to_string()).unwrap();

    let read = |enough: &dyn Fn(&[Read<VerdictRecord>]) -> bool| {
        read_until(broker.bootstrap(), "crash-verdicts", enough)
    };
    let mut shares = messages.chunks(SHARE);
    let mut start = || {
        produce(broker.bootstrap(), "crash-images", shares.next().unwrap());
        Worker::start(&config)
    };
    for goal in [500, SHARE + 500] {
        let mut worker = start();
        read(&|v| distinct(v) >= goal);
        worker.kill();
    }
    let mut worker = start();
    let verdicts = read(&|v| distinct(v) == ITEMS);
    let positives =
        (0..ITEMS).filter(|&i| is_bag(i)).map(|i| format!("{i:05}")).collect::<BTreeSet<_>>();
    let flags: Vec<Read<FlagRecord>> =
        read_until(broker.bootstrap(), "crash-flagged", |f: &[Read<FlagRecord>]| {
            f.iter().map(|f| f.record.id.as_str()).collect::<BTreeSet<_>>().len() >= positives.len()
        });
    assert_eq!(
        worker.terminate().code(),
        Some(0),
        "after SIGTERM the worker drains and exits with 0"
    );
    assert_eq!(committed(broker.bootstrap(), "crash-workers", "crash-images", 4), ITEMS as i64);

    assert_eq!(flags.iter().map(|f| f.record.id.clone()).collect::<BTreeSet<_>>(), positives);
    assert!(verdicts.iter().all(|v| v.record.verdict != "failed"));
    // A flag that is published twice has the same id both times. A consumer that removes duplicates
    // by flag id therefore gets each flag once.
    let flag_ids: BTreeSet<&str> = flags.iter().map(|f| f.record.flag_id.as_str()).collect();
    assert_eq!(flag_ids.len(), positives.len());
}
