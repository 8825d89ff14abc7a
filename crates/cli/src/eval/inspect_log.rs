//! A run as a log of inspect: `inspect view`, its extension of VS Code and its dataframes open it.
//!
//! A zip of JSON files, version 2 of the format. Its entries are deflated, which every reader of zip knows;
//! inspect itself writes zstd and reads both. There is one log an effort, named as inspect names its own.

use std::io::{Cursor, Write};

use anyhow::{Context, Result};
use gptoss_eval::{AskMessage, Item, Outcome};
use serde_json::{Map, Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::digest::sha256;
use super::folder::NO_EFFORT;
use super::leg::{Leg, expected, outcome_name, score, standard_error};
use super::run_record::RunRecord;
use super::sample::{Sample, Tokens};

/// Version of the format.
const LOG_VERSION: u32 = 2;
/// Characters of an id.
const ID_CHARS: usize = 22;

/// The name of a leg's log.
pub fn name(record: &RunRecord, leg: &Leg) -> String {
    let time = record.started().strftime("%Y-%m-%dT%H-%M-%S+00-00");
    format!("{time}_{}_{}.eval", leg.suite.name, id(record, leg))
}

/// The log of a leg.
///
/// Errors: none that depend on the run; the archive's own.
pub fn archive(record: &RunRecord, leg: &Leg) -> Result<Vec<u8>> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: &str, value: &Value| -> Result<()> {
        zip.start_file(name, options).with_context(|| format!("cannot pack {name}"))?;
        Ok(zip.write_all(value.to_string().as_bytes())?)
    };
    let (spec, plan) = (spec(record, leg), json!({"name": "plan", "steps": [], "config": {}}));
    add("_journal/start.json", &json!({"version": LOG_VERSION, "eval": spec, "plan": plan}))?;
    let mut summaries = Vec::new();
    for (item, sample) in leg.answered() {
        add(&format!("samples/{}_epoch_{}.json", item.id, item.repeat + 1), &sample_json(leg, item, sample))?;
        summaries.push(summary(leg, item, sample));
    }
    let summaries = Value::Array(summaries);
    add("_journal/summaries/1.json", &summaries)?;
    add("summaries.json", &summaries)?;
    let is_whole = leg.num_left() == 0;
    let header = json!({
        "version": LOG_VERSION,
        "status": if is_whole { "success" } else { "cancelled" },
        "eval": spec,
        "plan": plan,
        "results": results(leg),
        "stats": {
            "started_at": record.started().to_string(),
            "completed_at": record.started().to_string(),
            "model_usage": {&leg.model: usage(leg.tokens())},
        },
    });
    add("header.json", &header)?;
    Ok(zip.finish().context("cannot pack the log")?.into_inner())
}

/// A name of this leg that another run does not have, and the same one has again.
fn id(record: &RunRecord, leg: &Leg) -> String {
    let whole = format!("{} {} {}", record.started(), leg.effort, Value::Object(record.run.clone()));
    sha256(whole)[..ID_CHARS].to_owned()
}

fn spec(record: &RunRecord, leg: &Leg) -> Value {
    let id = id(record, leg);
    let repeats = leg.suite.items.iter().map(|item| item.repeat + 1).max().unwrap_or(1);
    let ids: Vec<&str> =
        leg.suite.items.iter().filter(|item| item.repeat == 0).map(|item| item.id.as_str()).collect();
    json!({
        "eval_id": id,
        "run_id": id,
        "created": record.started().to_string(),
        "task": leg.suite.name,
        "task_id": id,
        "task_version": 0,
        "task_attribs": {},
        "task_args": {},
        "dataset": {"name": record.data(), "samples": ids.len(), "sample_ids": ids, "shuffled": false},
        "model": leg.model,
        "model_base_url": record.run.get("base_url"),
        "model_args": {},
        "model_generate_config": {"reasoning_effort": Some(&leg.effort).filter(|effort| *effort != NO_EFFORT)},
        "config": {"epochs": repeats},
        "packages": {"gptoss": env!("CARGO_PKG_VERSION")},
        "metadata": record.run,
        "scorers": [{"name": leg.suite.name, "metrics": [{"name": "accuracy"}, {"name": "stderr"}]}],
    })
}

