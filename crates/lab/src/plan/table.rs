//! The report for people.

use comfy_table::{ColumnConstraint, Table};

use super::row::{ExpectedPlan, PlanRow};
use super::{CostUnit, PlanReport};
use crate::table::{align_right_from, percent, table};

/// The tables with their notes.
pub(super) fn text(report: &PlanReport) -> String {
    let unit = match report.cost {
        CostUnit::Seconds => "network seconds",
        CostUnit::Macs => "multiply-adds",
    };
    format!(
        "{}: the plans with the fewest {unit}\n\
         Individual tests are set to find {} of the positives. Exits and pooling may miss another {} of \
         all positives.{}\n\n{}\n\n\
         For comparison, the costs of tests without error (docs/planning.md), in groups of the \
         given sizes:\n\n{}\n\n\
         All costs are in per cent of individual testing. Sensitivity: the share of positive \
         groups that the tests of each size find, by the calibration.",
        report.bundle,
        percent(report.individual_sensitivity, 1),
        percent(report.recall_loss, 1),
        proof(report.exit_positives),
        plans(&report.rows, report.cost),
        bounds(&report.rows)
    )
}

/// What the positives by which the exits are calibrated can prove: with none of n lost, the loss is
/// below 1 - 0.05^(1/n) at 95 % confidence (the rule of three).
fn proof(positives: Option<u64>) -> String {
    let Some(positives) = positives.filter(|&n| n > 0) else { return String::new() };
    let bound = 1.0 - 0.05f64.powf(1.0 / positives as f64);
    format!(
        " The exits are calibrated by {positives} positives: if none of them were lost, the loss \
         would be below {} at 95 % confidence.",
        percent(bound, 1)
    )
}

fn plans(rows: &[PlanRow], cost: CostUnit) -> Table {
    let header = [
        "prevalence",
        "",
        "plan",
        "sensitivity",
        "tests per image",
        "MACs",
        "network seconds",
        "recall",
        "FPR",
    ];
    let mut table = table(&header);
    for row in rows {
        table.add_row(cells(&percent(row.prevalence, 2), "planned", &row.planned));
        // Rows that repeat the plan say nothing.
        let others = [
            ("pooling alone", Some(&row.pooled)),
            ("exits alone", row.exits.as_ref()),
            ("one exit", row.cascade.as_ref()),
        ];
        for (name, plan) in others {
            if let Some(plan) = plan.filter(|plan| plan.plan != row.planned.plan) {
                table.add_row(cells("", name, plan));
            }
        }
        if let Some(configured) = &row.configured {
            table.add_row(cells("", "configured", configured));
        }
    }
    if cost != CostUnit::Seconds
        && let Some(seconds) = table.column_mut(6)
    {
        seconds.set_constraint(ColumnConstraint::Hidden);
    }
    align_right_from(&mut table, 4);
    table
}

fn cells(prevalence: &str, which: &str, plan: &ExpectedPlan) -> [String; 9] {
    let exits = plan.exits.iter().map(|exit| exit.sensitivity.to_string());
    // The sensitivity of the individual test among the images that pass is not a setting.
    let kept = if plan.exits.is_empty() { 0 } else { 1 };
    let tests = &plan.sensitivities[..plan.sensitivities.len() - kept];
    let sensitivities: Vec<String> = exits.chain(tests.iter().map(f64::to_string)).collect();
    [
        prevalence.into(),
        which.into(),
        plan.plan.clone(),
        sensitivities.join(" / "),
        format!("{:.4}", plan.tests_per_image),
        percent(plan.relative_macs, 1),
        percent(plan.relative_cost, 1),
        percent(plan.recall, 2),
        percent(plan.fpr, 3),
    ]
}

fn bounds(rows: &[PlanRow]) -> Table {
    let header = ["prevalence", "two rounds", "images", "best nested", "images", "entropy"];
    let mut table = table(&header);
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
    align_right_from(&mut table, 1);
    table
}
