//! The report as a page: plots, columns, and each question with its answer. Nothing is loaded from elsewhere.

use std::fmt::Write as _;

use anyhow::Result;
use gptoss_eval::{Item, Outcome, Scores, Tally, official};

use super::leg::{Leg, expected, outcome_name, score};
use super::plot::{self, Interval, Written};
use super::run_record::RunRecord;
use super::sample::Sample;

/// Questions of an effort that the page shows: those that are not right first. The journal has all.
const SHOWN_MAX: usize = 400;
/// Characters of a text that the page shows.
const TEXT_CHARS_MAX: usize = 6_000;
/// The page's looks.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#3c4048}\
    table{border-collapse:collapse}td,th{padding:.2rem .7rem;border-bottom:1px solid #e4e6ea;text-align:right}\
    td:first-child,th:first-child{text-align:left}pre{white-space:pre-wrap;background:#f6f7f9;padding:.6rem}\
    summary{cursor:pointer}.correct{color:#2c7a2c}.wrong,.error{color:#be3c14}.no_answer,.cut{color:#9a6a00}\
    svg{max-width:100%;height:auto}.banner{background:#fff3e0;padding:.6rem 1rem}";

/// The page.
///
/// Errors: a plot cannot be drawn.
pub fn page(record: &RunRecord, legs: &[Leg]) -> Result<String> {
    let title = legs.first().map_or(String::new(), |leg| format!("{}, {}", leg.suite.name, leg.model));
    let title = escaped(&title);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1><p>begun {}</p>",
        record.started()
    );
    let scored: Vec<(&Leg, Scores)> = legs.iter().map(|leg| (leg, leg.scores())).collect();
    for (leg, scores) in &scored {
        let reasons = scores.why_not_comparable(leg.suite, &leg.conditions);
        if !reasons.is_empty() {
            let (effort, reasons) = (escaped(&leg.effort), escaped(&reasons.join("; ")));
            write!(
                page,
                "<p class=\"banner\">Effort {effort}: not comparable with a published figure: {reasons}.</p>"
            )?;
        }
    }
    columns(&mut page, &scored)?;
    published(&mut page, legs)?;
    plots(&mut page, &scored)?;
    page.push_str("<h2>The run</h2><table>");
    for (name, value) in &record.run {
        write!(page, "<tr><td>{}</td><td>{}</td></tr>", escaped(name), escaped(&value.to_string()))?;
    }
    page.push_str("</table>");
    for leg in legs {
        questions(&mut page, leg)?;
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

fn columns(page: &mut String, scored: &[(&Leg, Scores)]) -> Result<()> {
    page.push_str(
        "<table><tr><th>effort</th><th>score</th><th>95 %</th><th>answers</th><th>correct</th><th>wrong</th>\
         <th>no answer</th><th>cut at limit</th><th>error</th></tr>",
    );
    for (leg, scores) in scored {
        row(page, &leg.effort, &scores.all)?;
        for (name, tally) in &scores.groups {
            row(page, &format!("{}: {name}", leg.effort), tally)?;
        }
    }
    page.push_str("</table>");
    Ok(())
}

fn row(page: &mut String, name: &str, tally: &Tally) -> Result<()> {
    let (value, low, high) = score(tally);
    let columns = tally.columns;
    write!(page, "<tr><td>{}</td><td>{value:.4}</td><td>{low:.4} to {high:.4}</td>", escaped(name))?;
    for count in [columns.n, columns.correct, columns.wrong, columns.no_answer, columns.cut, columns.error] {
        write!(page, "<td>{count}</td>")?;
    }
    page.push_str("</tr>");
    Ok(())
}

/// The published figures beside.
fn published(page: &mut String, legs: &[Leg]) -> Result<()> {
    let figures = legs.first().map_or(&[][..], |leg| official(leg.suite.task));
    if figures.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<h2>Published, percent</h2><table><tr><th></th><th>low</th><th>medium</th><th>high</th></tr>",
    );
    for figure in figures {
        for (model, shares) in [("gpt-oss-120b", figure.large), ("gpt-oss-20b", figure.small)] {
            let [low, medium, high] = shares;
            write!(
                page,
                "<tr><td>{}, {model}</td><td>{low}</td><td>{medium}</td><td>{high}</td></tr>",
                figure.name
            )?;
        }
    }
    page.push_str("</table>");
    Ok(())
}

fn plots(page: &mut String, scored: &[(&Leg, Scores)]) -> Result<()> {
    let interval = |name: &str, tally: &Tally| {
        let (value, low, high) = score(tally);
        Interval { name: name.to_owned(), score: value, ends: (low, high) }
    };
    let by_effort: Vec<Interval> =
        scored.iter().map(|(leg, scores)| interval(&leg.effort, &scores.all)).collect();
    page.push_str(&plot::scores("Score by effort", &by_effort)?);
    let written = |(leg, _): &(&Leg, Scores)| {
        let (written, reasoning) = leg.mean_tokens();
        Written { name: leg.effort.clone(), reasoning, answer: (written - reasoning).max(0.0) }
    };
    page.push_str(&plot::tokens("Tokens by effort", &scored.iter().map(written).collect::<Vec<_>>())?);
    for (leg, scores) in scored {
        let groups: Vec<Interval> = scores.groups.iter().map(|(name, tally)| interval(name, tally)).collect();
        if !groups.is_empty() {
            page.push_str(&plot::scores(&format!("Score by group, effort {}", leg.effort), &groups)?);
        }
    }
    Ok(())
}

fn questions(page: &mut String, leg: &Leg) -> Result<()> {
    let mut shown: Vec<(&Item, &Sample)> = leg.answered().collect();
    shown.sort_by_key(|(_, sample)| sample.judgement.outcome == Outcome::Correct);
    write!(page, "<h2>Questions, effort {}</h2>", escaped(&leg.effort))?;
    if shown.len() > SHOWN_MAX {
        write!(page, "<p>The first {SHOWN_MAX} of {}; the journal has all.</p>", shown.len())?;
    }
    for (item, sample) in shown.into_iter().take(SHOWN_MAX) {
        question(page, item, sample)?;
    }
    Ok(())
}

fn question(page: &mut String, item: &Item, sample: &Sample) -> Result<()> {
    let (judgement, response) = (&sample.judgement, &sample.response);
    let outcome = outcome_name(judgement.outcome);
    write!(
        page,
        "<details><summary><span class=\"{outcome}\">{}</span> {} {}: expected {}, found {}</summary>",
        outcome.replace('_', " "),
        escaped(&item.id),
        item.repeat,
        escaped(&expected(item)),
        escaped(judgement.extracted.as_deref().unwrap_or("nothing")),
    )?;
    let mut part = |name: &str, text: &str| write!(page, "<h4>{name}</h4><pre>{}</pre>", escaped(text));
    for message in &item.ask.messages {
        part(message.role.name(), &message.text)?;
    }
    if let Some(reasoning) = &response.reasoning {
        part("reasoning", reasoning)?;
    }
    part("answer", &response.response)?;
    if let Some(calls) = &response.calls {
        part("calls", &serde_json::to_string_pretty(calls)?)?;
    }
    if let Some(detail) = &judgement.detail {
        part("judgement", detail)?;
    }
    page.push_str("</details>");
    Ok(())
}

/// Text in a page, cut where it is endless.
fn escaped(text: &str) -> String {
    let cut = if text.chars().count() > TEXT_CHARS_MAX { " [...]" } else { "" };
    let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;") + cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_model_is_text() {
        assert_eq!(escaped("<script>&\""), "&lt;script&gt;&amp;&quot;");
        assert!(escaped(&"x".repeat(TEXT_CHARS_MAX + 1)).ends_with("x [...]"));
    }
}
