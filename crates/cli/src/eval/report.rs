//! What a run came to: one JSON object, and a table for people.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::leg::Leg;
use super::run_record::RunRecord;
use super::table;
use crate::terminal;

/// Version of the object: raised when a field changes its meaning or goes.
const FORMAT_VERSION: u32 = 1;

/// The run as one object. Nothing in it depends on when its questions were answered, or in which order.
pub fn object(record: &RunRecord, legs: &[Leg]) -> Value {
    json!({
        "format": FORMAT_VERSION,
        "tool": "gptoss eval",
        "started": record.started().to_string(),
        "run": record.run,
        "efforts": legs.iter().map(leg_object).collect::<Vec<_>>(),
    })
}

fn leg_object(leg: &Leg) -> Value {
    let mut object = leg.scores().to_json(leg.suite, &leg.conditions);
    let (written, reasoning) = leg.mean_tokens();
    let fields = [
        ("effort", json!(leg.effort)),
        ("model", json!(leg.model)),
        ("questions", json!(leg.suite.items.len())),
        ("tokens", json!(leg.tokens())),
        ("mean_completion_tokens", json!(written)),
        ("mean_reasoning_tokens", json!(reasoning)),
    ];
    for (name, value) in fields {
        object[name] = value;
    }
    object
}

/// Prints the run: who answered, and the columns and scores of each effort.
///
/// Errors: the output cannot be written to.
pub fn print(out: &mut dyn Write, legs: &[Leg]) -> Result<()> {
    for leg in legs {
        let model = terminal::safe(&leg.model);
        let (answers, questions) = (leg.samples.len(), leg.suite.items.len());
        let (written, reasoning) = leg.mean_tokens();
        writeln!(
            out,
            "{model} at effort {}: {answers} of {questions} questions, {written:.1} tokens an answer, {reasoning:.1} of them reasoning",
            leg.effort
        )?;
        table::write(out, leg.suite, &leg.scores(), &leg.conditions)?;
        if let Some((id, words)) = leg.first_error() {
            writeln!(out, "the first error, of {}: {}", terminal::safe(id), terminal::safe(words))?;
        }
    }
    Ok(())
}
