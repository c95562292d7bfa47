//! Cost by the hour as an SVG.

use super::super::CliError;
use super::super::chart::{Curve, Scale, draw_side_by_side};
use super::{Line, Report};

/// Draws cost and prevalence by the hour.
///
/// # Errors
/// [`CliError::Failed`] with what the drawing library says.
pub(super) fn draw(report: &Report) -> Result<String, CliError> {
    let curve = |name: String, of: &dyn Fn(&Line) -> Option<f64>| {
        // A step an hour long.
        let ends = |line: &Line| {
            let value = of(line).map(|v| 100.0 * v);
            let hour = line.hour as f64;
            value.map(|v| [(hour, v), (hour + 1.0, v)])
        };
        Curve { name, points: report.hours.iter().filter_map(ends).flatten().collect(), marks: false }
    };
    let mut costs = vec![curve("auto".into(), &|l| Some(l.auto.cost))];
    if let Some(plan) = &report.configured {
        costs.push(curve(format!("configured: {plan}"), &|l| Some(l.configured.as_ref()?.cost)));
    }
    if !report.bands.is_empty() {
        costs.push(curve("auto, pooled by risk".into(), &|l| Some(l.by_risk.as_ref()?.cost)));
    }
    costs.push(curve("best plan of each hour".into(), &|l| Some(l.best_cost)));
    let rates = vec![
        curve("prevalence".into(), &|l| Some(l.prevalence)),
        curve("estimate at the end of the hour".into(), &|l| Some(l.estimate)),
    ];
    let hours = 0.0..report.hours.len() as f64;
    let left = (costs, Scale::linear("hour", "cost, % of individual testing", hours.clone()));
    let right = (rates, Scale::linear("hour", "% positive", hours));
    draw_side_by_side(&report.bundle, [left, right])
}
