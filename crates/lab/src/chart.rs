//! Line charts as SVG, two side by side.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::CliError;

const SIZE: (u32, u32) = (1180, 520);

/// Colours that stay apart for colour-blind readers: M. Okabe and K. Ito, "Color Universal Design" (2008).
pub(super) const COLOURS: [RGBColor; 6] = [
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
pub(super) struct Curve {
    /// What it is.
    pub(super) name: String,
    /// Where it runs.
    pub(super) points: Vec<(f64, f64)>,
    /// Whether its points are marked.
    pub(super) marks: bool,
}

/// The axes of a chart.
pub(super) struct Scale {
    along: String,
    up: String,
    range: Range<f64>,
    logarithmic: bool,
}

impl Scale {
    /// Both axes linear.
    pub(super) fn linear(along: &str, up: &str, range: Range<f64>) -> Self {
        Self { along: along.into(), up: up.into(), range, logarithmic: false }
    }

    /// The horizontal axis logarithmic.
    pub(super) fn logarithmic(along: &str, up: &str, range: Range<f64>) -> Self {
        Self { logarithmic: true, ..Self::linear(along, up, range) }
    }
}

/// Draws two charts under a title.
///
/// # Errors
/// [`CliError::Failed`] with what the drawing library says.
pub(super) fn draw_side_by_side(title: &str, charts: [(Vec<Curve>, Scale); 2]) -> Result<String, CliError> {
    let mut svg = String::new();
    paint(title, &charts, &mut svg).map_err(|e| CliError::Failed(format!("--picture: {e}")))?;
    Ok(svg)
}

fn paint(title: &str, charts: &[(Vec<Curve>, Scale); 2], svg: &mut String) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(title, ("sans-serif", 20))?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    for (area, (curves, scale)) in [left, right].iter().zip(charts) {
        match scale.logarithmic {
            true => chart(area, curves, scale, scale.range.clone().log_scale())?,
            false => chart(area, curves, scale, scale.range.clone())?,
        }
    }
    root.present()?;
    Ok(())
}

fn chart<X>(area: &Canvas<'_>, curves: &[Curve], scale: &Scale, along: X) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let highest = curves.iter().flat_map(|c| &c.points).map(|p| p.1).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .x_label_area_size(46)
        .y_label_area_size(60)
        .build_cartesian_2d(along, 0.0..(highest * 1.3).max(1e-6))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc(&scale.along)
        .y_desc(&scale.up)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()?;
    for (i, curve) in curves.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let line = LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2));
        let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], colour.stroke_width(2));
        chart.draw_series(line)?.label(curve.name.clone()).legend(legend);
        if curve.marks {
            chart.draw_series(curve.points.iter().map(|&p| Circle::new(p, 3, colour.filled())))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 14))
        .draw()?;
    Ok(())
}

/// Up to four digits, no trailing zeros.
fn number(x: f64) -> String {
    format!("{}", (x * 1e4).round() / 1e4)
}
