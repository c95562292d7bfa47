//! Recall against seconds as SVG: one curve per bundle, policy and prevalence; individual testing
//! as a dashed line.
//!
//! With several bundles, each bundle has a colour, and marks distinguish its policies and
//! prevalences.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::EvaluateReport;
use super::row::ReportRow;
use super::table::short;
use crate::LabError;
use crate::chart::{COLOURS, Canvas, Drawn};
use crate::table::percent;

const WIDTH: u32 = 1080;
/// The least height.
const HEIGHT: u32 = 620;
const LEGEND: u32 = 370;
const LINE_HEIGHT: i32 = 22;

/// The number of different marks. Further curves use them again.
const MARKS: usize = 4;

/// A curve of the picture.
struct Series<'a> {
    name: String,
    colour: RGBColor,
    mark: usize,
    rows: Vec<&'a ReportRow>,
}

/// The order of the rows along a curve.
fn position(row: &ReportRow) -> (usize, Option<f64>) {
    (row.case.group_size, row.case.sensitivities.pooled)
}

/// The label of a point: the setting that changes along the curve.
fn label(curve: &Series<'_>, row: &ReportRow) -> String {
    let one_size = curve.rows.iter().all(|r| r.case.group_size == row.case.group_size);
    match row.case.sensitivities.pooled {
        Some(sensitivity) if one_size && curve.rows.len() > 1 => sensitivity.to_string(),
        _ => row.case.group_size.to_string(),
    }
}

/// Draws the report.
///
/// # Errors
/// [`LabError::Picture`].
pub(super) fn draw(report: &EvaluateReport) -> Result<String, LabError> {
    let mut svg = String::new();
    paint(report, &mut svg).map_err(LabError::Picture)?;
    Ok(svg)
}

fn paint(report: &EvaluateReport, svg: &mut String) -> Drawn {
    let (curves, lines) = series(report);
    let entries = (curves.len() + lines.len() + 4) as u32;
    let height = HEIGHT.max(entries * LINE_HEIGHT as u32);
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let (plot, legend_area) = root.split_horizontally(WIDTH - LEGEND);
    chart(&plot, &curves, &lines)?;
    legend(&legend_area, &curves, &lines)?;
    root.present()?;
    Ok(())
}

/// The curves of grouped rows, and the lines of individual ones. A curve connects the group sizes
/// or, if there is only one size, the pooled sensitivities.
fn series(report: &EvaluateReport) -> (Vec<Series<'_>>, Vec<Series<'_>>) {
    let rows = &report.rows;
    let naming = Naming::new(report);
    let mut curves: BTreeMap<String, Vec<&ReportRow>> = BTreeMap::new();
    let mut lines: BTreeMap<String, Vec<&ReportRow>> = BTreeMap::new();
    for row in rows {
        let grouped = row.case.sensitivities.pooled.is_some();
        let of_kind = if grouped { &mut curves } else { &mut lines };
        of_kind.entry(naming.name(row)).or_default().push(row);
    }
    let colours = Colours::new(rows);
    let mut marks: BTreeMap<&str, usize> = BTreeMap::new();
    let curves = curves.into_iter().enumerate().map(|(i, (name, mut rows))| {
        rows.sort_by(|a, b| position(a).partial_cmp(&position(b)).unwrap_or(Ordering::Equal));
        let next = marks.entry(&rows[0].case.bundle).or_default();
        let mark = if colours.by_bundle() { std::mem::replace(next, *next + 1) } else { 0 };
        Series { name, colour: colours.curve(i, rows[0]), mark, rows }
    });
    let curves = curves.collect();
    let lines = lines.into_iter().enumerate().map(|(i, (name, rows))| Series {
        name,
        colour: colours.line(i, rows[0]),
        mark: 0,
        rows,
    });
    (curves, lines.collect())
}

