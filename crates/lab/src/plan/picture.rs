//! Cost against prevalence, and against the group size, as an SVG.

use super::super::CliError;
use super::super::chart::{Curve, Scale, draw_side_by_side};
use super::row::{Basis, Row};
use crate::planner::Link;

const POINTS: usize = 60;
const PREVALENCES: (f64, f64) = (0.0001, 0.3);

/// Draws both pictures side by side.
///
/// # Errors
/// [`CliError::Failed`] with what the drawing library says.
pub(super) fn draw(
    bundle: &str,
    basis: &Basis,
    prevalences: &[f64],
    configured: Option<&[Link]>,
) -> Result<String, CliError> {
    let cost = "expected cost, % of individual testing";
    let along = along_prevalence(basis, configured);
    let sizes: Vec<Curve> = prevalences.iter().map(|&p| along_size(basis, p)).collect();
    let largest = sizes.iter().flat_map(|c| &c.points).map(|p| p.0).fold(2.0, f64::max);
    let left = Scale::logarithmic("prevalence, %", cost, 100.0 * PREVALENCES.0..100.0 * PREVALENCES.1);
    let right = Scale::logarithmic("images of a group, the rest of the plan the best for it", cost, 1.0..largest);
    draw_side_by_side(bundle, [(along, left), (sizes, right)])
}

fn along_prevalence(basis: &Basis, configured: Option<&[Link]>) -> Vec<Curve> {
    let step = (PREVALENCES.1 / PREVALENCES.0).powf(1.0 / (POINTS - 1) as f64);
    let prevalences = (0..POINTS).map(|i| PREVALENCES.0 * step.powi(i as i32));
    let rows: Vec<Row> = prevalences.map(|p| basis.row(p, configured)).collect();
    let curve = |name: String, of: &dyn Fn(&Row) -> Option<f64>| Curve {
        name,
        points: rows.iter().filter_map(|r| Some((100.0 * r.prevalence, 100.0 * of(r)?))).collect(),
        marks: false,
    };
    let mut curves = vec![curve("planned".into(), &|r| Some(r.planned.relative_cost))];
    if let Some(line) = rows.first().and_then(|r| r.configured.as_ref()) {
        let name = format!("configured: {}", line.plan);
        curves.push(curve(name, &|r| Some(r.configured.as_ref()?.relative_cost)));
    }
    curves.push(curve("two rounds without error".into(), &|r| Some(r.bounds.dorfman)));
    curves.push(curve("best nested without error".into(), &|r| Some(r.bounds.nested)));
    curves.push(curve("entropy".into(), &|r| Some(r.bounds.entropy)));
    curves
}

fn along_size(basis: &Basis, prevalence: f64) -> Curve {
    let points = basis.by_size(prevalence).into_iter().map(|(size, cost)| (size as f64, 100.0 * cost)).collect();
    Curve { name: format!("prevalence {} %", 100.0 * prevalence), points, marks: true }
}
