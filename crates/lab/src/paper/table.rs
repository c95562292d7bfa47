//! What was measured, for people.

use comfy_table::CellAlignment;

use super::super::super::table::{percent, table};
use super::measure::Measured;
use crate::model::Provider;
use crate::model::profile::Machine;

/// The least multiply-adds that the paper's Table 1 claims for a design, over individual testing: algorithm 2 at M = 16.
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
Over testing every image alone. Plan: a test of one image is the plain network's, from the pixels on, unless a design stands before the 1;
then it is of the network of the groups, on the features that this has of the image.
Recall, MACs of all: by the replay of all groups (for a fitted plan: of the half that it was not fitted on), honest accounting.
Of the slice: by the replay of the groups that were run. As computed: by the stages' own multiply-adds; a test of one image re-uses features
here where the replay charges the whole network.
Seconds: all of the engine and its network, on the clock, over those of the plain network, whole, testing images alone in turns with the
groups. CPU seconds: the same, of all threads; other work on the machine hits them less. Neither holds decoding.
Paper's MACs: the least that its Table 1 claims for the design. For D3 that takes the second round from D2's network and counts features as
cached that this never computed; honestly it is 32.13 %.
To reach: D3 in at most 30 % of the seconds, 27 % is wished for.";

/// Prints what was run of a plan, as soon as it was.
pub(super) fn note(row: &Measured) {
    println!("{} ({}): {}", row.plan, row.rule, slice(row));
}

/// Prints the table.
pub(super) fn print(rows: &[Measured], machine: &Machine) {
    let mut table = table(&HEADER);
    rows.iter().for_each(|row| {
        table.add_row(cells(row));
    });
    table.column_iter_mut().skip(3).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    println!("\n{table}\n\n{NOTES}\n");
    let set = if machine.provider == Provider::Cpu { instruction_set() } else { "" };
    println!("{}, {} cores{set}, ONNX Runtime {}", machine.device, machine.cores, machine.onnxruntime);
}

fn cells(row: &Measured) -> [String; 11] {
    let claim = CLAIMS.iter().find(|(design, _)| *design == row.design);
    [
        row.design.clone(),
        row.plan.clone(),
        row.rule.clone(),
        format!("{}/{}", row.all.found, row.all.positives),
        row.slice.tests.iter().sum::<u64>().to_string(),
        percent(row.all.relative(), 2),
        percent(row.replayed.relative(), 2),
        percent(row.relative_macs, 2),
        percent(row.relative_wall(), 1),
        percent(row.relative_cpu(), 1),
        claim.map_or_else(|| "-".into(), |(_, claim)| percent(*claim, 2)),
    ]
}

/// What was run, and how close it is to what it stands for.
fn slice(row: &Measured) -> String {
    let tests = row.sizes.iter().zip(&row.slice.tests).zip(&row.slice.expected);
    let tests: Vec<String> =
        tests.map(|((size, tests), expected)| format!("{tests} tests of {size} ({expected:.1})")).collect();
    let alone = &row.individual;
    format!(
        "{} groups with {} (in brackets, what so many have in the mean of all); {} images in {:.1} s, {} alone in {:.1} s, {:.0} ms each \
         (10 to 90 %: {:.0} to {:.0})",
        row.slice.groups.len(),
        tests.join(", "),
        row.grouped.images,
        row.grouped.wall.as_secs_f64(),
        alone.images,
        alone.wall.as_secs_f64(),
        1e3 * alone.wall_an_image(),
        1e3 * alone.quantile(0.1),
        1e3 * alone.quantile(0.9),
    )
}

/// The widest vectors there are, which decide how fast a CPU multiplies.
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
