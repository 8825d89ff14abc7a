//! Who answers: this program's engine, its agent, or a server of OpenAI's API.
//!
//! All take the same question: a conversation, functions, an effort, limits. Any number of threads may ask
//! at a time; each waits for its answer.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use gptoss_eval::{Ask, AskMessage, AskRole, Item, Response};
use gptoss_harmony::{FunctionTool, Message, ReasoningEffort};
use gptoss_turn::{Outcome, SamplingParams, TurnEnd, TurnOptions};
use serde_json::{Map, Value, json};

use super::address::{Address, Failure, one_call};
use super::repairer::Repairer;
use crate::generation::{ConversationHead, Session};

/// Who answers.
pub enum Answerer {
    /// The engine of this program.
    Engine(Box<Session>),
    /// The engine, in a repository.
    Repairer(Box<Repairer>),
    /// A server.
    Address(Box<Address>),
}

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

impl Answerer {
    /// Puts a question and waits for the answer, whose id and repeat are the caller's.
    ///
    /// Errors: there is none, or `stop` was raised.
    pub fn answer(
        &self,
        item: &Item,
        how: &Manner,
        seed: u64,
        stop: &AtomicBool,
    ) -> Result<Response, Failure> {
        let ask = &item.ask;
        let names = Names::of(&ask.functions);
        let mut response = match self {
            Answerer::Engine(session) => engine_answer(session, ask, &names, how, seed, stop)?,
            Answerer::Repairer(repairer) => {
                repairer.answer(item, how, options(repairer.session(), how, seed), stop)?
            }
            Answerer::Address(address) => address.ask(&body(ask, &names, how, Some(seed)), stop)?,
        };
        for call in response.calls.iter_mut().flatten() {
            names.restore(call);
        }
        Ok(response)
    }
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
    fn restore(&self, call: &mut Value) {
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

/// How a turn is taken.
fn options(session: &Session, how: &Manner, seed: u64) -> TurnOptions {
    let own = &session.options;
    TurnOptions {
        sampling: SamplingParams {
            temperature: how.temperature.unwrap_or(own.sampling.temperature),
            top_p: how.top_p.unwrap_or(own.sampling.top_p),
            seed,
            ..own.sampling.clone()
        },
        max_new_tokens: how.max_tokens.map(|tokens| tokens as usize),
        ..own.clone()
    }
}

fn engine_answer(
    session: &Session,
    ask: &Ask,
    names: &Names,
    how: &Manner,
    seed: u64,
    stop: &AtomicBool,
) -> Result<Response, Failure> {
    let options = options(session, how, seed);
    let (head, turns) = opened(ask, names, how);
    let outcome = session.assistant().run_turn(&head.conversation(&turns), &options, stop, &mut |_| {});
    match outcome {
        Ok(outcome) if outcome.end == TurnEnd::Cancelled => Err(Failure::Stopped),
        Ok(outcome) => Ok(response(&outcome)),
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
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

fn response(outcome: &Outcome) -> Response {
    let usage = &outcome.usage.engine;
    let calls: Vec<Value> = outcome.calls.iter().map(|call| one_call(&call.name, &call.arguments)).collect();
    Response {
        response: outcome.answer().unwrap_or_default(),
        reasoning: outcome.reasoning(),
        calls: Some(calls).filter(|calls| !calls.is_empty()),
        finish_reason: Some(outcome.end.finish_reason().to_owned()),
        usage: Some(json!({
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "completion_tokens_details": {"reasoning_tokens": outcome.usage.reasoning_tokens},
        })),
        ..Response::default()
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
