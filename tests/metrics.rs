//! The queries of alerts.yaml and dashboard.json use only metrics that a running worker exports.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::broker::{Broker, Embedded};
use common::topic::{produce, produce_at};
use common::{
    PATIENCE, config, confirmed_model, eventually, png_pair, reference, start, stop, topics,
};
use dorfman::config::group::GroupSize;
use dorfman::message::ReferenceMessage;
use dorfman::worker::{self, Model};
use dorfman_core::engine::{Level, NetworkShape, ScriptedNetwork, single_label_shape};
use dorfman_model::manifest::Stage;
use dorfman_model::{Bundle, Profile};
use serde_json::{Value, json};

/// Labels that Prometheus adds, and labels that only histogram buckets have.
const FOREIGN_LABELS: &[&str] = &["namespace", "job", "instance", "pod", "le"];

/// A sample's name and the names of its labels.
type Exported = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_query_uses_exported_metrics() {
    let exported = exported(&scraped());
    let rules = rules();
    let recorded: BTreeSet<&str> = rules.iter().filter_map(|r| r["record"].as_str()).collect();
    let alerts = rules.iter().map(|r| r["expr"].as_str().unwrap().to_owned());
    let mut queries: Vec<String> = alerts.collect();
    queries_of(&dashboard(), &mut queries);
    assert!(queries.len() > 70, "only {} queries were found", queries.len());
    for query in &queries {
        check(query, &exported, &recorded);
    }
}

#[test]
fn a_query_of_a_missing_metric_fails() {
    let exported = exported("dorfman_items_total{verdict=\"flagged\"} 1\n");
    let wrong = |query: &str| {
        std::panic::catch_unwind(|| check(query, &exported, &BTreeSet::new())).is_err()
    };
    assert!(!wrong("sum by (job, verdict) (rate(dorfman_items_total{verdict=\"failed\"}[5m]))"));
    assert!(wrong("dorfman_item_total"));
    assert!(wrong("dorfman_items_total_bucket"));
    assert!(wrong("dorfman_items_total{result=\"flagged\"}"));
    assert!(wrong("sum by (reason) (dorfman_items_total)"));
    assert!(wrong("dorfman:items:rate5m"));
}

/// The age counts the time in the topic, before the worker has read the record.
#[test]
fn the_age_of_a_record_counts_from_its_timestamp() {
    let name = "age";
    let broker = Embedded::with_topics(&topics(name, 1));
    let config = config(broker.bootstrap(), name);
    let old = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(3600);
    let messages = [("hot", reference("hot", true)), ("broken", b"{".to_vec())];
    produce_at(broker.bootstrap(), config.source.topic.first(), &messages, old);
    let running = start(&config);
    let text = || running.metrics().text();
    eventually("both items are judged", || {
        let text = text();
        ["flagged", "failed"].iter().all(|verdict| {
            text.contains(&format!("dorfman_record_age_seconds_count{{verdict=\"{verdict}\"}} 1"))
        })
    });
    for verdict in ["flagged", "failed"] {
        let sum =
            sample(&text(), &format!("dorfman_record_age_seconds_sum{{verdict=\"{verdict}\"}}"));
        assert!((3600.0..3660.0).contains(&sum), "{verdict}: {sum} s");
    }
    assert_eq!(sample(&text(), "dorfman_partitions_assigned"), 1.0);
    let partitions = running.metrics().partitions.clone();
    stop(running);
    assert_eq!(partitions.get(), 0, "the worker has left");
}

fn sample(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn every_alert_has_a_section_in_the_operations_guide() {
    let guide = std::fs::read_to_string(path("docs/operations.md")).unwrap();
    let headings: BTreeSet<String> = guide
        .lines()
        .filter_map(|l| l.strip_prefix("### "))
        .map(|h| h.trim().to_lowercase())
        .collect();
    let rules = rules();
    let alerts: Vec<&Value> = rules.iter().filter(|r| r["alert"].is_string()).collect();
    assert!(alerts.len() > 10);
    for rule in alerts {
        let name = rule["alert"].as_str().unwrap();
        let anchor = name.to_lowercase();
        assert_eq!(
            rule["annotations"]["runbook_url"],
            format!("docs/operations.md#{anchor}"),
            "{name}"
        );
        assert!(headings.contains(&anchor), "docs/operations.md has no heading `### {name}`");
    }
}

/// The metrics of a worker with plans, audits, a confirm network, a profile, a dead letter and a
/// lag.
fn scraped() -> String {
    let name = "exported";
    let broker = Embedded::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    config.group.size = GroupSize::Auto;
    config.audit.fraction = 1.0;
    config.validate().unwrap();
    let message = |i: usize| {
        // A score of 0 is below every threshold, so an exit clears the image.
        let level = if i.is_multiple_of(40) { 98 } else { 0 };
        let id = format!("image-{i}");
        (
            id.clone(),
            serde_json::to_vec(&ReferenceMessage::inline(&id, &png_pair(level, level))).unwrap(),
        )
    };
    let mut messages: Vec<(String, Vec<u8>)> = (0..400).map(message).collect();
    messages.push(("broken".into(), b"{".to_vec()));
    produce(broker.bootstrap(), config.source.topic.first(), &messages);
    let bundle = Bundle::open(&path("models/fashion-bag")).unwrap();
    let network = Box::new(ScriptedNetwork::new(shape(&bundle)));
    let model =
        Model { calibrated: Some(bundle), profile: Some(profile()), network, ..confirmed_model() };
    let running = worker::start(&config, model).unwrap();
    let address = running.address().unwrap();
    // The lag is exported last, after librdkafka's first statistics.
    let done = |text: &str| {
        ["dorfman_consumer_lag_messages{", "dorfman_flagged_total{"]
            .iter()
            .all(|m| text.contains(m))
    };
    let start = Instant::now();
    let text = loop {
        let text = get(&format!("http://{address}/metrics"));
        if done(&text) && text.contains("dorfman_ready 1") {
            break text;
        }
        assert!(start.elapsed() < PATIENCE, "no lag or no flag in\n{text}");
        std::thread::park_timeout(Duration::from_millis(50));
    };
    stop(running);
    text
}

/// The shape of a scripted network with the stages and exits of a bundle.
fn shape(bundle: &Bundle) -> NetworkShape {
    let items = &bundle.manifest.stages[..bundle.item_stages()];
    let level = |stage: &Stage| Level {
        fan_in: 1,
        slots: 64,
        macs: stage.macs,
        exit: stage.exit.is_some(),
    };
    NetworkShape {
        levels: items.iter().map(level).collect(),
        confirm_macs: Some(1000),
        ..single_label_shape(64, 10, 100)
    }
}

fn get(url: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { reqwest::get(url).await.unwrap().text().await.unwrap() })
}

