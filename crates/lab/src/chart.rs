//! Line charts as SVG, two side by side.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::LabError;

const SIZE: (u32, u32) = (1180, 520);

/// Colours that colour-blind readers can tell apart: M. Okabe and K. Ito, "Color Universal Design"
/// (2008).
pub(crate) const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// Greys of the lines for comparison.
const GREYS: [RGBColor; 3] =
    [RGBColor(70, 70, 70), RGBColor(125, 125, 125), RGBColor(175, 175, 175)];

/// The error of the drawing library.
pub type PictureError = Box<dyn Error + Send + Sync>;

pub(crate) type Drawn = Result<(), PictureError>;
pub(crate) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CurveStyle {
    /// A wide line, which stays visible below another line.
    Main,
    /// A line.
    Plain,
    /// A line with marked points.
    Marked,
    /// A thin grey line, for comparison.
    Reference,
}

/// A named line.
pub(crate) struct Curve {
    /// The name in the legend.
    pub name: String,
    /// The points of the line, in order.
    pub points: Vec<(f64, f64)>,
    /// How the line is drawn.
    pub style: CurveStyle,
}

/// The axes of a chart.
pub(crate) struct Axes {
    horizontal: String,
    vertical: String,
    range: Range<f64>,
    logarithmic: bool,
}

impl Axes {
    /// Linear axes with the given titles. `range` is that of the horizontal axis.
    pub fn linear(horizontal: &str, vertical: &str, range: Range<f64>) -> Self {
        Self { horizontal: horizontal.into(), vertical: vertical.into(), range, logarithmic: false }
    }

    /// As [`Axes::linear`], with a logarithmic horizontal axis.
    pub fn logarithmic(horizontal: &str, vertical: &str, range: Range<f64>) -> Self {
        Self { logarithmic: true, ..Self::linear(horizontal, vertical, range) }
    }
}

/// Draws two charts under a title, as SVG.
///
/// # Errors
/// [`LabError::Picture`] with the error of the drawing library.
pub(crate) fn draw_side_by_side(
    title: &str,
    charts: [(Vec<Curve>, Axes); 2],
) -> Result<String, LabError> {
    let mut svg = String::new();
    paint(title, &charts, &mut svg).map_err(LabError::Picture)?;
    Ok(svg)
}

fn paint(title: &str, charts: &[(Vec<Curve>, Axes); 2], svg: &mut String) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(title, ("sans-serif", 20))?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    for (area, (curves, axes)) in [left, right].iter().zip(charts) {
        if axes.logarithmic {
            chart(area, curves, axes, axes.range.clone().log_scale())?;
        } else {
            chart(area, curves, axes, axes.range.clone())?;
        }
    }
    root.present()?;
    Ok(())
}

fn chart<X>(area: &Canvas<'_>, curves: &[Curve], axes: &Axes, horizontal: X) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let highest = curves.iter().flat_map(|c| &c.points).map(|p| p.1).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .x_label_area_size(46)
        .y_label_area_size(60)
        .build_cartesian_2d(horizontal, 0.0..(highest * 1.3).max(1e-6))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc(&axes.horizontal)
        .y_desc(&axes.vertical)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()?;
    for (i, curve) in curves.iter().enumerate() {
        let (colour, width) = match curve.style {
            CurveStyle::Main => (COLOURS[i % COLOURS.len()], 6),
            CurveStyle::Plain | CurveStyle::Marked => (COLOURS[i % COLOURS.len()], 2),
            CurveStyle::Reference => (GREYS[i % GREYS.len()], 1),
        };
        let line = LineSeries::new(curve.points.iter().copied(), colour.stroke_width(width));
        let legend =
            move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], colour.stroke_width(width));
        chart.draw_series(line)?.label(curve.name.clone()).legend(legend);
        if curve.style == CurveStyle::Marked {
            let mark = |&point: &(f64, f64)| Circle::new(point, 3, colour.filled());
            chart.draw_series(curve.points.iter().map(mark))?;
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

/// A number with at most four decimals and without trailing zeros.
fn number(x: f64) -> String {
    format!("{}", (x * 1e4).round() / 1e4)
}
