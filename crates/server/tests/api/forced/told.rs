//! What a client was told: an answer of any of the APIs in one form, and whether it is what was demanded.

use serde_json::{Value, json};

use crate::http::Answer;
use crate::{chat, messages};

use super::demand::{Api, Asked};

/// Why an answer ended, by what the client reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Call,
    Answer,
    /// The client's own limit.
    Limit,
    Other(String),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Told {
    pub end: End,
    /// Name and arguments of the last call.
    pub call: Option<(String, String)>,
    pub text: String,
    /// None where the API has no place for them.
    pub warnings: Option<Vec<String>>,
    pub completion_tokens: usize,
    pub reasoning_tokens: usize,
}

/// How an answer is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is what was demanded.
    Whole,
    /// The client's limit came first, and the client is told.
    Cut,
}

impl Told {
    /// Reads an answer.
    pub fn read(api: Api, answer: &Answer, is_streamed: bool) -> Told {
        match (api, is_streamed) {
            (Api::Chat, _) => Told::of_chat(answer, is_streamed),
            (Api::Responses, false) => Told::of_response(&answer.json()),
            (Api::Responses, true) => Told::of_response(&answer.events().last().unwrap()["response"]),
            (Api::Messages, false) => Told::of_message(&answer.json(), true),
            (Api::Messages, true) => Told::of_message(&messages::added_up(answer), false),
        }
    }

    fn of_chat(answer: &Answer, is_streamed: bool) -> Told {
        let (choice, rest) = match is_streamed {
            true => (chat::added_up(answer), answer.events()),
            false => (chat::whole(answer), vec![answer.json()]),
        };
        let warnings: Vec<String> = rest.iter().flat_map(|chunk| strings(&chunk["warnings"])).collect();
        let usage = &rest.last().unwrap()["usage"];
        let is_full = warnings.iter().any(|warning| warning.contains("the context is full"));
        Told {
            end: match choice["finish_reason"].as_str() {
                Some("tool_calls") => End::Call,
                Some("stop") => End::Answer,
                Some("length") if !is_full => End::Limit,
                other => End::Other(format!("{other:?} {warnings:?}")),
            },
            call: choice["calls"].as_array().unwrap().last().map(|call| function(&call["function"])),
            text: choice["message"]["content"].as_str().unwrap_or_default().to_owned(),
            warnings: Some(warnings),
            completion_tokens: number(&usage["completion_tokens"]),
            reasoning_tokens: number(&usage["completion_tokens_details"]["reasoning_tokens"]),
        }
    }

    fn of_response(response: &Value) -> Told {
        let of_kind = |kind: &str| {
            response["output"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|item| item["type"] == kind)
                .collect::<Vec<_>>()
        };
        let call = of_kind("function_call").last().map(|call| function(call));
        let text = of_kind("message").last().map(|message| message["content"][0]["text"].clone());
        let reason = response["incomplete_details"]["reason"].as_str();
        Told {
            end: match (response["status"].as_str(), reason) {
                (Some("completed"), _) if call.is_some() => End::Call,
                (Some("completed"), _) => End::Answer,
                (Some("incomplete"), Some("max_output_tokens")) => End::Limit,
                other => End::Other(format!("{other:?}")),
            },
            call,
            text: text.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
            warnings: Some(strings(&response["warnings"])),
            completion_tokens: number(&response["usage"]["output_tokens"]),
            reasoning_tokens: number(&response["usage"]["output_tokens_details"]["reasoning_tokens"]),
        }
    }

    fn of_message(message: &Value, has_warnings: bool) -> Told {
        let blocks = message["content"].as_array().unwrap();
        let of_kind = |kind: &str| blocks.iter().rfind(|block| block["type"] == kind);
        // One that was cut short is half an object in a stream, and an empty one in a body.
        let call = of_kind("tool_use").filter(|_| message["stop_reason"] == "tool_use");
        Told {
            end: match message["stop_reason"].as_str() {
                Some("tool_use") => End::Call,
                Some("end_turn") => End::Answer,
                Some("max_tokens") => End::Limit,
                other => End::Other(format!("{other:?}")),
            },
            call: call.map(|call| (call["name"].as_str().unwrap().to_owned(), call["input"].to_string())),
            text: of_kind("text")
                .map_or_else(String::new, |block| block["text"].as_str().unwrap().to_owned()),
            warnings: has_warnings.then(|| strings(&message["warnings"])),
            completion_tokens: number(&message["usage"]["output_tokens"]),
            reasoning_tokens: 0,
        }
    }

    /// Whether it is what was demanded.
    ///
    /// Errors: what is wrong.
    pub fn judge(&self, asked: &Asked) -> Result<Verdict, String> {
        let callable = asked.callable();
        match &self.end {
            End::Call => {
                let (name, arguments) = self.call.as_ref().ok_or("a call without a call")?;
                if !callable.contains(&name.as_str()) {
                    return Err(format!("it called {name}"));
                }
                keeps_to(&asked.schema(), arguments)
            }
            End::Answer if callable.is_empty() => keeps_to(&asked.schema(), &self.text),
            End::Limit => {
                let max = asked.max_tokens.ok_or("it ended at a limit that nobody gave")?;
                let reason = format!("the limit of {max} new tokens came ");
                let is_told =
                    |warnings: &Vec<String>| warnings.iter().any(|warning| warning.contains(&reason));
                if self.completion_tokens != max {
                    return Err(format!("{} tokens of {max}", self.completion_tokens));
                }
                match self.warnings.as_ref().is_none_or(is_told) {
                    true => Ok(Verdict::Cut),
                    false => Err("cut without a reason".to_owned()),
                }
            }
            other => Err(format!("ended by {other:?}")),
        }
    }

    /// Everything that does not depend on whether it was streamed.
    pub fn plain(&self) -> Value {
        let end = format!("{:?}", self.end);
        json!([end, self.call, self.text, self.completion_tokens, self.reasoning_tokens])
    }
}

/// Whether a text is JSON of the schema, by another implementation than the one that held it.
fn keeps_to(schema: &Value, text: &str) -> Result<Verdict, String> {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        // JSON's numbers have no largest; serde_json's have.
        Err(error) if error.to_string().contains("out of range") => return Ok(Verdict::Whole),
        Err(error) => return Err(format!("{error}: {text:?}")),
    };
    let validator = jsonschema::validator_for(schema).unwrap();
    validator.validate(&value).map(|()| Verdict::Whole).map_err(|error| format!("{error}: {text}"))
}

fn function(value: &Value) -> (String, String) {
    let part = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    (part("name"), part("arguments"))
}

fn strings(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}")) as usize
}
