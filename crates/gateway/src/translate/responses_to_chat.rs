//! A Responses request as one of Chat Completions, for upstreams that have nothing else.
//!
//! What Chat has no words for and an answer would depend on is refused by its name; what only concerns where
//! an answer is kept is left out. Fields that are not known pass.

use gptoss_api::ApiError;
use gptoss_api::generation::tools::Tools;
use serde_json::{Map, Value, json};

use super::texts;

/// The one argument of a custom tool that is offered as a function.
pub const CUSTOM_ARGUMENT: &str = "input";

/// Fields that are read here, or that say nothing in Chat.
const OWN: [&str; 18] = [
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "text",
    "reasoning",
    "max_output_tokens",
    "include",
    "truncation",
    "background",
    "store",
    "max_tool_calls",
    "context_management",
    "stream_options",
    "conversation",
    "previous_response_id",
    "prompt",
    "metadata",
];

type Object = Map<String, Value>;

/// The request as a chat.
///
/// Errors: by the parameter's name.
pub fn responses_to_chat(request: &Object, sends_reasoning: bool) -> Result<Object, ApiError> {
    if request.get("top_logprobs").is_some_and(|value| !value.is_null() && *value != 0) {
        let why = "an upstream that has Chat Completions alone tells none here";
        return Err(ApiError::unsupported("top_logprobs", why));
    }
    let mut chat = Object::new();
    let mut messages = Messages { sends_reasoning, ..Messages::default() };
    if let Some(text) = request.get("instructions").and_then(Value::as_str) {
        messages.list.push(json!({"role": "system", "content": text}));
    }
    match request.get("input") {
        Some(Value::String(text)) => messages.list.push(json!({"role": "user", "content": text})),
        Some(Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                messages.item(item, &format!("input[{index}]"))?;
            }
        }
        _ => return Err(ApiError::Missing { param: "input" }),
    }
    chat.insert("messages".to_owned(), Value::Array(messages.list));
    if let Some(tools) = request.get("tools").and_then(Value::as_array) {
        let mut list = Vec::new();
        for (index, value) in tools.iter().enumerate() {
            tool(value, None, &format!("tools[{index}]"), &mut list)?;
        }
        if !list.is_empty() {
            chat.insert("tools".to_owned(), Value::Array(list));
            if let Some(choice) = choice(request.get("tool_choice"))? {
                chat.insert("tool_choice".to_owned(), choice);
            }
        }
    }
    if let Some(format) = request.get("text").and_then(|text| text.get("format")) {
        chat.extend(response_format(format).map(|format| ("response_format".to_owned(), format)));
    }
    if let Some(effort) = request.get("reasoning").and_then(|reasoning| reasoning.get("effort"))
        && effort.is_string()
    {
        chat.insert("reasoning_effort".to_owned(), effort.clone());
    }
    if let Some(length) = request.get("max_output_tokens").filter(|length| length.is_u64()) {
        chat.insert("max_completion_tokens".to_owned(), length.clone());
    }
    let rest = request.iter().filter(|(name, value)| !OWN.contains(&name.as_str()) && !value.is_null());
    chat.extend(rest.map(|(name, value)| (name.clone(), value.clone())));
    if !chat.contains_key("tools") {
        chat.remove("parallel_tool_calls");
    }
    Ok(chat)
}

/// Messages while items are put into them.
#[derive(Default)]
struct Messages {
    list: Vec<Value>,
    /// Reasoning that belongs to the assistant's next message.
    reasoning: Option<String>,
    sends_reasoning: bool,
}