/// A profile of the scripted network. Its figures are not used.
fn profile() -> Profile {
    let spread = json!({ "p10": 0.001, "median": 0.001, "p90": 0.001 });
    let part =
        json!({ "macs": 1, "measured": [{ "arity": 1, "rows": 1, "runs": 1, "seconds": spread }] });
    let machine = json!({
        "provider": "cpu", "device": "none", "cores": 1, "threads": 0, "onnxruntime": "0",
    });
    serde_json::from_value(json!({
        "format": 1, "bundle": { "name": "scripted", "version": "1", "stages": [] },
        "machine": machine, "date": "", "buckets": [], "preferred_batch": 8,
        "stages": [part, part, part, part, part], "confirm": part,
    }))
    .unwrap()
}

/// The samples of a scrape.
fn exported(text: &str) -> Exported {
    let mut all = Exported::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let names = labels.trim_end_matches('}').split(',').filter_map(|l| l.split_once('='));
        all.entry(name.to_owned()).or_default().extend(names.map(|(label, _)| label.to_owned()));
    }
    all
}

fn check(query: &str, exported: &Exported, recorded: &BTreeSet<&str>) {
    let mut known: BTreeSet<&str> = FOREIGN_LABELS.iter().copied().collect();
    for (name, matched) in selectors(query) {
        if name.contains(':') {
            assert!(recorded.contains(name), "no rule records {name}, in {query}");
            known.insert("verdict");
            continue;
        }
        let labels =
            exported.get(name).unwrap_or_else(|| panic!("no worker exports {name}, in {query}"));
        known.extend(labels.iter().map(String::as_str));
        for label in labels_of(matched) {
            assert!(
                labels.contains(label) || FOREIGN_LABELS.contains(&label),
                "{name} has no label {label}, in {query}"
            );
        }
    }
    for by in query.split("by (").skip(1).map(|rest| rest.split_once(')').unwrap().0) {
        for label in by.split(',').map(str::trim) {
            assert!(known.contains(label), "nothing in {query} has the label {label}");
        }
    }
}

/// The metric names of the worker in a query, each with the text in the braces after it.
fn selectors(query: &str) -> Vec<(&str, &str)> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = rest.find("dorfman") {
        rest = &rest[at..];
        let (name, after) = rest.split_at(rest.find(|c| !of_name(c)).unwrap_or(rest.len()));
        let matched = after.strip_prefix('{').and_then(|m| m.split_once('}')).map_or("", |m| m.0);
        found.push((name, matched));
        rest = after;
    }
    found
}

/// The labels of `a="b", c!~"d"`.
fn labels_of(matched: &str) -> impl Iterator<Item = &str> {
    matched.split(", ").filter_map(|m| m.split_once(['=', '!'])).map(|(label, _)| label.trim())
}

fn rules() -> Vec<Value> {
    let file: Value = serde_yaml_ng::from_str(
        &std::fs::read_to_string(path("charts/dorfman/files/alerts.yaml")).unwrap(),
    )
    .unwrap();
    file["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|g| g["rules"].as_array().unwrap().clone())
        .collect()
}

fn dashboard() -> Value {
    serde_json::from_str(
        &std::fs::read_to_string(path("charts/dorfman/files/dashboard.json")).unwrap(),
    )
    .unwrap()
}

/// All values of the keys `expr` and `definition`, at any depth.
fn queries_of(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            out.extend(
                ["expr", "definition"]
                    .iter()
                    .filter_map(|k| map.get(*k)?.as_str())
                    .map(str::to_owned),
            );
            map.values().for_each(|v| queries_of(v, out));
        }
        Value::Array(all) => all.iter().for_each(|v| queries_of(v, out)),
        _ => {}
    }
}

fn path(relative: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}
