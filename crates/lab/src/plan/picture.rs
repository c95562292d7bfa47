//! Cost against prevalence, and against the group size, as SVG.

use dorfman_core::planner::ChainLink;

use super::row::{PlanBasis, PlanRow};
use crate::LabError;
use crate::chart::{Axes, Curve, CurveStyle, draw_side_by_side};

const POINTS: usize = 60;
const PREVALENCES: (f64, f64) = (0.0001, 0.3);

/// Draws both charts side by side.
///
/// # Errors
/// [`LabError::Picture`].
pub(super) fn draw(
    bundle: &str,
    basis: &PlanBasis,
    prevalences: &[f64],
    configured: Option<&[ChainLink]>,
) -> Result<String, LabError> {
    let cost = "expected cost, % of individual testing";
    let by_prevalence = by_prevalence(basis, configured);
    let by_size: Vec<Curve> = prevalences.iter().map(|&p| by_size(basis, p)).collect();
    let largest = by_size.iter().flat_map(|c| &c.points).map(|p| p.0).fold(2.0, f64::max);
    let range = 100.0 * PREVALENCES.0..100.0 * PREVALENCES.1;
    let left = Axes::logarithmic("prevalence, %", cost, range);
    let title = "images per group, the rest of the plan is the cheapest for it";
    let right = Axes::logarithmic(title, cost, 1.0..largest);
    draw_side_by_side(bundle, [(by_prevalence, left), (by_size, right)])
}

fn by_prevalence(basis: &PlanBasis, configured: Option<&[ChainLink]>) -> Vec<Curve> {
    let step = (PREVALENCES.1 / PREVALENCES.0).powf(1.0 / (POINTS - 1) as f64);
    let prevalences = (0..POINTS).map(|i| PREVALENCES.0 * step.powi(i as i32));
    let rows: Vec<PlanRow> = prevalences.map(|p| basis.row(p, configured)).collect();
    let styled = |name: String, style, of: &dyn Fn(&PlanRow) -> Option<f64>| {
        let point = |row: &PlanRow| Some((100.0 * row.prevalence, 100.0 * of(row)?));
        Curve { name, points: rows.iter().filter_map(point).collect(), style }
    };
    let curve =
        |name: String, of: &dyn Fn(&PlanRow) -> Option<f64>| styled(name, CurveStyle::Plain, of);
    let reference = |name: &str, of: &dyn Fn(&PlanRow) -> Option<f64>| {
        styled(name.into(), CurveStyle::Reference, of)
    };
    let with_exits = rows.first().is_some_and(|row| row.exits.is_some());
    let planned = |row: &PlanRow| Some(row.planned.relative_cost);
    let mut curves = vec![styled("planned".into(), CurveStyle::Main, &planned)];
    if with_exits {
        curves.push(curve("pooling alone".into(), &|row| Some(row.pooled.relative_cost)));
        curves.push(curve("exits alone".into(), &|row| Some(row.exits.as_ref()?.relative_cost)));
        curves.push(curve("individual".into(), &|_| Some(1.0)));
    }
    if let Some(plan) = rows.first().and_then(|row| row.configured.as_ref()) {
        let name = format!("configured: {}", plan.plan);
        curves.push(curve(name, &|row| Some(row.configured.as_ref()?.relative_cost)));
    }
    curves.push(reference("two rounds without error", &|row| Some(row.bounds.dorfman)));
    curves.push(reference("best nested without error", &|row| Some(row.bounds.nested)));
    curves.push(reference("entropy", &|row| Some(row.bounds.entropy)));
    curves
}

fn by_size(basis: &PlanBasis, prevalence: f64) -> Curve {
    let costs = basis.by_size(prevalence);
    let points = costs.into_iter().map(|(size, cost)| (size as f64, 100.0 * cost)).collect();
    Curve {
        name: format!("prevalence {} %", 100.0 * prevalence),
        points,
        style: CurveStyle::Marked,
    }
}
