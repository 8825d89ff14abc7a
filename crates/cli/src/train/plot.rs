//! The picture of a run: the loss of every step, its mean over some, and what was tested.

use anyhow::Result;
use plotters::prelude::*;

use super::log::Line;
use crate::chart::{GRID, HIGHLIGHT, INK, SECOND, with_lines, write_picture};
use crate::output::Target;

/// Size of the picture in SVG units.
const SIZE: (u32, u32) = (860, 480);
/// Share of the steps over which the mean goes.
const MEAN_SHARE: usize = 20;

/// Draws the steps of a run; nothing where there is none.
///
/// Errors: the file cannot be written.
pub fn write_svg(target: &Target, lines: &[Line]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    write_picture(target, "cannot draw the loss", |svg| draw(svg, lines))
}

fn draw(svg: &mut String, lines: &[Line]) -> Result<()> {
    let losses: Vec<(f64, f64)> = lines.iter().map(|line| (line.step as f64, line.score.loss)).collect();
    let valid: Vec<(f64, f64)> =
        lines.iter().filter_map(|line| Some((line.step as f64, line.valid?.loss))).collect();
    let width = (lines.len() / MEAN_SHARE).max(1);
    let means: Vec<(f64, f64)> = losses
        .windows(width)
        .map(|window| (window[width / 2].0, window.iter().map(|point| point.1).sum::<f64>() / width as f64))
        .collect();
    let all = || losses.iter().chain(&valid).map(|point| point.1);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let (low, high) = ((low - 0.1 * (high - low)).max(0.0), high + 0.05 * (high - low) + 1e-9);
    let steps = 0.0..losses.last().map_or(1.0, |point| point.0 + 1.0);
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Loss by step", ("sans-serif", 20).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(steps, low..high)?;
    with_lines(&mut chart.configure_mesh())
        .x_desc("step")
        .y_desc("loss: each step, its mean in red; tested in blue")
        .draw()?;
    chart.draw_series(std::iter::once(PathElement::new(losses, GRID.stroke_width(1))))?;
    chart.draw_series(std::iter::once(PathElement::new(means, HIGHLIGHT.stroke_width(2))))?;
    chart.draw_series(std::iter::once(PathElement::new(valid.clone(), SECOND.stroke_width(2))))?;
    chart.draw_series(valid.into_iter().map(|point| Circle::new(point, 4, SECOND.filled())))?;
    root.present()?;
    Ok(())
}
