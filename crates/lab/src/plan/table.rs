//! The report for people.

use comfy_table::{CellAlignment, Table};

use super::super::table::{percent, table};
use super::row::{Line, Row};
use super::{Report, Unit};

/// The tables.
pub(super) fn print(report: &Report) {
    let (sensitivity, loss) = (report.individual_sensitivity, 100.0 * report.recall_loss);
    let unit = if report.cost == Unit::Seconds { "network seconds" } else { "multiply-adds" };
    println!("{}: plans of the least {unit}", report.bundle);
    println!(
        "Individual tests are set to find {sensitivity} of the positives, and pooling may lose {loss} points of that.\n"
    );
    println!("{}\n", plans(&report.rows, report.cost));
    println!("What tests without error would cost, in groups of the sizes given:\n\n{}\n", bounds(&report.rows));
    println!("All in per cent of individual testing. Sensitivity: of each size, by the calibration.");
}

fn plans(rows: &[Row], cost: Unit) -> Table {
    let header =
        ["prevalence", "", "plan", "sensitivity", "tests an image", "MACs", "network seconds", "recall", "FPR"];
    let mut table = table(&header);
    for row in rows {
        table.add_row(line(&percent(row.prevalence, 2), "planned", &row.planned));
        if let Some(configured) = &row.configured {
            table.add_row(line("", "configured", configured));
        }
    }
    if cost != Unit::Seconds {
        table.column_mut(6).map(|c| c.set_constraint(comfy_table::ColumnConstraint::Hidden));
    }
    table.column_iter_mut().skip(4).for_each(|c| c.set_cell_alignment(CellAlignment::Right));
    table
}

fn line(prevalence: &str, which: &str, line: &Line) -> [String; 9] {
    let sensitivities: Vec<String> = line.sensitivities.iter().map(f64::to_string).collect();
    [
        prevalence.into(),
        which.into(),
        line.plan.clone(),
        sensitivities.join(" / "),
        format!("{:.4}", line.tests_per_image),
        percent(line.relative_macs, 1),
        percent(line.relative_cost, 1),
        percent(line.recall, 2),
        percent(line.fpr, 3),
    ]
}

fn bounds(rows: &[Row]) -> Table {
    let mut table = table(&["prevalence", "two rounds", "images", "best nested", "images", "entropy"]);
    for row in rows {
        let b = &row.bounds;
        table.add_row([
            percent(row.prevalence, 2),
            percent(b.dorfman, 1),
            b.dorfman_size.to_string(),
            percent(b.nested, 1),
            b.nested_size.to_string(),
            percent(b.entropy, 1),
        ]);
    }
    table.column_iter_mut().skip(1).for_each(|c| c.set_cell_alignment(CellAlignment::Right));
    table
}
