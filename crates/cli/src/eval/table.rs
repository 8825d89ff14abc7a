//! The columns of an evaluation, for people.

use std::io::{self, Write};

use gptoss_eval::{Conditions, Estimate, Scores, Suite, Tally, official};

use crate::terminal::safe_for_stdout;

/// Groups that are shown; the rest is in the JSON.
const GROUPS_SHOWN: usize = 60;

/// Writes the columns, the groups, what found the answers, and the published figures.
pub fn write(out: &mut dyn Write, suite: &Suite, scores: &Scores, conditions: &Conditions) -> io::Result<()> {
    let columns = scores.all.columns;
    writeln!(out, "{}: {}", safe_for_stdout(&suite.name), estimate(scores.all.score.as_ref()))?;
    writeln!(
        out,
        "  n {} · answered {} · correct {} · wrong {} · no answer {} · cut {} · error {} · missing {}",
        columns.n,
        columns.answered(),
        columns.correct,
        columns.wrong,
        columns.no_answer,
        columns.cut,
        columns.error,
        scores.missing
    )?;
    for (k, at, hat) in &scores.pass_at {
        writeln!(out, "  pass@{k} {:.1} % · pass^{k} {:.1} %", 100.0 * at, 100.0 * hat)?;
    }
    if let Some(f1) = scores.f1() {
        writeln!(out, "  F1 {:.1} %", 100.0 * f1)?;
    }
    for (name, figure) in &scores.figures {
        writeln!(out, "  {}: {}", safe_for_stdout(name), estimate(Some(figure)))?;
    }
    let rules: Vec<String> =
        scores.rules.iter().map(|(rule, count)| format!("{} {count}", safe_for_stdout(rule))).collect();
    if !rules.is_empty() {
        writeln!(out, "  found by: {}", rules.join(" · "))?;
    }
    write_groups(out, scores)?;
    for figure in official(suite.task) {
        let of = |shares: &[f64; 3]| shares.map(|share| format!("{share:.1}")).join(" / ");
        writeln!(
            out,
            "  published, {}, low / medium / high: gpt-oss-120b {}, gpt-oss-20b {}",
            figure.name,
            of(&figure.large),
            of(&figure.small)
        )?;
    }
    let reasons = scores.why_not_comparable(suite, conditions);
    if !reasons.is_empty() {
        writeln!(out, "  not comparable: {}", safe_for_stdout(&reasons.join("; ")))?;
    }
    for note in &suite.notes {
        writeln!(out, "  note: {}", safe_for_stdout(note))?;
    }
    Ok(())
}

fn write_groups(out: &mut dyn Write, scores: &Scores) -> io::Result<()> {
    let width = scores.groups.keys().map(|name| name.chars().count()).max().unwrap_or_default().min(40);
    for (name, Tally { columns, score }) in scores.groups.iter().take(GROUPS_SHOWN) {
        let name = safe_for_stdout(name);
        writeln!(
            out,
            "  {name:width$}  {:>6} of {:>6}  {}",
            columns.correct,
            columns.n,
            estimate(score.as_ref())
        )?;
    }
    if scores.groups.len() > GROUPS_SHOWN {
        writeln!(out, "  and {} groups more, with --json", scores.groups.len() - GROUPS_SHOWN)?;
    }
    Ok(())
}

fn estimate(estimate: Option<&Estimate>) -> String {
    match estimate {
        Some(Estimate { value, low, high, .. }) => {
            format!("{:.1} % ({:.1} to {:.1})", 100.0 * value, 100.0 * low, 100.0 * high)
        }
        None => "no score".to_owned(),
    }
}