/// Names of curves. A setting is part of the name only if it differs between rows.
struct Naming<'a> {
    report: &'a EvaluateReport,
    prevalences: bool,
    individuals: bool,
    sizes: bool,
    pooled: bool,
    confirms: bool,
}

impl<'a> Naming<'a> {
    fn new(report: &'a EvaluateReport) -> Self {
        fn differs<'r, T: PartialEq>(
            mut rows: impl Iterator<Item = &'r ReportRow>,
            of: impl Fn(&ReportRow) -> T,
        ) -> bool {
            let Some(first) = rows.next().map(&of) else { return false };
            rows.any(|row| of(row) != first)
        }
        let all = || report.rows.iter();
        let grouped = || all().filter(|row| row.case.sensitivities.pooled.is_some());
        Self {
            report,
            prevalences: differs(all(), |row| row.case.prevalence),
            individuals: differs(all(), |row| row.case.sensitivities.individual),
            sizes: differs(grouped(), |row| row.case.group_size),
            pooled: differs(grouped(), |row| row.case.sensitivities.pooled),
            confirms: differs(grouped(), |row| row.case.sensitivities.confirm),
        }
    }

    fn name(&self, row: &ReportRow) -> String {
        let case = &row.case;
        let bundle = short(&self.report.bundles, &case.bundle);
        let mut name = format!("{bundle} ({}), {}", case.design, case.policy);
        let pooled = case.sensitivities.pooled;
        if self.prevalences && pooled.is_some() {
            name += &format!(", {}", percent(case.prevalence, 2));
        }
        if let Some(sensitivity) = pooled.filter(|_| self.sizes && self.pooled) {
            name += &format!(", pooled {sensitivity}");
        }
        if self.individuals {
            name += &format!(" at {}", case.sensitivities.individual);
        }
        if let Some(confirm) = case.sensitivities.confirm.filter(|_| self.confirms) {
            name += &format!(", confirmed at {confirm}");
        }
        name
    }
}

/// The colours: one per bundle or, with one bundle, one per curve.
struct Colours<'a> {
    bundles: Vec<&'a str>,
}

impl<'a> Colours<'a> {
    fn new(rows: &'a [ReportRow]) -> Self {
        let mut bundles: Vec<&str> = rows.iter().map(|r| &*r.case.bundle).collect();
        bundles.dedup();
        Self { bundles }
    }

    fn by_bundle(&self) -> bool {
        self.bundles.len() > 1
    }

    fn bundle(&self, row: &ReportRow) -> RGBColor {
        let at = self.bundles.iter().position(|&b| b == row.case.bundle);
        COLOURS[at.unwrap_or_default() % COLOURS.len()]
    }

    fn curve(&self, index: usize, row: &ReportRow) -> RGBColor {
        if self.by_bundle() { self.bundle(row) } else { COLOURS[index % COLOURS.len()] }
    }

    fn line(&self, index: usize, row: &ReportRow) -> RGBColor {
        let greys = [RGBColor(60, 60, 60), RGBColor(120, 120, 120), RGBColor(170, 170, 170)];
        if self.by_bundle() { self.bundle(row) } else { greys[index % greys.len()] }
    }
}

/// The point of a row in per cent. `None` if nothing was counted for its recall.
fn point(row: &ReportRow) -> Option<(f64, f64)> {
    Some((100.0 * row.relative_network_seconds, 100.0 * row.recall.value?))
}

/// The right end of the horizontal axis and the lower end of the vertical axis, in per cent.
fn limits(curves: &[Series<'_>], lines: &[Series<'_>]) -> (f64, f64) {
    let points = |series: &[Series<'_>]| -> Vec<(f64, f64)> {
        series.iter().flat_map(|s| &s.rows).filter_map(|row| point(row)).collect()
    };
    let (curves, lines) = (points(curves), points(lines));
    let lowest = curves.iter().chain(&lines).map(|p| p.1).fold(100.0, f64::min);
    let bottom = (lowest - 0.15 * (100.0 - lowest) - 0.5).floor().max(0.0);
    let right = (curves.iter().map(|p| p.0).fold(20.0, f64::max) * 1.15).ceil();
    (right, bottom)
}

