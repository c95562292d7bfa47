//! Cost against prevalence, and against the group size, as an SVG.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::super::CliError;
use super::row::{Basis, Row};
use crate::planner::Link;

const SIZE: (u32, u32) = (1180, 520);
const POINTS: usize = 60;
const PREVALENCES: (f64, f64) = (0.0001, 0.3);

/// Colours that stay apart for colour-blind readers: M. Okabe and K. Ito, "Color Universal Design" (2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A named line.
struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws both pictures side by side.
///
/// # Errors
/// [`CliError`] where a plan can't be made, or with what the drawing library says.
pub(super) fn draw(
    bundle: &str,
    basis: &Basis,
    prevalences: &[f64],
    configured: Option<&[Link]>,
) -> Result<String, CliError> {
    let along = along_prevalence(basis, configured)?;
    let sizes: Result<Vec<Curve>, CliError> = prevalences.iter().map(|&p| along_size(basis, p)).collect();
    let mut svg = String::new();
    paint(bundle, &along, &sizes?, &mut svg).map_err(|e| CliError::Failed(format!("--picture: {e}")))?;
    Ok(svg)
}

fn along_prevalence(basis: &Basis, configured: Option<&[Link]>) -> Result<Vec<Curve>, CliError> {
    let step = (PREVALENCES.1 / PREVALENCES.0).powf(1.0 / (POINTS - 1) as f64);
    let prevalences = (0..POINTS).map(|i| PREVALENCES.0 * step.powi(i as i32));
    let rows: Result<Vec<Row>, CliError> = prevalences.map(|p| basis.row(p, configured)).collect();
    let rows = rows?;
    let curve = |name: &str, of: &dyn Fn(&Row) -> Option<f64>| Curve {
        name: name.into(),
        points: rows.iter().filter_map(|r| Some((100.0 * r.prevalence, 100.0 * of(r)?))).collect(),
    };
    let mut curves = vec![curve("planned", &|r| Some(r.planned.relative_cost))];
    if let Some(line) = rows.first().and_then(|r| r.configured.as_ref()) {
        let name = format!("configured: {}", line.plan);
        curves.push(curve(&name, &|r| Some(r.configured.as_ref()?.relative_cost)));
    }
    curves.push(curve("two rounds without error", &|r| Some(r.bounds.dorfman)));
    curves.push(curve("best nested without error", &|r| Some(r.bounds.nested)));
    curves.push(curve("entropy", &|r| Some(r.bounds.entropy)));
    Ok(curves)
}

fn along_size(basis: &Basis, prevalence: f64) -> Result<Curve, CliError> {
    let points = basis.by_size(prevalence)?.into_iter().map(|(size, cost)| (size as f64, 100.0 * cost)).collect();
    Ok(Curve { name: format!("prevalence {} %", 100.0 * prevalence), points })
}

fn paint(bundle: &str, along: &[Curve], sizes: &[Curve], svg: &mut String) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(bundle, ("sans-serif", 20))?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    chart(&left, along, "prevalence, %", 100.0 * PREVALENCES.0..100.0 * PREVALENCES.1, false)?;
    let largest = sizes.iter().flat_map(|c| &c.points).map(|p| p.0).fold(2.0, f64::max);
    chart(&right, sizes, "images of a group, the rest of the plan the best for it", 1.0..largest, true)?;
    root.present()?;
    Ok(())
}

fn chart(area: &Canvas<'_>, curves: &[Curve], along: &str, range: std::ops::Range<f64>, marks: bool) -> Drawn {
    let top = curves.iter().flat_map(|c| &c.points).map(|p| p.1).fold(100.0, f64::max).min(150.0);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .x_label_area_size(46)
        .y_label_area_size(60)
        .build_cartesian_2d(range.log_scale(), 0.0..top * 1.04)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc(along)
        .y_desc("expected cost, % of individual testing")
        .x_label_formatter(&|x| format!("{}", (x * 1000.0).round() / 1000.0))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()?;
    for (i, curve) in curves.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let line = LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2));
        chart
            .draw_series(line)?
            .label(curve.name.clone())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], colour.stroke_width(2)));
        if marks {
            chart.draw_series(curve.points.iter().map(|&p| Circle::new(p, 3, colour.filled())))?;
        }
    }
    let place = if marks { SeriesLabelPosition::UpperRight } else { SeriesLabelPosition::UpperLeft };
    chart
        .configure_series_labels()
        .position(place)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 14))
        .draw()?;
    Ok(())
}
