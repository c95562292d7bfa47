//! An image that ends the worker each time does not stop the stream. The test runs the binary with
//! the shipped bundle and Apache Kafka.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use common::broker::{Broker, Real};
use common::topic::{committed, count, produce, read, read_until};
use common::topics;
use dorfman::message::ReferenceMessage;
use dorfman::sink::message::{DeadLetterRecord, VerdictRecord};

const ITEMS: usize = 100;
/// The item that ends the worker.
const CAUSE: usize = 41;
/// Ends of the worker, at most. An end after a commit does not count.
const MOST_ENDS: usize = 9;

/// A worker process. Dropping this value kills the process.
type Worker = Arc<Mutex<Option<Child>>>;

fn start(config: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dorfman"));
    command.args(["run", "--config"]).arg(config).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills the worker with SIGKILL as soon as the worker requests an image. Returns the port.
fn killer(worker: Worker) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut request = String::new();
            BufReader::new(stream.unwrap()).read_line(&mut request).unwrap();
            if let Some(mut worker) = worker.lock().unwrap().take() {
                worker.kill().unwrap();
                worker.wait().unwrap();
            }
        }
    });
    port
}

#[test]
fn an_image_that_ends_the_worker_is_quarantined() {
    let broker = Real::with_topics(&topics("quarantine", 1));
    let bootstrap = broker.bootstrap();
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/agreement");
    let image = std::fs::read_dir(&images).unwrap().map(|entry| entry.unwrap().path());
    let image = image.filter(|path| path.to_str().unwrap().contains("other-")).min().unwrap();
    let worker = Worker::default();
    let port = killer(Arc::clone(&worker));
    let messages: Vec<(String, Vec<u8>)> = (0..ITEMS)
        .map(|i| {
            let uri = match i {
                CAUSE => format!("http://127.0.0.1:{port}/image.png"),
                _ => image.to_str().unwrap().to_owned(),
            };
            let id = format!("{i:03}");
            (id.clone(), serde_json::to_vec(&ReferenceMessage::uri(id, uri)).unwrap())
        })
        .collect();
    produce(bootstrap, "quarantine-images", &messages);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("dorfman.yaml");
    let yaml = serde_json::json!({
        "kafka": {"brokers": bootstrap, "group_id": "quarantine-workers"},
        // A static member that returns has its partitions at once.
        "source": {
            "topic": "quarantine-images",
            "properties": {"group.instance.id": "worker", "session.timeout.ms": "30000"},
        },
        "sink": {
            "flagged_topic": "quarantine-flagged",
            "verdicts_topic": "quarantine-verdicts",
            "dead_letter_topic": "quarantine-dead",
        },
        "fetch": {"roots": [images], "allow_private": true},
        "ops": {"listen": "127.0.0.1:0"},
    });
    std::fs::write(&config, yaml.to_string()).unwrap();

    let dead_letters = || count(bootstrap, "quarantine-dead");
    let mut ends = 0;
    while dead_letters() == 0 {
        assert!(ends < MOST_ENDS, "the cause is not found");
        *worker.lock().unwrap() = Some(start(&config));
        common::eventually("the worker is killed, or the image is quarantined", || {
            worker.lock().unwrap().is_none() || dead_letters() > 0
        });
        ends += usize::from(worker.lock().unwrap().is_none());
    }
    assert!(ends >= 6, "{ends} ends: three as usual, then in batches of 32, 4 and 1 items");
    let mut last = worker.lock().unwrap().take().unwrap();
    let dead = read::<DeadLetterRecord>(bootstrap, "quarantine-dead", 1);
    let verdicts = read_until(bootstrap, "quarantine-verdicts", |verdicts| {
        let ids: BTreeSet<_> = verdicts
            .iter()
            .filter(|read: &&common::topic::Read<VerdictRecord>| read.record.verdict == "cleared")
            .map(|read| read.record.id.clone())
            .collect();
        ids.len() == ITEMS - 1
    });
    common::eventually("all offsets are committed", || {
        committed(bootstrap, "quarantine-workers", "quarantine-images", 1) == ITEMS as i64
    });
    last.kill().unwrap();
    last.wait().unwrap();

    assert!(verdicts.iter().all(|read| read.record.id != format!("{CAUSE:03}")));
    let dead = &dead[0].record;
    assert_eq!((dead.reason.as_str(), dead.source.offset), ("quarantined", CAUSE as i64));
    assert!(dead.detail.contains("6 workers"), "{}", dead.detail);
    assert_eq!(count(bootstrap, "quarantine-dead"), 1);
}
