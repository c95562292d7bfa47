//! The binary as users and scripts run it: exit codes, messages, generated files, and the commands
//! `scan` and `demo`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn dorfman(args: &[&str]) -> Output {
    dorfman_with(args, &[])
}

fn dorfman_with(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dorfman"));
    command
        .args(args)
        .current_dir(root())
        .env_remove("DORFMAN_CONFIG")
        .envs(environment.iter().copied());
    command.output().unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn config_file(yaml: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dorfman.yaml");
    std::fs::write(&path, yaml).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn an_invalid_configuration_exits_64_and_names_the_key() {
    for (yaml, key, remedy) in [
        ("group: {size: 100}", "`group.size`", "1 to 64"),
        ("group: {sise: 16}", "`group.sise`", "`size`"),
        ("retest: {policy: thrice}", "`retest.policy`", "`two-round`"),
        ("retest: {policy: nested}", "`retest.policy`", "`halving`"),
        ("group: {key_lanes: 4}", "`group.key_lanes`", "`key_pools`"),
        ("retest: {prior: 0}", "`retest.prior`", "above 0"),
        ("retest: {pooled_sensitivity: 2}", "`retest.pooled_sensitivity`", "above 0 and below 1"),
        (
            "kafka: {properties: {enable.auto.commit: 'true'}}",
            "`kafka.properties.enable.auto.commit`",
            "is set by the worker",
        ),
        (
            "kafka: {properties: {sasl.pasword: hunter2}}",
            "`kafka.properties.sasl.pasword`",
            "No such configuration property",
        ),
        (
            "sink: {dead_letter_topic: images}",
            "`sink.dead_letter_topic`",
            "is also in `source.topic`",
        ),
        ("ops: {stalled_after: 30s}", "`ops.stalled_after`", "120s"),
        ("source: {topic: ^images}", "`source.topic`", "not the name of a topic"),
        ("sink: {verdicts_topic: 'a b'}", "`sink.verdicts_topic`", "not the name of a topic"),
        ("group: {max_wait: 10m}", "`group.max_wait`", "ops.stalled_after"),
        ("source: {drain: 10m}", "`source.drain`", "max.poll.interval.ms"),
        (
            "source: {properties: {auto.commit.interval.ms: 0}}",
            "`source.properties.auto.commit.interval.ms`",
            "never be committed",
        ),
        (
            "kafka: {properties: {sasl.mechanism: GSSAPI}}",
            "`kafka.properties.sasl.mechanism`",
            "SCRAM-SHA-512",
        ),
        ("ops: {listen: everywhere}", "`ops.listen`", "0.0.0.0:9464"),
        ("fetch: {roots: [relative]}", "`fetch.roots`", "absolute"),
        ("fetch: {timeout: soon}", "`fetch.timeout`", "soon"),
        ("engine: {slots: 4}", "`engine.slots`", "planning.largest"),
        ("exits: {mode: fixed}", "`exits.sensitivities`", "at least one exit"),
        ("model: {provider: tpu}", "`model.provider`", "`cuda`"),
    ] {
        let (_dir, file) = config_file(yaml);
        for command in ["check", "run"] {
            let output = dorfman(&[command, "--config", &file]);
            let message = err(&output);
            assert_eq!(output.status.code(), Some(64), "{yaml}: {message}");
            assert!(message.contains(key) && message.contains(remedy), "{yaml}: {message}");
        }
    }
}

#[test]
fn usage_errors_exit_64_and_help_exits_0() {
    assert_eq!(dorfman(&["run"]).status.code(), Some(64));
    assert_eq!(dorfman(&["fly"]).status.code(), Some(64));
    assert_eq!(dorfman(&["check", "--config", "/nowhere/dorfman.yaml"]).status.code(), Some(64));
    let help = dorfman(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in [
        "run",
        "check",
        "schema",
        "scan",
        "produce",
        "redrive",
        "demo",
        "evaluate",
        "plan",
        "simulate",
        "replay-scores",
        "profile",
        "bench",
        "bench-paper",
        "health",
    ] {
        assert!(out(&help).contains(command));
        assert_eq!(dorfman(&[command, "--help"]).status.code(), Some(0));
    }
}

#[test]
fn bench_paper_reports_missing_data_and_invalid_arguments() {
    for (arguments, expected) in [
        (&[][..], "--data <DIR>"),
        (&["--data", "/nowhere"], "/nowhere/index.csv"),
        (&["--plan", "d3:16"], "d3:16,1"),
        (&["--plan", "d3:16,d2:4,1"], "names d3 and d2"),
        (&["--batch", "129"], "1..=128"),
    ] {
        let output = dorfman(&[&["bench-paper"], arguments].concat());
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(expected), "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn health_reports_the_response_of_the_worker() {
    for (response, code, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\nok\n", 0, ""),
        (
            "HTTP/1.1 503 Service Unavailable\r\n\r\nno verdict for 200 s\n",
            1,
            "dorfman: no verdict for 200 s\n",
        ),
        (
            "HTTP/1.1 404 Not Found\r\n\r\n",
            1,
            "is not the response of a worker: HTTP/1.1 404 Not Found\n",
        ),
    ] {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = server.local_addr().unwrap().to_string();
        let (_dir, file) = config_file(&format!("ops: {{listen: '{listen}'}}"));
        let request = std::thread::spawn(move || serve_once(&server, response));
        let output = dorfman(&["health", "--ready", "--config", &file]);
        assert_eq!(output.status.code(), Some(code), "{}", err(&output));
        assert!(
            err(&output).ends_with(expected) && err(&output).is_empty() == expected.is_empty(),
            "{}",
            err(&output)
        );
        assert!(request.join().unwrap().starts_with("GET /readyz HTTP/1.1"));
        // The server's thread has ended and has closed the listener.
        let output = dorfman(&["health", "--config", &file]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            err(&output).contains(&format!("no worker responds at http://{listen}/healthz")),
            "{}",
            err(&output)
        );
    }
}

/// Sends the response to one request, and returns the first line of the request.
fn serve_once(server: &std::net::TcpListener, response: &str) -> String {
    let (stream, _) = server.accept().unwrap();
    let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    lines.find(String::is_empty);
    (&stream).write_all(response.as_bytes()).unwrap();
    first
}

/// A worker is often the first process of a container. Such a process must handle SIGTERM itself,
/// because the kernel does not end it by default.
#[test]
fn sigterm_during_startup_exits_0() {
    let (_dir, file) = config_file("kafka: {brokers: '127.0.0.1:1'}\nlogging: {format: text}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dorfman"));
    command.args(["run", "--config", &file]).current_dir(root()).env_remove("DORFMAN_CONFIG");
    let mut worker = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(worker.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("dorfman starts"));
    let pid = worker.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    lines.for_each(drop);
    assert_eq!(worker.wait().unwrap().code(), Some(0));
}

#[test]
fn check_warns_of_messages_that_may_be_skipped() {
    let (_dir, file) = config_file("source: {properties: {auto.offset.reset: latest}}");
    let output = dorfman(&["check", "--quiet", "--config", &file]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        err(&output).contains("warning: `source.properties.auto.offset.reset`"),
        "{}",
        err(&output)
    );
}

#[test]
fn check_applies_the_environment_and_redacts_secrets() {
    let (_dir, file) = config_file("kafka: {properties: {sasl.password: hunter2}}");
    let environment = [("DORFMAN_GROUP__SIZE", "8"), ("DORFMAN_KAFKA__BROKERS", "broker:9092")];
    let output = dorfman_with(&["check", "--config", &file], &environment);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let config: serde_yaml_ng::Value = serde_yaml_ng::from_str(&out(&output)).unwrap();
    assert_eq!(config["group"]["size"], 8);
    assert_eq!(config["kafka"]["brokers"], "broker:9092");
    assert_eq!(config["kafka"]["properties"]["sasl.password"], "***");
    let plan = "plan: exits 0, 1, 2, 3 > 8 > 4 > 1; it should take ";
    assert!(err(&output).contains(plan), "{}", err(&output));
}

#[test]
fn run_reports_a_missing_bundle_and_a_missing_onnxruntime() {
    let (_dir, file) = config_file("model: {bundle: /nowhere}\nops: {listen: '127.0.0.1:0'}");
    let output = dorfman(&["run", "--config", &file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("/nowhere") && err(&output).contains("bundle.json"),
        "{}",
        err(&output)
    );

    let (_dir, file) = config_file(
        "model: {onnxruntime: /nowhere/libonnxruntime.so}\nops: {listen: '127.0.0.1:0'}",
    );
    let output = dorfman(&["run", "--config", &file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("scripts/setup.sh onnxruntime"), "{}", err(&output));
}

#[test]
fn a_missing_gpu_stops_the_worker_unless_the_cpu_is_allowed() {
    let (_dir, file) = config_file("model: {provider: cuda}\nops: {listen: '127.0.0.1:0'}");
    let output = dorfman(&["run", "--config", &file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("model.allow_cpu"), "{}", err(&output));
    let (_dir, file) = config_file("model: {provider: cuda, allow_cpu: true}");
    let output = dorfman(&["check", "--model", "--config", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn generated_files_match_the_code() {
    let committed = |file: &str| std::fs::read_to_string(root().join("config").join(file)).unwrap();
    for (subject, file) in [
        ("example", "dorfman.example.yaml"),
        ("config", "dorfman.schema.json"),
        ("bundle", "bundle.schema.json"),
        ("profile", "profile.schema.json"),
        ("reference", "reference.schema.json"),
        ("flag", "flag.schema.json"),
        ("verdict", "verdict.schema.json"),
        ("dead-letter", "dead-letter.schema.json"),
    ] {
        let generated = out(&dorfman(&["schema", subject]));
        assert!(generated == committed(file), "config/{file} is stale: run scripts/generate.sh");
    }
}

#[test]
fn the_examples_are_valid_configurations() {
    for file in ["dorfman.example.yaml", "compose.yaml"] {
        let path = root().join("config").join(file);
        let output = dorfman(&["check", "--quiet", "--config", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    }
}

fn agreement() -> PathBuf {
    root().join("tests/data/agreement")
}

#[test]
fn scan_of_a_folder_prints_the_verdicts_as_json_lines() {
    let folder = agreement();
    let output = dorfman(&["scan", folder.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let lines: Vec<Value> =
        out(&output).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let images = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|e| e.unwrap().path().extension().map(|e| e.to_owned()));
    assert_eq!(lines.len(), images.filter(|e| e == "png" || e == "jpg").count());
    for line in &lines {
        let id = line["id"].as_str().unwrap();
        let name = Path::new(id).file_name().unwrap().to_str().unwrap();
        if name.starts_with("bag-") {
            assert_eq!(
                (&line["verdict"], &line["labels"][0]["label"]),
                (&"flagged".into(), &"bag".into()),
                "{line}"
            );
        }
        if name.starts_with("other-") {
            assert_eq!(line["verdict"], "cleared", "{line}");
        }
    }
}

#[test]
fn scan_of_a_list_names_failures_and_prints_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let bag = std::fs::read_dir(agreement()).unwrap().map(|e| e.unwrap().path());
    let bag = bag
        .into_iter()
        .find(|p| p.file_name().unwrap().to_str().unwrap().starts_with("bag-"))
        .unwrap();
    let list = dir.path().join("list.txt");
    std::fs::write(&list, format!("{}\n/nowhere/a.png\n", bag.display())).unwrap();
    let output = dorfman(&["scan", list.to_str().unwrap(), "--group-size", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    assert!(text.contains("failed: /nowhere/a.png: not_found"), "{text}");
    assert!(text.contains("2 images") && text.contains("1 flagged, 0 cleared, 1 failed"), "{text}");
    assert_eq!(dorfman(&["scan", "/nowhere"]).status.code(), Some(64));
}

#[test]
fn demo_streams_labelled_photos_and_repeats_them_if_needed() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().to_str().unwrap();
    let photos = ["--bundle", "models/shoes", "--data", "models/shoes/photos.zip", "--out", to];
    let stream = ["--negatives", "260", "--prevalence", "0.05", "--group-size", "4"];
    let output = dorfman_with(
        &[&["demo"], &photos[..], &stream[..]].concat(),
        &[("DORFMAN_RETEST__CHAIN", "[2]")],
    );
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let report: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(
        (&report["items"], &report["positives"]),
        (&274.into(), &14.into()),
        "the zip has only 240 negatives, so some are used twice"
    );
    let runs = report["runs"].as_array().unwrap();
    let names: Vec<&Value> = runs.iter().map(|run| &run["name"]).collect();
    assert_eq!(names, ["individual", "pooled", "best"]);
    assert_eq!(runs[1]["plan"], "4 > 2 > 1");
    for run in runs {
        assert!(run["recall"].as_f64().unwrap() > 0.7, "{run}");
        assert!(run["fpr"].as_f64().unwrap() < 0.05, "{run}");
    }
    let macs = |run: usize| runs[run]["relative_macs"].as_f64().unwrap();
    assert!(macs(1) < 0.9 && macs(2) < macs(1), "{report}");
    let sheet = image::open(dir.path().join("flagged.png")).unwrap();
    assert!(sheet.height() > 90, "the sheet has a row of photos");
}
