//! The measurements for people.

use dorfman_model::Provider;
use dorfman_model::profile::Machine;

use super::measure::Measured;
use crate::table::{align_right_from, percent, table};

/// The lowest multiply-adds that the paper's Table 1 claims for a design, relative to individual
/// testing: algorithm 2 at M = 16.
const CLAIMS: [(&str, f64); 2] = [("D2", 0.3055), ("D3", 0.2643)];

const HEADER: [&str; 11] = [
    "design",
    "plan",
    "positive from",
    "recall",
    "tests",
    "MACs of all",
    "of the slice",
    "as computed",
    "seconds",
    "CPU seconds",
    "paper's MACs",
];

const NOTES: &str = "\
MACs and seconds are relative to testing every image alone. The slice: the groups that were run.
Plan: a test of one image runs on the plain network, from the pixels on. If a design is named before
the 1, it runs on the network of the groups, with the cached features of the image.
Recall, MACs of all: by the replay of all groups (for a fitted plan: of the half on which it was not
fitted), honest accounting. Of the slice: by the replay of the groups that were run.
As computed: by the stages' own multiply-adds. There, a test of one image reuses features for which
the replay charges the whole network.
Seconds: the engine and its networks, relative to the whole plain network that tests images alone in
turns with the groups. CPU seconds: the same for the CPU time of all threads, on which other work on
the machine has less effect. Neither includes decoding.
Paper's MACs: the lowest that its Table 1 claims for the design. For D3, that row takes the second
round from D2's network and counts features as cached that D2 never computed. With honest accounting
it is 32.13 %.
Target: D3 in at most 30 % of the seconds, if possible 27 %.";

/// The table with its notes.
pub(super) fn text(rows: &[Measured], machine: &Machine) -> String {
    let mut table = table(&HEADER);
    for row in rows {
        table.add_row(cells(row));
    }
    align_right_from(&mut table, 3);
    let vectors = if machine.provider == Provider::Cpu { instruction_set() } else { "" };
    let (device, cores, runtime) = (&machine.device, machine.cores, &machine.onnxruntime);
    format!("{table}\n\n{NOTES}\n\n{device}, {cores} cores{vectors}, ONNX Runtime {runtime}")
}

fn cells(row: &Measured) -> [String; 11] {
    let claim = CLAIMS.iter().find(|(design, _)| *design == row.design);
    [
        row.design.clone(),
        row.plan.clone(),
        row.rule.clone(),
        format!("{}/{}", row.all.found, row.all.positives),
        row.sample.tests.iter().sum::<u64>().to_string(),
        percent(row.all.relative(), 2),
        percent(row.replayed.relative(), 2),
        percent(row.relative_macs, 2),
        percent(row.relative_wall(), 1),
        percent(row.relative_cpu(), 1),
        claim.map_or_else(|| "-".into(), |(_, claim)| percent(*claim, 2)),
    ]
}

/// The sample of a plan, and how close it is to the mean of all groups.
pub(super) fn line(row: &Measured) -> String {
    let tests = row.sizes.iter().zip(&row.sample.tests).zip(&row.sample.expected);
    let tests: Vec<String> = tests
        .map(|((size, tests), expected)| format!("{tests} tests of {size} ({expected:.1})"))
        .collect();
    let alone = &row.individual;
    format!(
        "{} ({}): {} groups with {} (in brackets: the same number of groups on average); {} images \
         in {:.1} s, {} alone in {:.1} s, {:.0} ms each (10 to 90 %: {:.0} to {:.0})",
        row.plan,
        row.rule,
        row.sample.groups.len(),
        tests.join(", "),
        row.grouped.images,
        row.grouped.wall.as_secs_f64(),
        alone.images,
        alone.wall.as_secs_f64(),
        1e3 * alone.wall_per_image(),
        1e3 * alone.quantile(0.1),
        1e3 * alone.quantile(0.9),
    )
}

/// The widest vector instructions, which limit how fast a CPU multiplies.
fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            return " with AVX-512";
        }
        if std::is_x86_feature_detected!("avx2") {
            return " with AVX2";
        }
    }
    ""
}