impl Messages {
    fn item(&mut self, item: &Value, place: &str) -> Result<(), ApiError> {
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match item.get("type").and_then(Value::as_str).unwrap_or("message") {
            "message" => self.message(item, place),
            "reasoning" => {
                let parts = item.get("content").and_then(Value::as_array);
                let texts = parts.into_iter().flatten().filter_map(|part| part["text"].as_str());
                let said: String = texts.collect();
                if self.sends_reasoning && !said.is_empty() {
                    self.reasoning = Some(said);
                }
                Ok(())
            }
            "function_call" => {
                let namespace = item.get("namespace").and_then(Value::as_str);
                let name = Tools::harmony_name(namespace, &text("name"));
                self.call(text("call_id"), name, text("arguments"));
                Ok(())
            }
            "custom_tool_call" => {
                let arguments = json!({CUSTOM_ARGUMENT: text("input")}).to_string();
                self.call(text("call_id"), text("name"), arguments);
                Ok(())
            }
            "function_call_output" | "custom_tool_call_output" => {
                self.reasoning = None;
                let content = texts(&item["output"]).concat();
                self.list.push(json!({"role": "tool", "tool_call_id": text("call_id"), "content": content}));
                Ok(())
            }
            kind => {
                let why =
                    format!("an upstream that has Chat Completions alone has no items of the type {kind:?}");
                Err(ApiError::unsupported(place, why))
            }
        }
    }

    fn message(&mut self, item: &Value, place: &str) -> Result<(), ApiError> {
        let role = match item.get("role").and_then(Value::as_str) {
            Some("developer" | "system") => "system",
            Some("assistant") => "assistant",
            Some("user") => "user",
            _ => return Err(ApiError::invalid(format!("{place}.role"), format!("{place}.role is none"))),
        };
        let content = match item.get("content") {
            Some(Value::String(text)) => json!(text),
            Some(Value::Array(parts)) => content(parts, role, place)?,
            _ => json!(""),
        };
        let mut message = json!({"role": role, "content": content});
        if role == "assistant" {
            self.give_reasoning(&mut message);
        } else {
            // What was thought before an answer is not read again.
            self.reasoning = None;
        }
        self.list.push(message);
        Ok(())
    }

    fn give_reasoning(&mut self, message: &mut Value) {
        if let Some(reasoning) = self.reasoning.take() {
            message["reasoning"] = json!(reasoning);
        }
    }

    fn call(&mut self, id: String, name: String, arguments: String) {
        let call = json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        let last = self.list.last_mut().filter(|last| last["role"] == "assistant");
        match last {
            Some(last) => match last.get_mut("tool_calls").and_then(Value::as_array_mut) {
                Some(calls) => calls.push(call),
                None => last["tool_calls"] = json!([call]),
            },
            None => {
                let mut message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
                self.give_reasoning(&mut message);
                self.list.push(message);
            }
        }
    }
}

/// Parts of a message. Texts alone become one text, which every host takes.
fn content(parts: &[Value], role: &str, place: &str) -> Result<Value, ApiError> {
    let mut list = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or("input_text");
        match kind {
            "input_text" | "output_text" | "text" => {
                list.push(json!({"type": "text", "text": part["text"].as_str().unwrap_or_default()}));
            }
            "refusal" => {
                list.push(json!({"type": "text", "text": part["refusal"].as_str().unwrap_or_default()}))
            }
            "input_image" if role == "user" && part["image_url"].is_string() => {
                let mut image = json!({"url": part["image_url"]});
                if part["detail"].is_string() {
                    image["detail"] = part["detail"].clone();
                }
                list.push(json!({"type": "image_url", "image_url": image}));
            }
            kind => {
                let place = format!("{place}.content[{index}]");
                let why = format!("a part of the type {kind:?} cannot be passed on to this upstream");
                return Err(ApiError::unsupported(place, why));
            }
        }
    }
    let is_text = list.iter().all(|part| part["type"] == "text");
    Ok(match is_text {
        true => json!(list.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")),
        false => Value::Array(list),
    })
}

fn tool(value: &Value, namespace: Option<&str>, place: &str, list: &mut Vec<Value>) -> Result<(), ApiError> {
    let name = value.get("name").and_then(Value::as_str).unwrap_or_default();
    let called = Tools::harmony_name(namespace, name);
    match value.get("type").and_then(Value::as_str).unwrap_or("function") {
        "function" => {
            let mut function = json!({"name": called});
            for field in ["description", "parameters", "strict"] {
                if let Some(value) = value.get(field).filter(|value| !value.is_null()) {
                    function[field] = value.clone();
                }
            }
            list.push(json!({"type": "function", "function": function}));
            Ok(())
        }
        "custom" => {
            let description = value.get("description").and_then(Value::as_str).unwrap_or_default();
            let schema = json!({
                "type": "object", "properties": {CUSTOM_ARGUMENT: {"type": "string"}},
                "required": [CUSTOM_ARGUMENT], "additionalProperties": false,
            });
            let function = json!({"name": called, "description": description, "parameters": schema});
            list.push(json!({"type": "function", "function": function}));
            Ok(())
        }
        "namespace" if namespace.is_none() => {
            let inner = value.get("tools").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for (index, value) in inner.iter().enumerate() {
                tool(value, Some(name), &format!("{place}.tools[{index}]"), list)?;
            }
            Ok(())
        }
        kind => {
            let why =
                format!("an upstream that has Chat Completions alone runs no tools of the type {kind:?}");
            Err(ApiError::unsupported(place, why))
        }
    }
}

