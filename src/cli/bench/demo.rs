//! The figures of the demo beside their targets, and its CPU time by part.

use std::path::Path;

use super::super::CliError;
use super::super::demo::report::Run;
use super::super::demo::{DemoArgs, measure};
use super::figure;

pub(super) fn run(bundle: &Path) -> Result<(), CliError> {
    let args = DemoArgs { bundle: bundle.to_owned(), ..DemoArgs::defaults()? };
    let report = measure(&args)?;
    let individual = report.run("individual").map_or(0.0, |run| run.recall);
    report.runs.iter().for_each(|run| figures(run, individual));
    Ok(())
}

fn figures(run: &Run, individual_recall: f64) {
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let name = run.name;
    let (recall, macs) = match name {
        "individual" => (String::new(), ""),
        "pooled" => (format!("at least {}", percent(individual_recall - 0.02)), "at most 40 %"),
        _ => (format!("at least {}", percent(individual_recall - 0.01)), "at most 5 %"),
    };
    figure(&format!("demo, {name}: recall"), percent(run.recall), &recall);
    figure(&format!("demo, {name}: false positive rate"), percent(run.fpr), "");
    figure(&format!("demo, {name}: MACs / individual"), percent(run.relative_macs), macs);
    let seconds = percent(run.relative_network_seconds);
    figure(&format!("demo, {name}: network seconds / individual"), seconds, "");
    figure(&format!("demo, {name}: images/s"), format!("{:.0}", run.images_per_second), "");
    let total: f64 = run.cpu.iter().map(|part| part.microseconds).sum();
    for part in &run.cpu {
        let value = format!("{:.1} us per image", part.microseconds);
        figure(&format!("  CPU: {}", part.part), value, &percent(part.microseconds / total));
    }
}
