//! Recall against seconds as an SVG: a curve a bundle, policy and prevalence, individual testing as a line.
//!
//! Where there are several bundles, each has a colour, and a mark tells its policies and prevalences apart.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::CliError;
use super::super::chart::COLOURS;
use super::Report;
use super::row::Row;
use super::table::{percent, short};

const WIDTH: u32 = 1080;
const HEIGHT: u32 = 620; // at least
const LEGEND: u32 = 370;
const ROW: i32 = 22;

/// How many marks there are; what needs more starts again.
const MARKS: usize = 4;

/// A line of the picture.
struct Series<'a> {
    name: String,
    colour: RGBColor,
    mark: usize,
    rows: Vec<&'a Row>,
}

/// What a curve runs along.
fn along(row: &Row) -> (usize, Option<f64>) {
    (row.case.group_size, row.case.sensitivities.pooled)
}

/// What stands at a point: what changes along the curve.
fn label(curve: &Series<'_>, row: &Row) -> String {
    let same = curve.rows.iter().all(|r| r.case.group_size == row.case.group_size);
    match row.case.sensitivities.pooled {
        Some(sensitivity) if same && curve.rows.len() > 1 => format!("{sensitivity}"),
        _ => row.case.group_size.to_string(),
    }
}

/// Draws the report.
///
/// # Errors
/// [`CliError::Failed`] with what the drawing library says.
pub(super) fn draw(report: &Report) -> Result<String, CliError> {
    let mut svg = String::new();
    paint(report, &mut svg).map_err(|e| CliError::Failed(format!("--picture: {e}")))?;
    Ok(svg)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn paint(report: &Report, svg: &mut String) -> Drawn {
    let (curves, lines) = series(report);
    let entries = (curves.len() + lines.len() + 4) as u32;
    let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT.max(entries * ROW as u32))).into_drawing_area();
    root.fill(&WHITE)?;
    let (plot, legend) = root.split_horizontally(WIDTH - LEGEND);
    chart(&plot, &curves, &lines)?;
    key(&legend, &curves, &lines)?;
    root.present()?;
    Ok(())
}

/// Curves of grouped rows, and lines of individual ones. A curve runs through the sizes; through the sensitivities where there is one size.
fn series(report: &Report) -> (Vec<Series<'_>>, Vec<Series<'_>>) {
    let rows = &report.rows;
    let several = |of: &dyn Fn(&Row) -> String| rows.iter().any(|r| of(r) != of(&rows[0]));
    let prevalences = several(&|r| r.case.prevalence.to_string());
    let individuals = several(&|r| r.case.sensitivities.individual.to_string());
    let grouped = || rows.iter().filter(|r| r.case.sensitivities.pooled.is_some());
    let sizes = grouped().any(|r| Some(r.case.group_size) != grouped().next().map(|f| f.case.group_size));
    let pooled =
        grouped().any(|r| r.case.sensitivities.pooled != grouped().next().and_then(|f| f.case.sensitivities.pooled));
    let confirms =
        grouped().any(|r| r.case.sensitivities.confirm != grouped().next().and_then(|f| f.case.sensitivities.confirm));
    let mut curves: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    let mut lines: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let case = &row.case;
        let mut name = format!("{} ({}), {}", short(&report.bundles, &case.bundle), case.design, case.policy);
        let Some(s) = case.sensitivities.pooled else {
            if individuals {
                name += &format!(" at {}", case.sensitivities.individual);
            }
            lines.entry(name).or_default().push(row);
            continue;
        };
        if prevalences {
            name += &format!(", {}", percent(case.prevalence, 2));
        }
        if sizes && pooled {
            name += &format!(", pooled {s}");
        }
        if individuals {
            name += &format!(" at {}", case.sensitivities.individual);
        }
        if let Some(confirm) = case.sensitivities.confirm.filter(|_| confirms) {
            name += &format!(", confirmed at {confirm}");
        }
        curves.entry(name).or_default().push(row);
    }
    let colours = Colours::new(rows);
    let mut marks: BTreeMap<&str, usize> = BTreeMap::new();
    let curves = curves.into_iter().enumerate().map(|(i, (name, mut rows))| {
        rows.sort_by(|a, b| along(a).partial_cmp(&along(b)).unwrap_or(Ordering::Equal));
        let next = marks.entry(&rows[0].case.bundle).or_default();
        let mark = if colours.by_bundle() { std::mem::replace(next, *next + 1) } else { 0 };
        Series { name, colour: colours.curve(i, rows[0]), mark, rows }
    });
    let curves = curves.collect();
    let lines = lines.into_iter().enumerate();
    let lines = lines.map(|(i, (name, rows))| Series { name, colour: colours.line(i, rows[0]), mark: 0, rows });
    (curves, lines.collect())
}

/// Which colour is whose: a bundle's, or where there is one bundle, a curve's.
struct Colours<'a> {
    bundles: Vec<&'a str>,
}

impl<'a> Colours<'a> {
    fn new(rows: &'a [Row]) -> Self {
        let mut bundles: Vec<&str> = rows.iter().map(|r| &*r.case.bundle).collect();
        bundles.dedup();
        Self { bundles }
    }

    fn by_bundle(&self) -> bool {
        self.bundles.len() > 1
    }

    fn bundle(&self, row: &Row) -> RGBColor {
        let at = self.bundles.iter().position(|&b| b == row.case.bundle);
        COLOURS[at.unwrap_or_default() % COLOURS.len()]
    }

