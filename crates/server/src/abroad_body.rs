//! One turn of a response as an upstream is asked for it: a body of the Responses API with everything that
//! was said so far.
//!
//! What the client asks besides stays as it came. The conversation, the tools and the choice among them are
//! written anew from what was read: this server's tools are functions there, whose names have no dots
//! ([`WireNames`]), and calls have numbers for ids, since their place is the same in every turn.

use std::collections::VecDeque;

use gptoss_api::ApiError;
use gptoss_api::generation::hosted::PYTHON;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::generation::tools::{Choice, Grammar, Kind, Tool, Tools};
use gptoss_gateway::RawObject;
use gptoss_harmony::{Content, Message, Role};
use serde_json::{Value, json};

/// Fields that are this server's affair, or are written anew.
const OWN_FIELDS: [&str; 12] = [
    "background",
    "context_management",
    "conversation",
    "include",
    "include_reasoning",
    "instructions",
    "max_tool_calls",
    "moderation",
    "previous_response_id",
    "prompt",
    "tool_choice",
    "truncation",
];
/// Longest name of a function that upstreams take. Units: bytes.
const NAME_BYTES_MAX: usize = 64;
/// What stands for a dot in the name of a function.
const DOT: &str = "__";
/// The one argument of Python.
const CODE: &str = "code";

/// What this server's tools are called at an upstream, each with its recipient here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WireNames(Vec<(String, String)>);

impl WireNames {
    /// Of a request's tools.
    ///
    /// Errors: a function of the client's has the name of one.
    pub(crate) fn of(tools: &Tools) -> Result<WireNames, ApiError> {
        let mut names: Vec<(String, String)> = Vec::new();
        for (index, recipient) in tools.hosted.recipients().into_iter().enumerate() {
            let mut wire = recipient.replace('.', DOT);
            if wire.len() > NAME_BYTES_MAX {
                let end = format!("_{index}");
                wire.truncate(NAME_BYTES_MAX - end.len());
                wire.push_str(&end);
            }
            if tools.find(&wire).is_some() || names.iter().any(|(other, _)| *other == wire) {
                let message =
                    format!("the name {wire:?} stands for more than one tool: {recipient} is called so too");
                return Err(ApiError::invalid("tools", message));
            }
            names.push((wire, recipient));
        }
        Ok(WireNames(names))
    }

    /// Whom a function of that name calls here; None is the client's.
    pub(crate) fn recipient(&self, wire: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == wire).map(|(_, recipient)| recipient.as_str())
    }

    fn wire(&self, recipient: &str) -> String {
        let known = self.0.iter().find(|(_, other)| other == recipient);
        known.map_or_else(|| recipient.replace('.', DOT), |(name, _)| name.clone())
    }
}

/// What a call to a recipient says here, of the arguments of a function.
pub(crate) fn said_here(recipient: &str, arguments: &str) -> String {
    let code = || serde_json::from_str::<Value>(arguments).ok()?.get(CODE)?.as_str().map(str::to_owned);
    match recipient == PYTHON {
        // What is no JSON is code.
        true => code().unwrap_or_else(|| arguments.to_owned()),
        false => arguments.to_owned(),
    }
}

/// The body of the next turn, out of the client's; `foreign` are tools that neither this server nor the
/// client runs.
///
/// Errors: a field that cannot be read.
pub(crate) fn body(
    asked: &RawObject,
    generation: &GenerationRequest,
    names: &WireNames,
    foreign: &[Value],
    sends_reasoning: bool,
) -> Result<RawObject, ApiError> {
    let mut body = asked.clone();
    OWN_FIELDS.into_iter().for_each(|name| drop(body.remove(name)));
    let messages = &generation.conversation.messages;
    if let Some(instructions) = instructions(messages) {
        body.set("instructions", &json!(instructions));
    }
    // It stands among the instructions.
    if let Some(Value::Object(mut text)) = body.read("text")? {
        text.remove("verbosity");
        body.set("text", &Value::Object(text));
    }
    body.set("input", &Value::Array(input(messages, &generation.tools, names, sends_reasoning)));
    let mut tools = tools(&generation.tools, names);
    // Those of nobody here: the upstream's entry says what becomes of them.
    tools.extend(foreign.iter().cloned());
    body.set("tools", &Value::Array(tools));
    body.set("tool_choice", &choice(&generation.tools, names));
    // A call that runs here is answered before the next is made.
    body.set("parallel_tool_calls", &json!(false));
    if let Some(max) = generation.max_new_tokens {
        body.set("max_output_tokens", &json!(max));
    }
    body.set("store", &json!(false));
    body.set("stream", &json!(true));
    Ok(body)
}

/// What the developer wants, which stands before the conversation.
fn instructions(messages: &[Message]) -> Option<String> {
    let head = messages.iter().take_while(|message| is_head(message));
    head.flat_map(|message| &message.content).find_map(|content| match content {
        Content::Developer(developer) => developer.instructions.clone(),
        Content::System(_) | Content::Text(_) => None,
    })
}

fn is_head(message: &Message) -> bool {
    matches!(message.author.role, Role::System | Role::Developer)
}

