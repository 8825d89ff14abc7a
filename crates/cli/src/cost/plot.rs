//! The pictures: costs of a month against requests of a month, and what each number matters.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::compute::{CHANGE, Case, Compared, Usage, api_monthly, own_cost, swings};
use crate::chart::{GRID, HIGHLIGHT, INK, SECOND, with_lines, write_picture};
use crate::output::Target;

/// Size of a picture in SVG units.
const SIZE: (u32, u32) = (860, 480);
/// Colors of APIs, in order and again from the first.
const COLORS: [RGBColor; 4] = [SECOND, RGBColor(70, 140, 70), RGBColor(140, 90, 160), RGBColor(150, 120, 40)];
/// How far the axis of requests goes beside those that are used.
const REQUESTS: f64 = 3.0;
/// Points of a line: the cost of machines rises in steps.
const POINTS: usize = 600;
/// Half the height of a bar, where the distance of two is 1.
const BAR: f64 = 0.34;

/// Draws costs against requests.
///
/// Errors: the file cannot be written.
pub fn costs(target: &Target, case: &Case, compared: &Compared) -> Result<()> {
    write_picture(target, "cannot draw the costs", |svg| draw_costs(svg, case, compared))
}

fn draw_costs(svg: &mut String, case: &Case, compared: &Compared) -> Result<()> {
    let most = case.usage.requests * REQUESTS;
    let at = |point: usize| Usage { requests: most * point as f64 / POINTS as f64, ..case.usage };
    let line = |cost: &dyn Fn(&Usage) -> f64| -> Vec<(f64, f64)> {
        (1..=POINTS).map(|point| (at(point).requests, cost(&at(point)))).collect()
    };
    let own = line(&|usage| own_cost(usage, &case.machine).monthly);
    let apis: Vec<Vec<(f64, f64)>> =
        case.prices.iter().map(|price| line(&|usage| api_monthly(usage, price, &case.manner))).collect();
    let high = apis.iter().chain([&own]).flatten().map(|point| point.1).fold(0.0, f64::max) * 1.08 + 1e-9;
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("What a month costs", ("sans-serif", 20).into_font().color(&INK))
        .margin(14)
        .margin_right(40)
        .x_label_area_size(44)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..most, 0.0..high)?;
    with_lines(&mut chart.configure_mesh())
        .x_desc("requests of a month")
        .y_desc(case.currency.as_str())
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    let swatch =
        |color: RGBColor| move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], color.stroke_width(2));
    for (index, (price, line)) in case.prices.iter().zip(apis).enumerate() {
        let color = COLORS[index % COLORS.len()];
        let path = std::iter::once(PathElement::new(line, color.stroke_width(2)));
        chart.draw_series(path)?.label(price.name.as_str()).legend(swatch(color));
    }
    let path = std::iter::once(PathElement::new(own, HIGHLIGHT.stroke_width(2)));
    chart.draw_series(path)?.label("of one's own").legend(swatch(HIGHLIGHT));
    let here = (case.usage.requests, compared.own.monthly);
    chart.draw_series(std::iter::once(Circle::new(here, 5, HIGHLIGHT.filled())))?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.filled())
        .border_style(GRID)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    drop(chart);
    root.present()?;
    Ok(())
}

/// Draws what the difference to the cheapest price becomes when each number changes.
///
/// Errors: the file cannot be written.
pub fn sensitivity(target: &Target, case: &Case, compared: &Compared) -> Result<()> {
    let Some(cheapest) = compared.cheapest() else { return Ok(()) };
    write_picture(target, "cannot draw what matters", |svg| draw_sensitivity(svg, case, compared, cheapest))
}

fn draw_sensitivity(svg: &mut String, case: &Case, compared: &Compared, cheapest: usize) -> Result<()> {
    let swings = swings(case, cheapest);
    let now = compared.own.monthly - compared.apis[cheapest].monthly;
    let all = || swings.iter().flat_map(|swing| swing.differences).chain([0.0, now]);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let room = 0.06 * (high - low) + 1e-9;
    let count = swings.len() as f64;
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!(
        "Own cost less that of {}, each number {:.0} % lower and higher",
        case.prices[cheapest].name,
        100.0 * CHANGE
    );
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18).into_font().color(&INK))
        .margin(14)
        .margin_left(170)
        .x_label_area_size(44)
        .build_cartesian_2d(low - room..high + room, 0.0..count)?;
    with_lines(&mut chart.configure_mesh())
        .disable_y_mesh()
        .x_desc(format!("{} a month; left of 0 it pays", case.currency))
        .x_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    for (place, swing) in swings.iter().enumerate() {
        let middle = count - 0.5 - place as f64;
        let colors = [SECOND, HIGHLIGHT];
        for (difference, color) in swing.differences.into_iter().zip(colors) {
            let corners = [(now, middle - BAR), (difference, middle + BAR)];
            chart.draw_series(std::iter::once(Rectangle::new(corners, color.filled())))?;
        }
        let style = ("sans-serif", 13).into_font().color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
        let name = EmptyElement::at((low - room, middle)) + Text::new(swing.name.to_owned(), (-8, 0), style);
        chart.draw_series(std::iter::once(name))?;
    }
    for (at, color) in [(0.0, INK), (now, GRID)] {
        chart.draw_series(std::iter::once(PathElement::new(
            [(at, 0.0), (at, count)],
            color.stroke_width(2),
        )))?;
    }
    root.present()?;
    Ok(())
}
