//! The picture of a run: throughput against latency, level by level, and beside it which share of requests
//! had their first token after how long.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::figures::{Figures, Time};
use super::report::Measured;
use crate::chart::{HIGHLIGHT, INK, SECOND, with_lines, write_picture};
use crate::output::Target;

/// Size of the picture in SVG units.
pub const SIZE: (u32, u32) = (1080, 480);
/// Colors of the levels, in turn.
pub const COLORS: [RGBColor; 6] =
    [HIGHLIGHT, SECOND, RGBColor(106, 141, 47), RGBColor(122, 75, 157), RGBColor(176, 132, 20), INK];
/// From one name of a legend to the next, in SVG units.
pub const LINE: i32 = 17;
/// Space above the highest value.
const HEADROOM: f64 = 1.12;

/// A part of a picture.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Two axes.
pub type Plane<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws the run into `target`.
///
/// Errors: the file cannot be written.
pub fn write_svg(target: &Target, title: &str, measured: &[Measured]) -> Result<()> {
    write_picture(target, "cannot draw the run", |svg| draw(svg, title, measured))
}

fn draw(svg: &mut String, title: &str, measured: &[Measured]) -> Result<()> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(title, ("sans-serif", 20).into_font().color(&INK))?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    draw_sweep(&left, measured)?;
    draw_first_tokens(&right, measured)?;
    root.present()?;
    Ok(())
}

/// Axes from 0 to an end, each with its name; `y_label_room` is in SVG units.
pub fn plane<'a>(
    area: &Area<'a>,
    y_label_room: u32,
    (x_name, x_max): (&str, f64),
    (y_name, y_max): (&str, f64),
) -> Result<Plane<'a>> {
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(y_label_room)
        .build_cartesian_2d(0.0..x_max, 0.0..y_max)?;
    with_lines(&mut chart.configure_mesh())
        .x_label_formatter(&|value| axis_label(*value))
        .y_label_formatter(&|value| axis_label(*value))
        .x_desc(x_name)
        .y_desc(y_name)
        .draw()?;
    Ok(chart)
}

/// One figure of a level; None where nothing ended. Units: milliseconds.
type Latency = fn(&Figures) -> Option<f64>;

/// One point a level and kind of latency: output tokens a second against milliseconds.
fn draw_sweep(area: &Area<'_>, measured: &[Measured]) -> Result<()> {
    let kinds: [(&str, RGBColor, Latency); 3] = [
        ("TTFT p50", COLORS[0], |figures| Some(figures.time(Time::Ttft)?.p50)),
        ("TTFT p99", COLORS[1], |figures| Some(figures.time(Time::Ttft)?.p99)),
        ("E2EL p50", COLORS[2], |figures| Some(figures.time(Time::E2e)?.p50)),
    ];
    let points = |of: Latency| -> Vec<(f64, f64)> {
        let point = |it: &Measured| Some((it.figures.output_throughput(), of(&it.figures)?));
        measured.iter().filter_map(point).collect()
    };
    let all: Vec<(f64, f64)> = kinds.iter().flat_map(|(_, _, of)| points(*of)).collect();
    let x_max = most(all.iter().map(|point| point.0));
    let y_max = most(all.iter().map(|point| point.1));
    let mut chart = plane(area, 70, ("output tokens/s", x_max), ("latency, ms", y_max))?;
    for (place, (name, color, of)) in kinds.into_iter().enumerate() {
        let points = points(of);
        chart.draw_series(std::iter::once(PathElement::new(points.clone(), color.stroke_width(2))))?;
        chart.draw_series(points.into_iter().map(|point| Circle::new(point, 4, color.filled())))?;
        legend(area, (92, 22 + LINE * place as i32), name, color)?;
    }
    let label = |it: &Measured| {
        let at = (it.figures.output_throughput(), it.figures.time(Time::E2e)?.p50);
        let style = ("sans-serif", 11).into_font().color(&INK);
        Some(EmptyElement::at(at) + Text::new(it.level.to_string(), (6, -14), style))
    };
    chart.draw_series(measured.iter().filter_map(label))?;
    Ok(())
}

/// One line a level: the share of requests whose first token came within so many milliseconds.
fn draw_first_tokens(area: &Area<'_>, measured: &[Measured]) -> Result<()> {
    let x_max = most(measured.iter().filter_map(|it| it.figures.first_tokens.last().copied()));
    let mut chart = plane(area, 56, ("time to the first token, ms", x_max), ("% of requests", 100.0))?;
    for (place, it) in measured.iter().enumerate() {
        let color = COLORS[place % COLORS.len()];
        let steps = steps(&it.figures.first_tokens);
        chart.draw_series(std::iter::once(PathElement::new(steps, color.stroke_width(2))))?;
        // Shares rise to the right: the lower right corner is free.
        let from_below = LINE * (measured.len() - place) as i32;
        let at = (SIZE.0 as i32 / 2 - 150, SIZE.1 as i32 - 96 - from_below);
        legend(area, at, &it.level.to_string(), color)?;
    }
    Ok(())
}

/// The staircase of sorted values: after each, one more of them has been reached.
pub fn steps(sorted: &[f64]) -> Vec<(f64, f64)> {
    let share = |count: usize| 100.0 * count as f64 / sorted.len() as f64;
    (0..)
        .zip(sorted)
        .flat_map(|(index, value)| [(*value, share(index)), (*value, share(index + 1))])
        .collect()
}

/// The end of an axis, also where there is nothing to show.
pub fn most(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.fold(0.0, f64::max) * HEADROOM;
    if most > 0.0 { most } else { 1.0 }
}

/// A number without digits that say nothing.
fn axis_label(value: f64) -> String {
    format!("{}", (value * 1e3).round() / 1e3)
}

/// A name in its color.
pub fn legend(area: &Area<'_>, at: (i32, i32), name: &str, color: RGBColor) -> Result<()> {
    area.draw(&Text::new(name.to_owned(), at, ("sans-serif", 13).into_font().color(&color)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Level;
    use crate::load::level::Ran;
    use std::time::Duration;

    #[test]
    fn shares_rise_in_steps_to_all() {
        assert_eq!(steps(&[1.0, 3.0]), [(1.0, 0.0), (1.0, 50.0), (3.0, 50.0), (3.0, 100.0)]);
        assert!(steps(&[]).is_empty());
    }

    /// A run in which everything failed has nothing to draw and is drawn all the same.
    #[test]
    fn a_run_without_answers_is_a_picture() {
        let ran = Ran { records: Vec::new(), num_abandoned: 0, elapsed: Duration::ZERO };
        let measured = [Measured { level: Level::Closed(4), figures: Figures::of(&ran, &[]) }];
        let mut svg = String::new();
        draw(&mut svg, "a <title>", &measured).unwrap();
        assert!(
            svg.starts_with("<svg") && svg.contains("concurrency 4") && svg.contains("a &lt;title&gt;"),
            "{svg}"
        );
    }
}
