//! The figures of the demo beside their targets, and its CPU time by part.

use std::path::Path;

use super::super::CliError;
use super::super::demo::{DemoArgs, measure, report::Run};
use super::figure;

pub(super) fn run(bundle: &Path) -> Result<(), CliError> {
    let args = DemoArgs { bundle: bundle.to_owned(), ..DemoArgs::defaults()? };
    let report = measure(&args)?;
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let floor = format!("at least {}", percent(report.individual.recall - 0.02));
    figure("demo: grouped recall", percent(report.grouped.recall), &floor);
    figure("demo: individual recall", percent(report.individual.recall), "");
    figure("demo: grouped false positive rate", percent(report.grouped.fpr), "");
    figure("demo: individual false positive rate", percent(report.individual.fpr), "");
    figure("demo: MACs, grouped / individual", percent(report.relative_macs), "at most 40 %");
    let seconds = percent(report.relative_network_seconds);
    figure("demo: network seconds, grouped / individual", seconds, "at most 45 %");
    figure("demo: images/s grouped", format!("{:.0}", report.grouped.images_per_second), "");
    figure("demo: images/s individual", format!("{:.0}", report.individual.images_per_second), "");
    for (name, run) in [("grouped", &report.grouped), ("individual", &report.individual)] {
        let parts = parts(run);
        let total: f64 = parts.iter().map(|(_, cpu)| cpu).sum();
        let other = parts.iter().filter(|(part, _)| !matches!(*part, "network" | "decode"));
        let other: f64 = other.map(|(_, cpu)| cpu).sum();
        let target = if name == "grouped" { "under 10 %" } else { "" };
        let share = percent(other / total);
        figure(&format!("demo, {name}: CPU outside decode and network"), share, target);
        for (part, cpu) in parts {
            let us = cpu * 1e6 / report.items as f64;
            let detail = format!("{}, {us:.1} us per item", percent(cpu / total));
            figure(&format!("  {part}"), format!("{cpu:.3} s"), &detail);
        }
    }
    Ok(())
}

/// CPU seconds of the worker by part, without the broker and the threads of the demo.
fn parts(run: &Run) -> Vec<(&'static str, f64)> {
    let m = &run.measured;
    let thread = |name: &str| m.threads.get(name).copied().unwrap_or(0.0);
    let with_prefix = |prefix: &str| {
        let threads = m.threads.iter().filter(|(name, _)| name.starts_with(prefix));
        threads.map(|(_, cpu)| cpu).sum::<f64>()
    };
    let part = |name: &str| m.ingest.get(name).copied().unwrap_or(0.0);
    let inline: f64 = m.stats.cpu_seconds();
    let fetch = part("fetch");
    let decode = part("decode");
    vec![
        ("network", inline + thread("onnxruntime")),
        ("decode", decode),
        ("fetch (files)", fetch),
        ("decode threads, other (queues)", (thread("decode") - fetch - decode).max(0.0)),
        ("engine (grouping, policies, batching)", (thread("engine") - inline).max(0.0)),
        ("source (poll, parse, offsets)", thread("source")),
        ("sink (records, reports)", thread("sink")),
        ("librdkafka", with_prefix("rdk:main") + with_prefix("rdk:broker")),
        ("io (health, metrics)", thread("io")),
    ]
}