    fn curve(&self, index: usize, row: &Row) -> RGBColor {
        if self.by_bundle() { self.bundle(row) } else { COLOURS[index % COLOURS.len()] }
    }

    fn line(&self, index: usize, row: &Row) -> RGBColor {
        let greys = [RGBColor(60, 60, 60), RGBColor(120, 120, 120), RGBColor(170, 170, 170)];
        if self.by_bundle() { self.bundle(row) } else { greys[index % greys.len()] }
    }
}

/// The point of a row in per cent, if it has a recall.
fn point(row: &Row) -> Option<(f64, f64)> {
    Some((100.0 * row.relative_network_seconds, 100.0 * row.recall.value?))
}

fn chart(plot: &Canvas<'_>, curves: &[Series<'_>], lines: &[Series<'_>]) -> Drawn {
    let points: Vec<(f64, f64)> = curves.iter().flat_map(|c| &c.rows).filter_map(|r| point(r)).collect();
    let floor = lines.iter().flat_map(|l| &l.rows).filter_map(|r| point(r)).map(|p| p.1);
    let lowest = points.iter().map(|p| p.1).chain(floor).fold(100.0, f64::min);
    let bottom = (lowest - 0.15 * (100.0 - lowest) - 0.5).floor().max(0.0);
    let right = (points.iter().map(|p| p.0).fold(20.0, f64::max) * 1.15).ceil();
    let mut chart = ChartBuilder::on(plot)
        .margin(18)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, bottom..(100.0 + 0.03 * (100.0 - bottom)))?;
    let style = ("sans-serif", 15).into_font();
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc("seconds in the network, % of individual testing")
        .y_desc("recall, %")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.1}"))
        .label_style(style.clone())
        .axis_desc_style(("sans-serif", 16))
        .draw()?;
    for line in lines {
        let Some((_, y)) = line.rows.first().and_then(|r| point(r)) else { continue };
        let dashes = DashedLineSeries::new([(0.0, y), (right, y)], 7, 5, line.colour.stroke_width(2));
        chart.draw_series(dashes)?;
    }
    for curve in curves {
        let points: Vec<(f64, f64)> = curve.rows.iter().filter_map(|r| point(r)).collect();
        for (row, &(x, _)) in curve.rows.iter().filter(|r| r.recall.value.is_some()).zip(&points) {
            let ends = vec![(x, (100.0 * row.recall.low).max(bottom)), (x, 100.0 * row.recall.high)];
            chart.draw_series([PathElement::new(ends, curve.colour.mix(0.35).stroke_width(1))])?;
        }
        chart.draw_series(LineSeries::new(points.iter().copied(), curve.colour.stroke_width(2)))?;
        let (full, thin) = (curve.colour.filled(), curve.colour.stroke_width(2));
        match curve.mark % MARKS {
            0 => chart.draw_series(points.iter().map(|&p| Circle::new(p, 4, full)))?,
            1 => chart.draw_series(points.iter().map(|&p| Circle::new(p, 4, thin)))?,
            2 => chart.draw_series(points.iter().map(|&p| TriangleMarker::new(p, 5, full)))?,
            _ => chart.draw_series(points.iter().map(|&p| Cross::new(p, 4, thin)))?,
        };
        let mark = |(row, &p): (&&Row, &(f64, f64))| {
            let anchor = Pos::new(HPos::Left, VPos::Bottom);
            let style = ("sans-serif", 13).into_font().color(&curve.colour).pos(anchor);
            EmptyElement::at(p) + Text::new(label(curve, row), (6, -3), style)
        };
        let known: Vec<&Row> = curve.rows.iter().copied().filter(|r| r.recall.value.is_some()).collect();
        chart.draw_series(known.iter().zip(&points).map(mark))?;
    }
    Ok(())
}

/// The legend, beside the points rather than over them.
fn key(area: &Canvas<'_>, curves: &[Series<'_>], lines: &[Series<'_>]) -> Drawn {
    let text = |colour: &RGBColor| ("sans-serif", 14).into_font().color(colour).pos(Pos::new(HPos::Left, VPos::Center));
    let mut y = 34;
    for curve in curves {
        area.draw(&PathElement::new(vec![(4, y), (32, y)], curve.colour.stroke_width(2)))?;
        let (full, thin) = (curve.colour.filled(), curve.colour.stroke_width(2));
        match curve.mark % MARKS {
            0 => area.draw(&Circle::new((18, y), 4, full))?,
            1 => area.draw(&Circle::new((18, y), 4, thin))?,
            2 => area.draw(&TriangleMarker::new((18, y), 5, full))?,
            _ => area.draw(&Cross::new((18, y), 4, thin))?,
        }
        area.draw(&Text::new(curve.name.clone(), (40, y), text(&BLACK)))?;
        y += ROW;
    }
    for line in lines {
        for x in [4, 14, 24] {
            area.draw(&PathElement::new(vec![(x, y), (x + 7, y)], line.colour.stroke_width(2)))?;
        }
        area.draw(&Text::new(line.name.clone(), (40, y), text(&BLACK)))?;
        y += ROW;
    }
    let grey = RGBColor(90, 90, 90);
    for note in ["At the points: images of a group, or else pooled sensitivity.", "Bars: 95 % interval of the recall."]
    {
        y += ROW;
        area.draw(&Text::new(note, (4, y), text(&grey)))?;
    }
    Ok(())
}
