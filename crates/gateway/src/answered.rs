//! What an answer of any of the APIs says, text by text, for whoever judges it.
//!
//! Pieces of a stream are put together by where they stand: choice, item or call, part, field. What comes
//! whole, at the end of an item or of the stream, is a text of its own only where the pieces did not say the
//! same, so what only the end tells is found and nothing is judged twice. What is found is every text below
//! a name that texts have, however deep it stands.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::dialect::Dialect;
use crate::sse::Splitter;

/// Names of what is said.
const FIELDS: [&str; 25] = [
    "text",
    "content",
    "refusal",
    "transcript",
    "output_text",
    "reasoning",
    "reasoning_content",
    "summary",
    "thinking",
    "name",
    "arguments",
    "partial_json",
    "input",
    "code",
    "command",
    "commands",
    "query",
    "queries",
    "path",
    "diff",
    "output",
    "logs",
    "stdout",
    "stderr",
    "error",
];
/// Of those, the ones of which one continues the other where they follow each other.
const WORDS: [&str; 7] =
    ["text", "content", "transcript", "reasoning", "reasoning_content", "summary", "thinking"];
/// Of those, the ones that are JSON, whose letters may be written as numbers.
const JSON: [&str; 3] = ["arguments", "partial_json", "input"];
/// Names of what says nothing that is not said elsewhere.
const PASSED_OVER: [&str; 3] = ["logprobs", "annotations", "citations"];

/// Where a text stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Place {
    choice: u64,
    is_reasoning: bool,
    /// The item, block or call.
    item: u64,
    part: u64,
    field: &'static str,
}

/// How texts are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Pieces: those of a list that has no numbers continue each other.
    Delta,
    /// The beginning of a text, or all of an answer: those of a list stand apart.
    Whole,
    /// What the pieces before it came to.
    End,
}

/// What is known of an answer.
#[derive(Debug, Default)]
struct Answered {
    pieces: Vec<(Place, String)>,
    at: HashMap<Place, usize>,
    /// What was told at the end.
    ends: Vec<(Place, String)>,
}

/// What an answer says to its client, and (true) what it says of its reasoning: for each choice one text of
/// each, in which what does not continue the other stands in a line of its own.
///
/// Errors: an answer that cannot be read.
pub fn answer_texts(
    dialect: Dialect,
    bytes: &[u8],
    is_stream: bool,
) -> Result<Vec<(bool, String)>, &'static str> {
    let mut answered = Answered::default();
    if !is_stream {
        let value = serde_json::from_slice(bytes).map_err(|_| "it is not JSON")?;
        answered.whole(dialect, &value);
        return Ok(answered.texts());
    }
    let mut splitter = Splitter::default();
    splitter.push(bytes);
    // What is left at the end is read too.
    splitter.push(b"\n\n");
    while let Some(event) = splitter.next()? {
        let Some(data) = event.data.filter(|data| data != "[DONE]") else { continue };
        let value = serde_json::from_str(&data).map_err(|_| "an event of it is not JSON")?;
        answered.event(dialect, &value);
    }
    Ok(answered.texts())
}

impl Answered {
    fn whole(&mut self, dialect: Dialect, answer: &Value) {
        match dialect {
            Dialect::Chat | Dialect::Completions => self.choices(answer, false),
            Dialect::Responses => {
                self.items(&answer["output"], Form::Whole);
                self.walk(&answer["output_text"], "output_text", Place::default(), Form::End);
            }
            Dialect::Messages => self.items(&answer["content"], Form::Whole),
        }
    }

    fn event(&mut self, dialect: Dialect, event: &Value) {
        match dialect {
            Dialect::Chat | Dialect::Completions => self.choices(event, true),
            Dialect::Responses => self.response_event(event),
            Dialect::Messages => {
                self.items(&event["message"]["content"], Form::Whole);
                let place = Place { item: event["index"].as_u64().unwrap_or(0), ..Place::default() };
                self.walk(&event["content_block"], "", place, Form::Whole);
                self.walk(&event["delta"], "", place, Form::Delta);
            }
        }
    }

    fn choices(&mut self, body: &Value, is_stream: bool) {
        let choices = body["choices"].as_array().into_iter().flatten();
        for (number, choice) in (0..).zip(choices) {
            let place = Place { choice: choice["index"].as_u64().unwrap_or(number), ..Place::default() };
            for (name, value) in choice.as_object().into_iter().flatten() {
                let form = match (is_stream, name.as_str()) {
                    (false, _) => Form::Whole,
                    // The whole, at the end of a stream.
                    (true, "message") => Form::End,
                    (true, _) => Form::Delta,
                };
                self.member(name, value, place, form);
            }
        }
    }

