//! A Chat Completions request as one of Anthropic's Messages.
//!
//! Anthropic refuses fields that it does not know, so only what has a meaning there passes. What an answer
//! would depend on and has none is refused by its name; seeds, users and metadata are left out.

use gptoss_api::ApiError;
use serde_json::{Map, Value, json};

use super::texts;
use crate::limits::ANSWER_TOKENS;

type Object = Map<String, Value>;

/// The request as a message; `thinks` asks for thinking where the conversation allows it.
///
/// Errors: by the parameter's name.
pub fn chat_to_messages(chat: &Object, thinks: bool) -> Result<Object, ApiError> {
    refuse(chat)?;
    let (mut system, mut turns) = (Vec::new(), Turns::default());
    let messages = chat.get("messages").and_then(Value::as_array);
    for (index, message) in messages.ok_or(ApiError::Missing { param: "messages" })?.iter().enumerate() {
        let place = format!("messages[{index}]");
        match message["role"].as_str() {
            Some("system" | "developer") => system.extend(texts(&message["content"])),
            Some("user") => turns.add("user", parts(&message["content"], &place)?),
            Some("assistant") => turns.add("assistant", assistant(message, &place)?),
            Some("tool") => {
                let said = texts(&message["content"]).concat();
                let block =
                    json!({"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": said});
                turns.add("user", vec![block]);
            }
            _ => return Err(ApiError::invalid(format!("{place}.role"), format!("{place}.role is none"))),
        }
    }
    let ends_with_result = turns.ends_with_result();
    let mut request = Object::new();
    request.insert("model".to_owned(), chat.get("model").cloned().unwrap_or_default());
    request.insert("messages".to_owned(), Value::Array(turns.list));
    if !system.is_empty() {
        request.insert("system".to_owned(), json!(system.join("\n\n")));
    }
    let length =
        ["max_completion_tokens", "max_tokens"].into_iter().find_map(|name| chat.get(name)?.as_u64());
    request.insert("max_tokens".to_owned(), json!(length.unwrap_or(ANSWER_TOKENS)));
    tools(chat, &mut request)?;
    sampling(chat, &mut request);
    let mut output = Object::new();
    if let Some(effort) = chat.get("reasoning_effort").and_then(Value::as_str) {
        let effort = match effort {
            "minimal" | "low" => Some("low"),
            "medium" => Some("medium"),
            "high" | "xhigh" => Some("high"),
            _ => None,
        };
        output.extend(effort.map(|effort| ("effort".to_owned(), json!(effort))));
    }
    if let Some(format) = chat.get("response_format")
        && format["type"] == "json_schema"
    {
        let schema = json!({"type": "json_schema", "schema": format["json_schema"]["schema"]});
        output.insert("format".to_owned(), schema);
    }
    if !output.is_empty() {
        request.insert("output_config".to_owned(), Value::Object(output));
    }
    // Between a call and its result Anthropic wants the thinking back, signed, which Chat has no place for.
    if thinks && !ends_with_result && chat.get("reasoning_effort").is_none_or(|effort| effort != "none") {
        request.insert("thinking".to_owned(), json!({"type": "adaptive"}));
        request.remove("temperature");
        request.remove("top_p");
    }
    if chat.get("stream") == Some(&json!(true)) {
        request.insert("stream".to_owned(), json!(true));
    }
    Ok(request)
}

/// What Anthropic's API has no word for.
fn refuse(chat: &Object) -> Result<(), ApiError> {
    let asks = |name: &str| match chat.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Object(object)) => !object.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(_) => true,
    };
    let names = [
        "functions",
        "function_call",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "presence_penalty",
        "frequency_penalty",
        "audio",
        "prediction",
    ];
    if let Some(name) = names.into_iter().find(|name| asks(name)) {
        return Err(ApiError::unsupported(name, "an upstream of Anthropic's has no such thing"));
    }
    if chat.get("n").and_then(Value::as_u64).is_some_and(|number| number > 1) {
        return Err(ApiError::unsupported("n", "an upstream of Anthropic's gives one choice"));
    }
    match chat.get("response_format").map(|format| format["type"] == "json_object") {
        Some(true) => {
            let why = "an upstream of Anthropic's takes json_schema and no json_object";
            Err(ApiError::unsupported("response_format", why))
        }
        _ => Ok(()),
    }
}

