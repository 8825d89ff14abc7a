//! How a question is put, in harmony's form and in that of the chat API.

use std::collections::BTreeMap;

use gptoss_eval::{Ask, AskMessage, AskRole};
use gptoss_harmony::{FunctionTool, Message, ReasoningEffort};
use serde_json::{Map, Value, json};

use crate::generation::ConversationHead;

/// How a question is put.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manner {
    /// How much the model reasons; none leaves it to the server, and is `medium` here.
    pub effort: Option<ReasoningEffort>,
    /// Randomness, where it is not the model's own.
    pub temperature: Option<f32>,
    /// The likeliest tokens that are kept, where that is not the model's own.
    pub top_p: Option<f32>,
    /// Most tokens of an answer, reasoning among them.
    pub max_tokens: Option<u32>,
    /// The date that a model here is told.
    pub date: Option<String>,
}

/// The body of a request but for the model's name.
pub fn body(ask: &Ask, names: &Names, how: &Manner, seed: Option<u64>) -> Map<String, Value> {
    let mut body = Map::new();
    let message = |message: &AskMessage| json!({"role": message.role.name(), "content": message.text});
    body.insert("messages".to_owned(), ask.messages.iter().map(message).collect());
    if !ask.functions.is_empty() {
        let tool = |function: &Value| json!({"type": "function", "function": names.offered(function)});
        body.insert("tools".to_owned(), ask.functions.iter().map(tool).collect());
    }
    let effort = how.effort.map(|effort| json!(effort.as_str()));
    let fields = [
        ("reasoning_effort", effort),
        ("temperature", how.temperature.map(|value| json!(value))),
        ("top_p", how.top_p.map(|value| json!(value))),
        ("max_completion_tokens", how.max_tokens.map(|value| json!(value))),
        ("seed", seed.map(|value| json!(value))),
    ];
    body.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    body
}

/// Names of functions as the API allows them, and what they are in the benchmark: `math.factorial` is
/// `math_factorial` there.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Of these functions.
    pub fn of(functions: &[Value]) -> Names {
        let names = functions.iter().filter_map(|function| function["name"].as_str());
        Names(names.map(|name| (allowed(name), name.to_owned())).collect())
    }

    /// A function under the name by which it is offered.
    fn offered(&self, function: &Value) -> Value {
        let mut function = function.clone();
        if let Some(name) = function["name"].as_str().map(allowed) {
            function["name"] = json!(name);
        }
        function
    }

    /// Gives a call its function's own name back.
    pub fn restore(&self, call: &mut Value) {
        if let Value::Object(object) = call {
            let own = |name: String| self.0.get(&name).cloned().unwrap_or(name);
            *object =
                std::mem::take(object).into_iter().map(|(name, arguments)| (own(name), arguments)).collect();
        }
    }
}

fn allowed(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' }).collect()
}

/// The head of a conversation and what stands behind it.
pub fn opened(ask: &Ask, names: &Names, how: &Manner) -> (ConversationHead, Vec<Message>) {
    let is_instruction = |message: &&AskMessage| matches!(message.role, AskRole::System | AskRole::Developer);
    let instructions: Vec<&str> =
        ask.messages.iter().filter(is_instruction).map(|message| message.text.as_str()).collect();
    let turns = ask.messages.iter().filter_map(|message| match message.role {
        AskRole::User => Some(Message::user(message.text.as_str())),
        AskRole::Assistant => Some(Message::assistant("final", message.text.as_str())),
        AskRole::System | AskRole::Developer => None,
    });
    let head = ConversationHead {
        effort: how.effort.unwrap_or(ReasoningEffort::Medium),
        instructions: Some(instructions.join("\n\n")).filter(|text| !text.is_empty()),
        functions: ask.functions.iter().map(|function| tool(&names.offered(function))).collect(),
        date: how.date.clone(),
    };
    (head, turns.collect())
}

fn tool(function: &Value) -> FunctionTool {
    let text = |name: &str| function[name].as_str().unwrap_or_default().to_owned();
    FunctionTool {
        name: text("name"),
        description: text("description"),
        parameters: function.get("parameters").filter(|schema| schema.is_object()).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_in_both_forms() {
        let message = |role, text: &str| AskMessage { role, text: text.to_owned() };
        let ask = Ask {
            messages: vec![message(AskRole::System, "Be brief."), message(AskRole::User, "5!")],
            functions: vec![
                json!({"name": "math.factorial", "description": "n!", "parameters": {"type": "object"}}),
            ],
        };
        let how = Manner { effort: Some(ReasoningEffort::Low), max_tokens: Some(9), ..Manner::default() };
        let names = Names::of(&ask.functions);
        let body = Value::Object(body(&ask, &names, &how, Some(7)));
        let expect = json!({
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "5!"}],
            "tools": [{"type": "function", "function": {"name": "math_factorial", "description": "n!", "parameters": {"type": "object"}}}],
            "reasoning_effort": "low", "max_completion_tokens": 9, "seed": 7,
        });
        assert_eq!(body, expect);
        let (head, turns) = opened(&ask, &names, &how);
        assert_eq!(head.instructions.as_deref(), Some("Be brief."));
        assert_eq!((head.functions[0].name.as_str(), turns), ("math_factorial", vec![Message::user("5!")]));
        let mut call = json!({"math_factorial": {"n": 5}});
        names.restore(&mut call);
        assert_eq!(call, json!({"math.factorial": {"n": 5}}));
    }
}