    fn response_event(&mut self, event: &Value) {
        let kind = event["type"].as_str().unwrap_or_default();
        let part = event["content_index"].as_u64().or(event["summary_index"].as_u64());
        let place = Place {
            item: event["output_index"].as_u64().unwrap_or(0),
            part: part.unwrap_or(0),
            is_reasoning: kind.starts_with("response.reasoning"),
            ..Place::default()
        };
        if kind.ends_with("delta") {
            let field = match kind {
                // Sound is no text; what it says is its transcript.
                kind if kind.ends_with("audio.delta") => return,
                kind if kind.contains("summary") => "summary",
                kind if kind.contains("arguments") => "arguments",
                kind if kind.contains("input") => "input",
                kind if kind.contains("code") => "code",
                kind if kind.contains("refusal") => "refusal",
                kind if kind.contains("transcript") => "transcript",
                _ => "text",
            };
            return self.walk(&event["delta"], field, place, Form::Delta);
        }
        let form = if kind.ends_with(".added") { Form::Whole } else { Form::End };
        // The response says again what was asked.
        let own = event.as_object().into_iter().flatten().filter(|(name, _)| *name != "response");
        for (name, value) in own {
            self.member(name, value, place, form);
        }
        self.items(&event["response"]["output"], Form::End);
    }

    fn items(&mut self, list: &Value, form: Form) {
        for (item, value) in (0..).zip(list.as_array().into_iter().flatten()) {
            self.walk(value, "", Place { item, ..Place::default() }, form);
        }
    }

    fn walk(&mut self, value: &Value, name: &str, place: Place, form: Form) {
        match value {
            Value::String(text) => self.add(name, text, place, form),
            Value::Array(list) => {
                for (number, element) in (0..).zip(list) {
                    let mut place = place;
                    let number = element["index"].as_u64().or((form != Form::Delta).then_some(number));
                    match number {
                        Some(number) if name == "tool_calls" => place.item = number.saturating_add(1),
                        Some(number) => place.part = number,
                        None => {}
                    }
                    self.walk(element, name, place, form);
                }
            }
            Value::Object(members) => self.object(members, place, form),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn object(&mut self, members: &Map<String, Value>, mut place: Place, form: Form) {
        let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
        let is_summary = kind == "summary_text";
        place.is_reasoning |= is_summary || is_reasoning(kind);
        for (name, value) in members {
            let name = if is_summary && name == "text" { "summary" } else { name };
            self.member(name, value, place, form);
        }
    }

    fn member(&mut self, name: &str, value: &Value, mut place: Place, form: Form) {
        if PASSED_OVER.contains(&name) {
            return;
        }
        place.is_reasoning |= is_reasoning(name);
        match value {
            Value::Object(members) if JSON.contains(&name) && !members.is_empty() => {
                self.add(name, &value.to_string(), place, form);
            }
            _ => self.walk(value, name, place, form),
        }
    }

    fn add(&mut self, name: &str, text: &str, place: Place, form: Form) {
        let Some(field) = FIELDS.into_iter().find(|field| *field == name) else { return };
        if text.is_empty() {
            return;
        }
        let place = Place { field, ..place };
        if form == Form::End {
            self.ends.push((place, text.to_owned()));
            return;
        }
        let at = *self.at.entry(place).or_insert(self.pieces.len());
        match self.pieces.get_mut(at) {
            Some((_, all)) => all.push_str(text),
            None => self.pieces.push((place, text.to_owned())),
        }
    }

    /// Each choice's reasoning and words.
    fn texts(mut self) -> Vec<(bool, String)> {
        self.pieces.sort_by_key(|(place, _)| (place.item, place.part));
        let unescaped = self.pieces.iter().chain(&self.ends).filter_map(|(place, text)| {
            let is_written_otherwise =
                JSON.contains(&place.field) && (text.contains("\\u") || text.contains("\\/"));
            let value: Value = serde_json::from_str(text).ok().filter(|_| is_written_otherwise)?;
            Some((*place, value.to_string()))
        });
        let unescaped: Vec<(Place, String)> = unescaped.collect();
        let mut groups: BTreeMap<(u64, bool), Group<'_>> = BTreeMap::new();
        let pieces = self.pieces.iter().map(|piece| (piece, false));
        let ends = self.ends.iter().chain(&unescaped).map(|end| (end, true));
        for ((place, text), is_end) in pieces.chain(ends) {
            groups.entry((place.choice, !place.is_reasoning)).or_default().add(*place, text, is_end);
        }
        groups.into_iter().map(|((_, is_said), group)| (!is_said, group.all)).collect()
    }
}

/// What is said of one choice.
#[derive(Default)]
struct Group<'a> {
    all: String,
    last: Option<&'static str>,
    /// As what a text was said last.
    said: HashMap<&'a str, &'static str>,
}

impl<'a> Group<'a> {
    fn add(&mut self, Place { field, is_reasoning, .. }: Place, text: &'a str, is_end: bool) {
        // Reasoning has two names, and some tell it under both.
        let is_again = |before: &&str| is_end || (is_reasoning && *before != field);
        if self.said.insert(text, field).as_ref().is_some_and(is_again) {
            return;
        }
        let continues = !is_end && self.last == Some(field) && WORDS.contains(&field);
        if !continues && !self.all.is_empty() {
            self.all.push('\n');
        }
        self.all.push_str(text);
        self.last = (!is_end).then_some(field);
    }
}

/// Whether a member or a part of that name is reasoning.
fn is_reasoning(name: &str) -> bool {
    name.starts_with("reasoning") || name.starts_with("thinking")
}

#[cfg(test)]
mod tests;
