//! The chart of total against active parameters.
//!
//! [`write_svg`] draws total against active parameters, both on logarithmic axes, one labelled point a model,
//! the inspected one filled and in colour. On the diagonal every parameter is active, as in a dense model;
//! the distance to it is what a mixture of experts saves.
//!
//! What all pictures share is here too: colors, the lines of their axes ([`with_lines`]), and how they get
//! into a file ([`write_picture`]).

use anyhow::{Context, Result};
use plotters::chart::MeshStyle;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::output::Target;

/// One point of the chart.
#[derive(Debug, Clone)]
pub struct ChartPoint {
    /// The model's name.
    pub name: String,
    /// All parameters.
    pub total: u64,
    /// Those one token uses.
    pub active: u64,
    /// Whether it is the model that was asked about.
    pub inspected: bool,
}

/// Size of the picture in SVG units.
const SIZE: (u32, u32) = (860, 560);
/// Units of the axes: billions of parameters.
const BILLION: f64 = 1e9;
/// Color of text and axes.
pub const INK: RGBColor = RGBColor(60, 64, 72);
/// Color of lines behind a chart.
pub const GRID: RGBColor = RGBColor(228, 230, 234);
/// Color of what should be seen first.
pub const HIGHLIGHT: RGBColor = RGBColor(190, 60, 20);
/// Color of what stands beside that.
pub const SECOND: RGBColor = RGBColor(31, 111, 139);

/// Draws a picture and writes it into `target`, so that there is never half of one.
///
/// Errors: `failed` with what `draw` says; the file cannot be written.
pub fn write_picture(
    target: &Target,
    failed: &'static str,
    draw: impl FnOnce(&mut String) -> Result<()>,
) -> Result<()> {
    let mut svg = String::new();
    draw(&mut svg).context(failed)?;
    target.write(|out| Ok(std::io::Write::write_all(out, svg.as_bytes())?))
}

/// The lines and labels that the axes of all pictures have.
pub fn with_lines<'m, 'a, 'b, X: Ranged, Y: Ranged, DB: DrawingBackend>(
    mesh: &'m mut MeshStyle<'a, 'b, X, Y, DB>,
) -> &'m mut MeshStyle<'a, 'b, X, Y, DB> {
    mesh.bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(INK)
        .label_style(("sans-serif", 13).into_font().color(&INK))
}

/// Draws the points into `target`.
///
/// Errors: the file cannot be written.
pub fn write_svg(target: &Target, points: &[ChartPoint]) -> Result<()> {
    write_picture(target, "cannot draw the chart", |svg| draw(svg, points))
}

fn draw(svg: &mut String, points: &[ChartPoint]) -> Result<()> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (low, high) = axis_range(points);
    let mut chart = ChartBuilder::on(&root)
        .caption("Total and active parameters", ("sans-serif", 22).into_font().color(&INK))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d((low..high).log_scale(), (low..high).log_scale())?;
    with_lines(&mut chart.configure_mesh())
        .label_style(("sans-serif", 14).into_font().color(&INK))
        .x_desc("total parameters, billions")
        .y_desc("active parameters per token, billions")
        .x_label_formatter(&|value| axis_label(*value))
        .y_label_formatter(&|value| axis_label(*value))
        .draw()?;
    let diagonal = [(low, low), (high, high)];
    chart.draw_series(std::iter::once(PathElement::new(diagonal, GRID.stroke_width(2))))?;
    let centre = (low * high).sqrt();
    for point in points {
        let at = (point.total as f64 / BILLION, point.active as f64 / BILLION);
        let (colour, radius) = if point.inspected { (HIGHLIGHT, 8) } else { (INK, 5) };
        let fill = if point.inspected { colour.filled() } else { colour.stroke_width(2) };
        let (shift, side) = label_place(at.0, centre);
        let style = ("sans-serif", 14).into_font().color(&colour).pos(Pos::new(side, VPos::Bottom));
        let label = format!("{} ({} / {})", point.name, short(point.total), short(point.active));
        let dot =
            EmptyElement::at(at) + Circle::new((0, 0), radius, fill) + Text::new(label, (shift, -4), style);
        chart.draw_series(std::iter::once(dot))?;
    }
    root.present()?;
    Ok(())
}

/// The same range on both axes, a factor beyond the outermost points, so that the diagonal means "all
/// active".
fn axis_range(points: &[ChartPoint]) -> (f64, f64) {
    let values = || points.iter().flat_map(|p| [p.total, p.active]).map(|n| (n as f64 / BILLION).max(1e-6));
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(0.0, f64::max);
    (low / 1.6, high * 1.6)
}

/// Labels at 1, 2 and 5 of every power of ten; more would touch each other.
fn axis_label(billions: f64) -> String {
    let power = billions.log10().floor();
    let digit = (billions / 10_f64.powf(power)).round();
    match digit {
        d if d != 1.0 && d != 2.0 && d != 5.0 && d != 10.0 => String::new(),
        _ if billions >= 1.0 => format!("{billions:.0}"),
        _ => format!("{}", (billions * 1e6).round() / 1e6),
    }
}

/// The label of a dot stands to its left in the right half of the picture, so that it stays inside.
fn label_place(billions: f64, centre: f64) -> (i32, HPos) {
    if billions > centre { (-12, HPos::Right) } else { (12, HPos::Left) }
}

/// A count of parameters as people say it: 116.83 B, 2.3 M.
pub fn short(count: u64) -> String {
    match count {
        n if n >= 1_000_000_000 => format!("{:.2} B", n as f64 / 1e9),
        n if n >= 1_000_000 => format!("{:.2} M", n as f64 / 1e6),
        n if n >= 1_000 => format!("{:.2} k", n as f64 / 1e3),
        n => n.to_string(),
    }
}
