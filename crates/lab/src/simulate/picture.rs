//! Cost by the hour as SVG.

use super::{HourRow, SimulateReport};
use crate::LabError;
use crate::chart::{Axes, Curve, CurveStyle, draw_side_by_side};

/// Draws cost and prevalence by the hour.
///
/// # Errors
/// [`LabError::Picture`].
pub(super) fn draw(report: &SimulateReport) -> Result<String, LabError> {
    let curve = |name: String, of: &dyn Fn(&HourRow) -> Option<f64>| {
        // One step per hour.
        let ends = |row: &HourRow| {
            let (hour, value) = (row.hour as f64, 100.0 * of(row)?);
            Some([(hour, value), (hour + 1.0, value)])
        };
        Curve {
            name,
            points: report.hours.iter().filter_map(ends).flatten().collect(),
            style: CurveStyle::Plain,
        }
    };
    let mut costs = vec![curve("auto".into(), &|row| Some(row.auto.cost))];
    if let Some(plan) = &report.configured {
        let name = format!("configured: {plan}");
        costs.push(curve(name, &|row| Some(row.configured.as_ref()?.cost)));
    }
    if !report.bands.is_empty() {
        let name = "auto, pooled by risk".into();
        costs.push(curve(name, &|row| Some(row.by_risk.as_ref()?.cost)));
    }
    costs.push(curve("best plan of each hour".into(), &|row| Some(row.best_cost)));
    let rates = vec![
        curve("prevalence".into(), &|row| Some(row.prevalence)),
        curve("estimate at the end of the hour".into(), &|row| Some(row.estimate)),
    ];
    let hours = 0.0..report.hours.len() as f64;
    let left = (costs, Axes::linear("hour", "cost, % of individual testing", hours.clone()));
    let right = (rates, Axes::linear("hour", "% positive", hours));
    draw_side_by_side(&report.bundle, [left, right])
}
