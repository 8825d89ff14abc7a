//! What an answer of any of the APIs says, text by text, for whoever judges it.
//!
//! Pieces of a stream are put together by where they stand: choice, item or call, part, field. What comes
//! whole, at the end of an item or of the stream, is a text of its own only where the pieces did not say the
//! same, so what only the end tells is found and nothing is judged twice. Every text is found, however deep
//! it stands and under whatever name, but for names that are known to say nothing.

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
/// What texts under a name of none of those are found as.
const OTHER: &str = "other";
/// Names of what says nothing, or nothing that is not said elsewhere; names that end in `_id` too.
const SILENT: [&str; 27] = [
    "b64_json",
    "data",
    "encrypted_content",
    "event",
    "finish_reason",
    "format",
    "id",
    "logprobs",
    "media_type",
    "mime_type",
    "model",
    "moderation",
    "native_finish_reason",
    "obfuscation",
    "object",
    "param",
    "partial_image_b64",
    "phase",
    "provider",
    "role",
    "service_tier",
    "signature",
    "status",
    "stop_reason",
    "stop_sequence",
    "system_fingerprint",
    "type",
];

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
    /// What was told at the end, and in which event.
    ends: Vec<(Place, String, usize)>,
    /// Which event it is.
    number: usize,
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
        let mut value: Value = serde_json::from_str(&data).map_err(|_| "an event of it is not JSON")?;
        let is_named = value.get("type").is_some();
        if let (false, Some(name), Some(members)) = (is_named, event.name, value.as_object_mut()) {
            members.insert("type".to_owned(), Value::String(name));
        }
        answered.number += 1;
        answered.event(dialect, &value);
    }
    Ok(answered.texts())
}

/// Every text of a body that is no answer, such as an error's.
pub fn all_texts(bytes: &[u8]) -> String {
    let mut answered = Answered::default();
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => answered.walk(&value, OTHER, Place::default(), Form::End),
        Err(_) => return String::from_utf8_lossy(bytes).into_owned(),
    }
    let texts = answered.texts().into_iter().map(|(_, text)| text);
    texts.collect::<Vec<_>>().join("\n")
}

impl Answered {
    fn whole(&mut self, dialect: Dialect, answer: &Value) {
        match dialect {
            Dialect::Chat | Dialect::Completions => self.choices(answer, false),
            Dialect::Responses => {
                self.items(&answer["output"], Form::Whole);
                self.said_of_response(answer);
            }
            Dialect::Messages => {
                self.items(&answer["content"], Form::Whole);
                self.others(answer, &["content"]);
            }
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
                self.others(event, &["message", "content_block", "delta"]);
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
        self.others(body, &["choices"]);
    }

    /// Members of a body beside those.
    fn others(&mut self, body: &Value, known: &[&str]) {
        let members = body.as_object().into_iter().flatten();
        for (name, value) in members.filter(|(name, _)| !known.contains(&name.as_str())) {
            self.member(name, value, Place::default(), Form::End);
        }
    }

    /// What a response says beside its items; the rest of it says again what was asked.
    fn said_of_response(&mut self, response: &Value) {
        for name in ["output_text", "error", "incomplete_details"] {
            self.member(name, &response[name], Place::default(), Form::End);
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
        self.said_of_response(&event["response"]);
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
            let name = match (kind, name.as_str()) {
                ("summary_text", "text") => "summary",
                // A document of Messages; others have bytes there.
                ("text", "data") => "text",
                ("image_generation_call", "result") => continue,
                (_, name) => name,
            };
            self.member(name, value, place, form);
        }
    }

    fn member(&mut self, name: &str, value: &Value, mut place: Place, form: Form) {
        if is_silent(name) {
            return;
        }
        place.is_reasoning |= is_reasoning(name);
        match value {
            Value::Object(_) | Value::Array(_) if JSON.contains(&name) && !is_empty(value) => {
                self.add(name, &value.to_string(), place, form);
            }
            _ => self.walk(value, name, place, form),
        }
    }

    fn add(&mut self, name: &str, text: &str, place: Place, form: Form) {
        if text.is_empty() {
            return;
        }
        let known = FIELDS.into_iter().find(|field| *field == name);
        let place = Place { field: known.unwrap_or(OTHER), ..place };
        if form == Form::End || known.is_none() {
            self.ends.push((place, text.to_owned(), self.number));
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
        let all = self.pieces.iter().map(|(place, text)| (place, text));
        let all = all.chain(self.ends.iter().map(|(place, text, _)| (place, text)));
        let unescaped: Vec<(Place, String)> =
            all.filter_map(|(place, text)| Some((*place, unescaped(text)?))).collect();
        let mut groups: BTreeMap<(u64, bool), Group<'_>> = BTreeMap::new();
        let pieces = self.pieces.iter().map(|(place, text)| (place, text, Part::Piece));
        let ends = self.ends.iter().map(|(place, text, number)| (place, text, Part::End(*number)));
        let again = unescaped.iter().map(|(place, text)| (place, text, Part::Again));
        for (place, text, part) in pieces.chain(ends).chain(again) {
            groups.entry((place.choice, !place.is_reasoning)).or_default().add(*place, text, part);
        }
        groups.into_iter().map(|((_, is_said), group)| (!is_said, group.all)).collect()
    }
}

/// How a text was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Piece,
    /// At the end, in that event.
    End(usize),
    /// Told already, with its letters written as numbers.
    Again,
}

/// What is said of one choice.
#[derive(Default)]
struct Group<'a> {
    all: String,
    last: Option<(&'static str, Part)>,
    /// As what a text was said last.
    said: HashMap<&'a str, &'static str>,
}

impl<'a> Group<'a> {
    fn add(&mut self, Place { field, is_reasoning, .. }: Place, text: &'a str, part: Part) {
        // Reasoning has two names, and some tell it under both.
        let is_again = |before: &&str| part != Part::Piece || (is_reasoning && *before != field);
        if self.said.insert(text, field).as_ref().is_some_and(is_again) {
            return;
        }
        let continues = self.last == Some((field, part)) && WORDS.contains(&field) && part != Part::Again;
        if !continues && !self.all.is_empty() {
            self.all.push('\n');
        }
        self.all.push_str(text);
        self.last = Some((field, part));
    }
}

/// A text whose letters may be written as numbers, as whoever reads it as JSON has it, even if it is cut.
fn unescaped(text: &str) -> Option<String> {
    if !(text.contains("\\u") || text.contains("\\/")) {
        return None;
    }
    let (mut units, mut rest): (Vec<u16>, &str) = (Vec::new(), text);
    while let Some(at) = rest.find('\\') {
        units.extend(rest[..at].encode_utf16());
        rest = &rest[at + 1..];
        let number = rest.strip_prefix('u').and_then(|digits| digits.get(..4));
        let number = number.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        match (number, rest.chars().next()) {
            (Some(unit), _) => {
                units.push(unit);
                rest = &rest[5..];
            }
            (None, Some('/')) => {}
            // A backslash that is written so is not the next one's.
            (None, Some(next)) => {
                units.push(u16::from(b'\\'));
                units.extend(next.encode_utf16(&mut [0; 2]).iter());
                rest = &rest[next.len_utf8()..];
            }
            (None, None) => {}
        }
    }
    units.extend(rest.encode_utf16());
    Some(String::from_utf16_lossy(&units))
}

fn is_silent(name: &str) -> bool {
    SILENT.contains(&name) || name.ends_with("_id")
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Whether a member or a part of that name is reasoning.
fn is_reasoning(name: &str) -> bool {
    name.starts_with("reasoning") || name.starts_with("thinking")
}

#[cfg(test)]
mod tests;
