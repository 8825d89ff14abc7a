//! Pictures of a run, as SVG: scores with their intervals, and tokens.

use anyhow::{Context, Result};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::chart::{HIGHLIGHT, INK, SECOND, with_lines};

/// Width of a picture in SVG units.
const WIDTH: u32 = 860;
/// Height of a row.
const ROW: u32 = 26;
/// What stands above and below the rows.
const MARGINS: u32 = 96;
/// Room for the names of rows.
const NAMES: u32 = 230;
/// Space behind the highest value.
const HEADROOM: f64 = 1.12;

/// A score with its interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// Whose.
    pub name: String,
    /// From 0 to 1.
    pub score: f64,
    /// Lower and upper end; the score itself where none is known.
    pub ends: (f64, f64),
}

/// Mean tokens of answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Whose.
    pub name: String,
    /// Of reasoning.
    pub reasoning: f64,
    /// Of everything else.
    pub answer: f64,
}

type Plane<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws scores, a row each.
///
/// Errors: the picture cannot be drawn.
pub fn scores(title: &str, rows: &[Interval]) -> Result<String> {
    let mut svg = String::new();
    let names = rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>();
    let low = rows.iter().map(|row| row.ends.0).fold(0.0, f64::min);
    with_plane(&mut svg, (title, "score, with its 95 % interval"), &names, (low, 1.0), |chart| {
        for (row, at) in rows.iter().zip((0..).map(f64::from)) {
            let line = [(row.ends.0, at), (row.ends.1, at)];
            chart.draw_series([PathElement::new(line, HIGHLIGHT.stroke_width(3))])?;
            chart.draw_series([Circle::new((row.score, at), 5, HIGHLIGHT.filled())])?;
        }
        Ok(())
    })?;
    Ok(svg)
}

/// Draws mean tokens of answers, a bar each, reasoning first.
///
/// Errors: the picture cannot be drawn.
pub fn tokens(title: &str, rows: &[Written]) -> Result<String> {
    let mut svg = String::new();
    let names = rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>();
    let most = rows.iter().map(|row| row.reasoning + row.answer).fold(1.0, f64::max) * HEADROOM;
    let axis = "tokens of an answer on average: reasoning, then the rest";
    with_plane(&mut svg, (title, axis), &names, (0.0, most), |chart| {
        for (row, at) in rows.iter().zip((0..).map(f64::from)) {
            let bar = |from: f64, to: f64, color: RGBColor| {
                Rectangle::new([(from, at - 0.3), (to, at + 0.3)], color.filled())
            };
            let all = row.reasoning + row.answer;
            chart.draw_series([bar(0.0, row.reasoning, HIGHLIGHT), bar(row.reasoning, all, SECOND)])?;
        }
        Ok(())
    })?;
    Ok(svg)
}

/// A plane with a row for each name, from the top.
fn with_plane(
    svg: &mut String,
    (title, axis): (&str, &str),
    names: &[&str],
    (low, high): (f64, f64),
    draw: impl FnOnce(&mut Plane<'_>) -> Result<()>,
) -> Result<()> {
    let failed = "cannot draw the picture";
    let rows = names.len().max(1);
    let root = SVGBackend::with_string(svg, (WIDTH, MARGINS + ROW * rows as u32)).into_drawing_area();
    root.fill(&WHITE).context(failed)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18).into_font().color(&INK))
        .margin(10)
        .margin_right(24)
        .x_label_area_size(44)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(low..high, rows as f64 - 0.5..-0.5)
        .context(failed)?;
    with_lines(&mut chart.configure_mesh())
        .disable_y_mesh()
        .y_labels(0)
        .x_label_formatter(&|value| format!("{}", (value * 1e3).round() / 1e3))
        .x_desc(axis)
        .draw()
        .context(failed)?;
    let style = ("sans-serif", 13).into_font().color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
    let name = |(name, at): (&&str, f64)| {
        EmptyElement::at((low, at)) + Text::new((*name).to_owned(), (-8, 0), style.clone())
    };
    chart.draw_series(names.iter().zip((0..).map(f64::from)).map(name)).context(failed)?;
    draw(&mut chart)?;
    drop(chart);
    root.present().context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_their_names_and_nothing_is_drawn_all_the_same() {
        let row =
            |name: &str, score| Interval { name: name.to_owned(), score, ends: (score - 0.1, score + 0.1) };
        let svg = scores("a <title>", &[row("low", 0.4), row("high <effort>", 0.8)]).unwrap();
        for fact in ["<svg", "low", "high &lt;effort&gt;", "a &lt;title&gt;", "<circle"] {
            assert!(svg.contains(fact), "{fact}: {svg}");
        }
        assert!(scores("nothing", &[]).unwrap().starts_with("<svg"));
        let rows = [Written { name: "low".to_owned(), reasoning: 3.0, answer: 1.0 }];
        assert!(tokens("t", &rows).unwrap().contains("<rect") && tokens("t", &[]).is_ok());
    }
}
