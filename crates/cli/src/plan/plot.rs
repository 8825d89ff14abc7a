//! The picture of a plan: latencies by number of servers, and beside it which share of requests had their
//! first token after how long.

use anyhow::Result;
use plotters::prelude::*;

use super::figures::Figures;
use crate::chart::{INK, write_picture};
use crate::load::figures::Spread;
use crate::load::plot::{COLORS, LINE, SIZE, legend, most, plane, steps};
use crate::output::Target;

/// Numbers of servers whose distributions are drawn.
const CURVES_MAX: usize = 6;

/// One latency of a number of servers.
type Latency = fn(&Figures) -> Option<Spread>;

/// Draws a plan into `target`.
///
/// Errors: the file cannot be written.
pub fn write_svg(target: &Target, title: &str, tried: &[Figures]) -> Result<()> {
    write_picture(target, "cannot draw the plan", |svg| draw(svg, title, tried))
}

fn draw(svg: &mut String, title: &str, tried: &[Figures]) -> Result<()> {
    let mut sorted: Vec<&Figures> = tried.iter().collect();
    sorted.sort_by_key(|figures| figures.workers);
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(title, ("sans-serif", 20).into_font().color(&INK))?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    let kinds: [(&str, Latency); 3] = [
        ("TTFT p99", |figures| figures.ttft),
        ("TPOT p99", |figures| figures.tpot),
        ("E2EL p99", |figures| figures.e2e),
    ];
    let points = |of: Latency| -> Vec<(f64, f64)> {
        sorted.iter().filter_map(|figures| Some((figures.workers as f64, of(figures)?.p99))).collect()
    };
    let highest = most(kinds.iter().flat_map(|(_, of)| points(*of)).map(|point| point.1));
    let widest = most(sorted.iter().map(|figures| figures.workers as f64));
    let mut chart = plane(&left, 70, ("servers", widest), ("latency, ms", highest))?;
    for (place, ((name, of), color)) in kinds.into_iter().zip(COLORS).enumerate() {
        let points = points(of);
        chart.draw_series(std::iter::once(PathElement::new(points.clone(), color.stroke_width(2))))?;
        chart.draw_series(points.into_iter().map(|point| Circle::new(point, 4, color.filled())))?;
        legend(&left, (SIZE.0 as i32 / 2 - 120, 22 + LINE * place as i32), name, color)?;
    }
    let last = sorted.len().saturating_sub(CURVES_MAX);
    let shown = &sorted[last..];
    let x_max = most(shown.iter().filter_map(|figures| figures.first_tokens.last().copied()));
    let axes = (("time to the first token, ms", x_max), ("% of answered requests", 100.0));
    let mut chart = plane(&right, 56, axes.0, axes.1)?;
    for (place, (figures, color)) in shown.iter().zip(COLORS).enumerate() {
        let steps = steps(&figures.first_tokens);
        chart.draw_series(std::iter::once(PathElement::new(steps, color.stroke_width(2))))?;
        let from_below = LINE * (shown.len() - place) as i32;
        let at = (SIZE.0 as i32 / 2 - 150, SIZE.1 as i32 - 96 - from_below);
        let servers = if figures.workers == 1 { "1 server" } else { &format!("{} servers", figures.workers) };
        legend(&right, at, servers, color)?;
    }
    root.present()?;
    Ok(())
}