fn input(messages: &[Message], tools: &Tools, names: &WireNames, sends_reasoning: bool) -> Vec<Value> {
    let mut items = Vec::new();
    // Calls without a result: id, recipient, and whether they are free text.
    let mut open: VecDeque<(String, String, bool)> = VecDeque::new();
    let num_head = messages.iter().take_while(|message| is_head(message)).count().min(2);
    for (index, message) in messages.iter().enumerate().skip(num_head) {
        let text = message.text();
        match (message.author.role, message.recipient.as_deref(), message.channel.as_deref()) {
            (Role::System, ..) => {}
            (Role::Developer, ..) => items.extend(developer(message)),
            (Role::User, ..) => items.push(json!({"role": "user", "content": text})),
            (Role::Tool, ..) => {
                let name = message.author.name.as_deref().unwrap_or_default();
                let place = open.iter().position(|(_, recipient, _)| recipient == name);
                let Some((call_id, _, is_free)) = place.and_then(|place| open.remove(place)) else {
                    continue;
                };
                let kind = if is_free { "custom_tool_call_output" } else { "function_call_output" };
                items.push(json!({"type": kind, "call_id": call_id, "output": text}));
            }
            (Role::Assistant, Some(recipient), _) => {
                let call_id = format!("call_{index}");
                let (item, is_free) = call(recipient, &text, &call_id, (tools, names));
                items.push(item);
                open.push_back((call_id, recipient.to_owned(), is_free));
            }
            (Role::Assistant, None, Some("analysis")) => {
                if sends_reasoning {
                    items.push(json!({"type": "reasoning", "id": format!("rs_{index}"), "summary": [],
                        "content": [{"type": "reasoning_text", "text": text}]}));
                }
            }
            (Role::Assistant, None, _) => items.push(json!({"role": "assistant", "content": text})),
        }
    }
    items
}

fn developer(message: &Message) -> Option<Value> {
    message.content.iter().find_map(|content| match content {
        Content::Developer(developer) => {
            let text = developer.instructions.as_ref()?;
            Some(json!({"role": "developer", "content": text}))
        }
        Content::System(_) | Content::Text(_) => None,
    })
}

/// A call as an item, and whether it is free text.
fn call(recipient: &str, text: &str, call_id: &str, (tools, names): (&Tools, &WireNames)) -> (Value, bool) {
    let (name, arguments) = match recipient.strip_prefix("functions.") {
        Some(name) if tools.find(name).is_some_and(is_free) => {
            let item = json!({"type": "custom_tool_call", "call_id": call_id, "name": name, "input": text});
            return (item, true);
        }
        Some(name) => (name.to_owned(), text.to_owned()),
        None if recipient == PYTHON => (names.wire(recipient), json!({CODE: text}).to_string()),
        None => (names.wire(recipient), text.to_owned()),
    };
    let item = json!({"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments});
    (item, false)
}

/// Whether a tool takes free text.
fn is_free(tool: &Tool) -> bool {
    matches!(tool.kind, Kind::Custom | Kind::ApplyPatch)
}

/// The tools, each a function but for those that take free text.
fn tools(tools: &Tools, names: &WireNames) -> Vec<Value> {
    let mut list: Vec<Value> = tools.list.iter().map(own_tool).collect();
    let hosted = &tools.hosted;
    for namespace in hosted.builtins().into_iter().chain(hosted.namespaces()) {
        if namespace.name == PYTHON {
            let parameters = json!({
                "type": "object", "properties": {CODE: {"type": "string", "description": "Python source."}},
                "required": [CODE], "additionalProperties": false,
            });
            list.push(function(&names.wire(PYTHON), namespace.description.as_deref(), Some(&parameters)));
            continue;
        }
        // What it says of itself stands with its first tool.
        let mut before = namespace.description;
        for tool in namespace.tools {
            let words = [before.take().unwrap_or_default(), tool.description].join("\n\n");
            let wire = names.wire(&format!("{}.{}", namespace.name, tool.name));
            list.push(function(&wire, Some(words.trim()), tool.parameters.as_ref()));
        }
    }
    list
}

fn function(name: &str, description: Option<&str>, parameters: Option<&Value>) -> Value {
    let empty = || json!({"type": "object", "properties": {}});
    json!({"type": "function", "name": name, "description": description.unwrap_or_default(),
        "parameters": parameters.cloned().unwrap_or_else(empty)})
}

fn own_tool(tool: &Tool) -> Value {
    if !is_free(tool) {
        let mut made = function(&tool.harmony_name, Some(&tool.description), tool.parameters.as_ref());
        made["strict"] = json!(tool.strict);
        return made;
    }
    let mut made = json!({"type": "custom", "name": tool.harmony_name, "description": tool.description});
    let grammar = |syntax: &str, definition: &str| json!({"type": "grammar", "syntax": syntax, "definition": definition});
    match &tool.grammar {
        Some(Grammar::Lark(definition)) => made["format"] = grammar("lark", definition),
        Some(Grammar::Regex(definition)) => made["format"] = grammar("regex", definition),
        None => {}
    }
    made
}

fn choice(tools: &Tools, names: &WireNames) -> Value {
    match &tools.choice {
        Choice::Auto => json!("auto"),
        Choice::None => json!("none"),
        Choice::Required => json!("required"),
        Choice::Named(name) => {
            let kind = if tools.find(name).is_some_and(is_free) { "custom" } else { "function" };
            json!({"type": kind, "name": names.wire(name)})
        }
    }
}
