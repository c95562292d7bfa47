//! The demo's figures against what is to be reached, and where its CPU time goes.

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
    figure("demo: MACs, grouped over individual", percent(report.relative_macs), "at most 40 %");
    figure("demo: network seconds, grouped over individual", percent(report.relative_network_seconds), "at most 45 %");
    figure("demo: images/s grouped", format!("{:.0}", report.grouped.images_per_second), "");
    figure("demo: images/s individual", format!("{:.0}", report.individual.images_per_second), "");
    for (name, run) in [("grouped", &report.grouped), ("individual", &report.individual)] {
        let parts = parts(run);
        let whole: f64 = parts.iter().map(|(_, cpu)| cpu).sum();
        let rest: f64 =
            parts.iter().filter(|(part, _)| !matches!(*part, "network" | "decode")).map(|(_, cpu)| cpu).sum();
        let goal = if name == "grouped" { "under 10 %" } else { "" };
        figure(&format!("demo, {name}: CPU neither decode nor network"), percent(rest / whole), goal);
        for (part, cpu) in parts {
            let (seconds, us) = (format!("{cpu:.3} s"), cpu * 1e6 / report.items as f64);
            figure(&format!("  {part}"), seconds, &format!("{}, {us:.1} us an item", percent(cpu / whole)));
        }
    }
    Ok(())
}

/// CPU seconds of the worker by part; the broker and the demo's own threads are left out.
fn parts(run: &Run) -> Vec<(&'static str, f64)> {
    let m = &run.measured;
    let thread = |name: &str| m.threads.get(name).copied().unwrap_or(0.0);
    let named = |prefix: &str| m.threads.iter().filter(|(n, _)| n.starts_with(prefix)).map(|(_, cpu)| cpu).sum::<f64>();
    let part = |name: &str| m.ingest.get(name).copied().unwrap_or(0.0);
    let inline: f64 = m.stats.cpu_seconds();
    let (fetch, decode) = (part("fetch"), part("decode"));
    vec![
        ("network", inline + thread("onnxruntime")),
        ("decode", decode),
        ("fetch (files)", fetch),
        ("decode threads, rest (queues)", (thread("decode") - fetch - decode).max(0.0)),
        ("engine (grouping, policies, batching)", (thread("engine") - inline).max(0.0)),
        ("source (poll, parse, offsets)", thread("source")),
        ("sink (records, reports)", thread("sink")),
        ("librdkafka", named("rdk:main") + named("rdk:broker")),
        ("io (health, metrics)", thread("io")),
    ]
}