fn results(leg: &Leg) -> Value {
    let metric =
        |name: &str, value: f64| (name.to_owned(), json!({"name": name, "value": value, "params": {}}));
    let all = leg.scores().all;
    let metrics = Map::from_iter([metric("accuracy", score(&all).0), metric("stderr", standard_error(&all))]);
    json!({
        "total_samples": leg.suite.items.len(),
        "completed_samples": leg.answered().count(),
        "scores": [{"name": leg.suite.name, "scorer": leg.suite.name, "params": {}, "metrics": metrics}],
    })
}

fn summary(leg: &Leg, item: &Item, sample: &Sample) -> Value {
    json!({
        "id": item.id,
        "epoch": item.repeat + 1,
        "input": item.question,
        "target": expected(item),
        "metadata": metadata(item),
        "scores": scores(leg, sample),
        "model_usage": {&leg.model: usage(sample.tokens())},
        "total_time": sample.seconds,
        "working_time": sample.seconds,
        "error": sample.response.error,
        "completed": true,
    })
}

fn sample_json(leg: &Leg, item: &Item, sample: &Sample) -> Value {
    let response = &sample.response;
    let input: Vec<Value> = item.ask.messages.iter().map(message).collect();
    let mut content = Vec::new();
    if let Some(reasoning) = &response.reasoning {
        content.push(json!({"type": "reasoning", "reasoning": reasoning}));
    }
    content.push(json!({"type": "text", "text": response.response}));
    let answer = json!({
        "role": "assistant",
        "content": content,
        "source": "generate",
        "model": leg.model,
        "tool_calls": response.calls.as_ref().map(|calls| calls.iter().enumerate().map(call).collect::<Vec<_>>()),
    });
    let stop_reason = match response.finish_reason.as_deref() {
        _ if response.is_cut() => "max_tokens",
        Some("tool_calls") => "tool_calls",
        Some("stop") => "stop",
        _ => "unknown",
    };
    let error = response
        .error
        .as_ref()
        .map(|words| json!({"message": words, "traceback": words, "traceback_ansi": words}));
    let mut messages = input.clone();
    messages.push(answer.clone());
    json!({
        "id": item.id,
        "epoch": item.repeat + 1,
        "input": input,
        "target": expected(item),
        "messages": messages,
        "output": {
            "model": leg.model,
            "choices": [{"message": answer, "stop_reason": stop_reason}],
            "completion": response.response,
            "usage": usage(sample.tokens()),
        },
        "scores": scores(leg, sample),
        "metadata": metadata(item),
        "store": {},
        "events": [],
        "attachments": {},
        "model_usage": {&leg.model: usage(sample.tokens())},
        "total_time": sample.seconds,
        "working_time": sample.seconds,
        "error": error,
    })
}

fn message(message: &AskMessage) -> Value {
    // inspect calls a developer by the older name.
    let role = match message.role.name() {
        "developer" => "system",
        role => role,
    };
    json!({"role": role, "content": message.text})
}

fn call((number, call): (usize, &Value)) -> Value {
    let (name, arguments) = call.as_object().and_then(|object| object.iter().next()).unzip();
    let arguments = match arguments {
        Some(arguments) if arguments.is_object() => arguments.clone(),
        Some(other) => json!({"arguments": other}),
        None => json!({}),
    };
    json!({"id": format!("call_{number}"), "function": name, "arguments": arguments, "type": "function"})
}

fn metadata(item: &Item) -> Value {
    match &item.group {
        Some(group) => json!({"group": group}),
        None => json!({}),
    }
}

fn scores(leg: &Leg, sample: &Sample) -> Value {
    let judgement = &sample.judgement;
    let value = match judgement.score {
        1.0 => json!("C"),
        0.0 => json!("I"),
        share => json!(share),
    };
    let outcome = outcome_name(judgement.outcome);
    let score = json!({
        "value": value,
        "answer": judgement.extracted,
        "explanation": judgement.detail,
        "metadata": {"outcome": outcome, "rule": judgement.rule, "judged": judgement.outcome != Outcome::Error},
    });
    json!({&leg.suite.name: score})
}

fn usage(tokens: Tokens) -> Value {
    json!({
        "input_tokens": tokens.prompt,
        "output_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "reasoning_tokens": tokens.reasoning,
    })
}