/// Turns of user and assistant, which take turns.
#[derive(Default)]
struct Turns {
    list: Vec<Value>,
}

impl Turns {
    fn add(&mut self, role: &str, blocks: Vec<Value>) {
        if blocks.is_empty() {
            return;
        }
        let last = self.list.last_mut().filter(|last| last["role"] == role);
        match last.and_then(|last| last.get_mut("content")).and_then(Value::as_array_mut) {
            Some(content) => content.extend(blocks),
            None => self.list.push(json!({"role": role, "content": blocks})),
        }
    }

    fn ends_with_result(&self) -> bool {
        let blocks = self.list.last().and_then(|last| last["content"].as_array());
        blocks.is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "tool_result"))
    }
}

/// A user's parts as blocks. An empty text would be refused there.
fn parts(content: &Value, place: &str) -> Result<Vec<Value>, ApiError> {
    let parts = match content {
        Value::String(text) if text.is_empty() => return Ok(Vec::new()),
        Value::String(text) => return Ok(vec![json!({"type": "text", "text": text})]),
        Value::Array(parts) => parts,
        _ => return Ok(Vec::new()),
    };
    let mut blocks = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        match part["type"].as_str().unwrap_or("text") {
            "text" | "input_text" if part["text"] == "" => {}
            "text" | "input_text" => blocks.push(json!({"type": "text", "text": part["text"]})),
            "image_url" => {
                let url = part["image_url"]["url"].as_str().unwrap_or_default();
                let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
                let source = match data {
                    Some((kind, data)) => json!({"type": "base64", "media_type": kind, "data": data}),
                    None => json!({"type": "url", "url": url}),
                };
                blocks.push(json!({"type": "image", "source": source}));
            }
            kind => {
                let why = format!("a part of the type {kind:?} cannot be passed on to this upstream");
                return Err(ApiError::unsupported(format!("{place}.content[{index}]"), why));
            }
        }
    }
    Ok(blocks)
}

fn assistant(message: &Value, place: &str) -> Result<Vec<Value>, ApiError> {
    let said: String = texts(&message["content"]).concat();
    let mut blocks: Vec<Value> =
        (!said.is_empty()).then(|| json!({"type": "text", "text": said})).into_iter().collect();
    let calls = message["tool_calls"].as_array();
    for (index, call) in calls.into_iter().flatten().enumerate() {
        let function = &call["function"];
        let Some(name) = function["name"].as_str() else {
            let place = format!("{place}.tool_calls[{index}]");
            return Err(ApiError::unsupported(place, "an upstream of Anthropic's has functions alone"));
        };
        let arguments = function["arguments"].as_str().unwrap_or_default();
        let input = serde_json::from_str::<Value>(arguments).ok().filter(Value::is_object);
        let input = input.unwrap_or_else(|| json!({}));
        blocks.push(json!({"type": "tool_use", "id": call["id"], "name": name, "input": input}));
    }
    Ok(blocks)
}

fn tools(chat: &Object, request: &mut Object) -> Result<(), ApiError> {
    let Some(tools) = chat.get("tools").and_then(Value::as_array).filter(|tools| !tools.is_empty()) else {
        return Ok(());
    };
    let mut list = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        let function = &tool["function"];
        if !function.is_object() {
            let why = "an upstream of Anthropic's has functions alone";
            return Err(ApiError::unsupported(format!("tools[{index}]"), why));
        }
        let schema = match &function["parameters"] {
            Value::Object(schema) => Value::Object(schema.clone()),
            _ => json!({"type": "object", "properties": {}}),
        };
        let mut made = json!({"name": function["name"], "input_schema": schema});
        for field in ["description", "strict"] {
            if let Some(value) = function.get(field).filter(|value| !value.is_null()) {
                made[field] = value.clone();
            }
        }
        list.push(made);
    }
    request.insert("tools".to_owned(), Value::Array(list));
    let choice = chat.get("tool_choice");
    let mut made = match choice {
        Some(Value::String(word)) if word == "required" => json!({"type": "any"}),
        Some(Value::String(word)) if word == "none" => json!({"type": "none"}),
        Some(Value::Object(choice)) => {
            match choice.get("function").and_then(|function| function["name"].as_str()) {
                Some(name) => json!({"type": "tool", "name": name}),
                None => {
                    return Err(ApiError::unsupported(
                        "tool_choice",
                        "an upstream cannot be held to this choice",
                    ));
                }
            }
        }
        _ => json!({"type": "auto"}),
    };
    if chat.get("parallel_tool_calls") == Some(&json!(false)) && made["type"] != "none" {
        made["disable_parallel_tool_use"] = json!(true);
    }
    request.insert("tool_choice".to_owned(), made);
    Ok(())
}

