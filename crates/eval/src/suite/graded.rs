//! Items whose answer a grader reads: SimpleQA, HealthBench.

use serde_json::Value;

use super::{ItemPart, Maker, needed};
use crate::graded::{ANSWER_LETTERS, ANSWER_PROMPT, RUBRIC_PROMPT};
use crate::key::{GradedKey, RubricItem, RubricKey};
use crate::row::{Row, json, text};
use crate::{Ask, AskMessage, AskRole, Key};

/// A row of SimpleQA.
pub fn simple_qa(maker: &Maker<'_>, row: &Row) -> Result<ItemPart, String> {
    let question = needed(row, &["problem", "question"])?;
    let key = GradedKey {
        target: needed(row, &["answer", "target"])?,
        template: maker.options.grader_prompt.clone().unwrap_or_else(|| ANSWER_PROMPT.to_owned()),
        letters: ANSWER_LETTERS.to_vec(),
    };
    let group = text(row, &["topic"]).or_else(|| topic(&text(row, &["metadata"])?));
    Ok(ItemPart { group, ask: Ask::user(question.clone()), question, key: Key::Graded(key) })
}

/// The topic in the metadata, which is a Python dict's text.
fn topic(metadata: &str) -> Option<String> {
    let after = metadata.split_once("'topic': '")?.1;
    Some(after.split_once('\'')?.0.to_owned())
}

/// A row of HealthBench.
pub fn health_bench(maker: &Maker<'_>, row: &Row) -> Result<ItemPart, String> {
    let prompt = json(row, &["prompt", "messages"]).ok_or("it has no conversation in `prompt`")?;
    let messages: Vec<AskMessage> = prompt
        .as_array()
        .into_iter()
        .flatten()
        .map(message)
        .collect::<Option<_>>()
        .ok_or("a message is malformed")?;
    let rubrics = json(row, &["rubrics"]).ok_or("it has no `rubrics`")?;
    let rubrics: Vec<RubricItem> = rubrics
        .as_array()
        .into_iter()
        .flatten()
        .map(rubric)
        .collect::<Option<_>>()
        .ok_or("a rubric is malformed")?;
    if messages.is_empty() || rubrics.is_empty() {
        return Err("its conversation or its list of rubrics is empty".to_owned());
    }
    let tags = json(row, &["example_tags"]).as_ref().map(list).unwrap_or_default();
    let question = messages.last().map(|message| message.text.clone()).unwrap_or_default();
    let group = tags.iter().find_map(|tag| tag.strip_prefix("theme:")).map(str::to_owned);
    let template = maker.options.grader_prompt.clone().unwrap_or_else(|| RUBRIC_PROMPT.to_owned());
    Ok(ItemPart {
        group,
        question,
        ask: Ask { messages, functions: Vec::new() },
        key: Key::Rubric(RubricKey { rubrics, tags, template }),
    })
}

/// A message as the chat API has it.
pub fn message(value: &Value) -> Option<AskMessage> {
    let role = match value["role"].as_str()? {
        "system" => AskRole::System,
        "developer" => AskRole::Developer,
        "user" => AskRole::User,
        "assistant" => AskRole::Assistant,
        _ => return None,
    };
    Some(AskMessage { role, text: value["content"].as_str()?.to_owned() })
}

fn rubric(value: &Value) -> Option<RubricItem> {
    Some(RubricItem {
        criterion: value["criterion"].as_str()?.to_owned(),
        points: value["points"].as_f64()?,
        tags: list(&value["tags"]),
    })
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|tag| Some(tag.as_str()?.to_owned())).collect()
}