fn chart(plot: &Canvas<'_>, curves: &[Series<'_>], lines: &[Series<'_>]) -> Drawn {
    let (right, bottom) = limits(curves, lines);
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
        let style = line.colour.stroke_width(2);
        chart.draw_series(DashedLineSeries::new([(0.0, y), (right, y)], 7, 5, style))?;
    }
    for curve in curves {
        let rows: Vec<(&ReportRow, (f64, f64))> =
            curve.rows.iter().filter_map(|row| Some((*row, point(row)?))).collect();
        let points: Vec<(f64, f64)> = rows.iter().map(|(_, point)| *point).collect();
        for &(row, (x, _)) in &rows {
            let low = (100.0 * row.recall.low).max(bottom);
            let ends = vec![(x, low), (x, 100.0 * row.recall.high)];
            let style = curve.colour.mix(0.35).stroke_width(1);
            chart.draw_series([PathElement::new(ends, style)])?;
        }
        let style = curve.colour.stroke_width(2);
        chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        let (full, thin) = (curve.colour.filled(), curve.colour.stroke_width(2));
        match curve.mark % MARKS {
            0 => chart.draw_series(points.iter().map(|&p| Circle::new(p, 4, full)))?,
            1 => chart.draw_series(points.iter().map(|&p| Circle::new(p, 4, thin)))?,
            2 => chart.draw_series(points.iter().map(|&p| TriangleMarker::new(p, 5, full)))?,
            _ => chart.draw_series(points.iter().map(|&p| Cross::new(p, 4, thin)))?,
        };
        let text = |&(row, point): &(&ReportRow, (f64, f64))| {
            let anchor = Pos::new(HPos::Left, VPos::Bottom);
            let style = ("sans-serif", 13).into_font().color(&curve.colour).pos(anchor);
            EmptyElement::at(point) + Text::new(label(curve, row), (6, -3), style)
        };
        chart.draw_series(rows.iter().map(text))?;
    }
    Ok(())
}

/// The legend, beside the chart so that it hides no points.
fn legend(area: &Canvas<'_>, curves: &[Series<'_>], lines: &[Series<'_>]) -> Drawn {
    let text = |colour: &RGBColor| {
        let anchor = Pos::new(HPos::Left, VPos::Center);
        ("sans-serif", 14).into_font().color(colour).pos(anchor)
    };
    let mut y = 34;
    for curve in curves {
        let style = curve.colour.stroke_width(2);
        area.draw(&PathElement::new(vec![(4, y), (32, y)], style))?;
        let (full, thin) = (curve.colour.filled(), curve.colour.stroke_width(2));
        match curve.mark % MARKS {
            0 => area.draw(&Circle::new((18, y), 4, full))?,
            1 => area.draw(&Circle::new((18, y), 4, thin))?,
            2 => area.draw(&TriangleMarker::new((18, y), 5, full))?,
            _ => area.draw(&Cross::new((18, y), 4, thin))?,
        }
        area.draw(&Text::new(curve.name.clone(), (40, y), text(&BLACK)))?;
        y += LINE_HEIGHT;
    }
    for line in lines {
        for x in [4, 14, 24] {
            let style = line.colour.stroke_width(2);
            area.draw(&PathElement::new(vec![(x, y), (x + 7, y)], style))?;
        }
        area.draw(&Text::new(line.name.clone(), (40, y), text(&BLACK)))?;
        y += LINE_HEIGHT;
    }
    let grey = RGBColor(90, 90, 90);
    for note in [
        "At the points: images per group, or else pooled sensitivity.",
        "Bars: 95 % interval of the recall.",
    ] {
        y += LINE_HEIGHT;
        area.draw(&Text::new(note, (4, y), text(&grey)))?;
    }
    Ok(())
}