fn sampling(chat: &Object, request: &mut Object) {
    if let Some(temperature) = chat.get("temperature").and_then(Value::as_f64) {
        // Beyond 1 there is nothing.
        request.insert("temperature".to_owned(), json!(temperature.clamp(0.0, 1.0)));
    } else if let Some(top_p) = chat.get("top_p").filter(|value| value.is_number()) {
        // Newer models take one of the two.
        request.insert("top_p".to_owned(), top_p.clone());
    }
    let stops = match chat.get("stop") {
        Some(Value::String(stop)) => vec![json!(stop)],
        Some(Value::Array(stops)) => stops.clone(),
        _ => Vec::new(),
    };
    if !stops.is_empty() {
        request.insert("stop_sequences".to_owned(), Value::Array(stops));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_with_calls() {
        let chat = json!({
            "model": "claude", "stream": true, "temperature": 1.5, "top_p": 0.5, "stop": "x", "seed": 1, "user": "u",
            "reasoning_effort": "minimal", "parallel_tool_calls": false, "tomorrow": 1,
            "messages": [
                {"role": "developer", "content": "Be kind."},
                {"role": "user", "content": [{"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
                    {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "not json"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "1"},
                {"role": "tool", "tool_call_id": "c2", "content": "2"},
                {"role": "user", "content": "and?"},
            ],
            "tools": [{"type": "function", "function": {"name": "f"}}],
        });
        let made = Value::Object(chat_to_messages(chat.as_object().unwrap(), true).unwrap());
        assert_eq!(made["system"], json!("Be kind."));
        let roles: Vec<&str> =
            made["messages"].as_array().unwrap().iter().map(|turn| turn["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "assistant", "user"]);
        assert_eq!(made["messages"][0]["content"][1]["source"]["media_type"], json!("image/png"));
        assert_eq!(made["messages"][1]["content"][0]["input"], json!({"a": 1}));
        assert_eq!(made["messages"][1]["content"][1]["input"], json!({}));
        assert_eq!(made["messages"][2]["content"].as_array().unwrap().len(), 3);
        assert_eq!(made["tools"][0]["input_schema"]["type"], json!("object"));
        assert_eq!(made["tool_choice"], json!({"type": "auto", "disable_parallel_tool_use": true}));
        assert_eq!((&made["temperature"], &made["max_tokens"]), (&json!(1.0), &json!(ANSWER_TOKENS)));
        assert_eq!(made["output_config"], json!({"effort": "low"}));
        for name in ["top_p", "seed", "user", "tomorrow", "thinking"] {
            assert!(made.get(name).is_none(), "{name}");
        }
    }

    #[test]
    fn what_anthropic_has_no_word_for_is_refused_by_name() {
        let check = |mut chat: Value, expect: &str| {
            chat["messages"] = json!([{"role": "user", "content": "x"}]);
            let error = chat_to_messages(chat.as_object().unwrap(), false).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(json!({"n": 2}), "'n'");
        check(json!({"logprobs": true}), "logprobs");
        check(json!({"presence_penalty": 0.5}), "presence_penalty");
        check(json!({"response_format": {"type": "json_object"}}), "response_format");
        check(json!({"tools": [{"type": "custom", "custom": {"name": "c"}}]}), "tools[0]");
        let harmless = json!({"n": 1, "logprobs": false, "presence_penalty": 0, "messages": [{"role": "user", "content": "x"}]});
        assert!(chat_to_messages(harmless.as_object().unwrap(), false).is_ok());
    }
}