fn choice(choice: Option<&Value>) -> Result<Option<Value>, ApiError> {
    match choice {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) => Ok(Some(json!(word))),
        Some(choice) => match (choice["type"].as_str(), choice["name"].as_str()) {
            (Some("function" | "custom"), Some(name)) => {
                Ok(Some(json!({"type": "function", "function": {"name": name}})))
            }
            _ => Err(ApiError::unsupported("tool_choice", "an upstream cannot be held to this choice")),
        },
    }
}

fn response_format(format: &Value) -> Option<Value> {
    match format["type"].as_str()? {
        "json_schema" => {
            let mut schema = Object::new();
            for field in ["name", "description", "schema", "strict"] {
                if let Some(value) = format.get(field).filter(|value| !value.is_null()) {
                    schema.insert(field.to_owned(), value.clone());
                }
            }
            Some(json!({"type": "json_schema", "json_schema": schema}))
        }
        "json_object" => Some(json!({"type": "json_object"})),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(request: Value) -> Result<Value, ApiError> {
        responses_to_chat(request.as_object().unwrap(), true).map(Value::Object)
    }

    #[test]
    fn a_conversation_with_calls() {
        let request = json!({
            "model": "m", "instructions": "Be kind.", "max_output_tokens": 9, "reasoning": {"effort": "high"},
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "so"}]},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
                {"type": "function_call_output", "call_id": "c1", "output": "1"},
                {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "2"}]},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true},
                      {"type": "custom", "name": "g"}],
            "tool_choice": {"type": "function", "name": "f"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
            "store": true, "stream": true, "top_p": 0.5, "tomorrow": [1],
        });
        let made = chat(request).unwrap();
        assert_eq!(made["messages"][0], json!({"role": "system", "content": "Be kind."}));
        assert_eq!(made["messages"][1], json!({"role": "user", "content": "hi"}));
        let assistant = &made["messages"][2];
        assert_eq!(
            (assistant["reasoning"].as_str(), assistant["tool_calls"].as_array().map(Vec::len)),
            (Some("so"), Some(2))
        );
        assert_eq!(assistant["tool_calls"][1]["function"]["arguments"], json!("{\"input\":\"x\"}"));
        assert_eq!(made["messages"][4], json!({"role": "tool", "tool_call_id": "c2", "content": "2"}));
        assert_eq!(made["tools"][0]["function"]["strict"], json!(true));
        assert_eq!(made["tool_choice"], json!({"type": "function", "function": {"name": "f"}}));
        assert_eq!(made["response_format"]["json_schema"]["name"], json!("n"));
        assert_eq!((&made["reasoning_effort"], &made["max_completion_tokens"]), (&json!("high"), &json!(9)));
        assert_eq!((&made["top_p"], &made["tomorrow"]), (&json!(0.5), &json!([1])));
        assert!(made.get("store").is_none() && made.get("text").is_none());
    }

    #[test]
    fn what_chat_has_no_words_for_is_refused_by_name() {
        let check = |request: Value, expect: &str| {
            let error = chat(request).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(json!({"input": [{"type": "item_reference", "id": "x"}]}), "input[0]");
        check(json!({"input": "x", "tools": [{"type": "mcp"}]}), "tools[0]");
        check(json!({"input": "x", "top_logprobs": 2}), "top_logprobs");
        check(
            json!({"input": "x", "tools": [{"type": "function", "name": "f"}],
                     "tool_choice": {"type": "allowed_tools"}}),
            "tool_choice",
        );
        check(json!({}), "input");
        check(
            json!({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}),
            "input[0].content[0]",
        );
    }
}
