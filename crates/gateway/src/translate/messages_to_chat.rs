//! A Messages request as one of Chat Completions.

use gptoss_api::ApiError;
use serde_json::{Map, Value, json};

use super::texts;

type Object = Map<String, Value>;

/// What a block of Claude Code's begins with that changes with every request.
const BILLING: &str = "x-anthropic-billing-header:";

/// The request as a chat.
///
/// Errors: by the parameter's name.
pub fn messages_to_chat(request: &Object, sends_reasoning: bool) -> Result<Object, ApiError> {
    let mut list = Vec::new();
    if let Some(system) = request.get("system") {
        let said = texts(system).into_iter().filter(|text| !text.starts_with(BILLING));
        let said = said.collect::<Vec<_>>().join("\n\n");
        if !said.is_empty() {
            list.push(json!({"role": "system", "content": said}));
        }
    }
    let messages = request.get("messages").and_then(Value::as_array);
    for (index, message) in messages.ok_or(ApiError::Missing { param: "messages" })?.iter().enumerate() {
        let place = format!("messages[{index}]");
        match message["role"].as_str() {
            Some("assistant") => list.push(assistant(&message["content"], &place, sends_reasoning)?),
            Some("user") => user(&message["content"], &place, &mut list)?,
            Some("system") => {
                list.push(json!({"role": "system", "content": texts(&message["content"]).join("\n\n")}));
            }
            _ => return Err(ApiError::invalid(format!("{place}.role"), format!("{place}.role is none"))),
        }
    }
    let mut chat = Object::new();
    chat.insert("messages".to_owned(), Value::Array(list));
    tools(request, &mut chat)?;
    let same =
        [("temperature", "temperature"), ("top_p", "top_p"), ("stop_sequences", "stop"), ("seed", "seed")];
    for (theirs, ours) in same {
        if let Some(value) = request.get(theirs).filter(|value| !value.is_null()) {
            chat.insert(ours.to_owned(), value.clone());
        }
    }
    if let Some(length) = request.get("max_tokens").filter(|length| length.is_u64()) {
        chat.insert("max_completion_tokens".to_owned(), length.clone());
    }
    if let Some(effort) = effort(request) {
        chat.insert("reasoning_effort".to_owned(), json!(effort));
    }
    let format = request.get("output_config").and_then(|config| config.get("format"));
    if let Some(schema) = format.or(request.get("output_format")).and_then(|format| format.get("schema")) {
        let format = json!({"name": "answer", "schema": schema, "strict": true});
        chat.insert("response_format".to_owned(), json!({"type": "json_schema", "json_schema": format}));
    }
    Ok(chat)
}

fn effort(request: &Object) -> Option<&str> {
    let said = request.get("output_config").and_then(|config| config["effort"].as_str());
    let is_off = request.get("thinking").is_some_and(|thinking| thinking["type"] == "disabled");
    match said {
        _ if is_off => Some("low"),
        Some("xhigh" | "max") => Some("high"),
        said => said,
    }
}

fn assistant(content: &Value, place: &str, sends_reasoning: bool) -> Result<Value, ApiError> {
    let mut message = json!({"role": "assistant", "content": null});
    let (mut said, mut thought, mut calls) = (String::new(), String::new(), Vec::new());
    match content {
        Value::String(text) => said.push_str(text),
        Value::Array(blocks) => {
            for (index, block) in blocks.iter().enumerate() {
                match block["type"].as_str().unwrap_or_default() {
                    "text" => said.push_str(block["text"].as_str().unwrap_or_default()),
                    "thinking" => thought.push_str(block["thinking"].as_str().unwrap_or_default()),
                    "redacted_thinking" => {}
                    "tool_use" => {
                        let function =
                            json!({"name": block["name"], "arguments": block["input"].to_string()});
                        calls.push(json!({"id": block["id"], "type": "function", "function": function}));
                    }
                    kind => return Err(refused(place, index, kind)),
                }
            }
        }
        _ => {}
    }
    if !said.is_empty() || calls.is_empty() {
        message["content"] = json!(said);
    }
    if sends_reasoning && !thought.is_empty() && !calls.is_empty() {
        message["reasoning"] = json!(thought);
    }
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    Ok(message)
}

fn refused(place: &str, index: usize, kind: &str) -> ApiError {
    let why = format!("a block of the type {kind:?} cannot be passed on to this upstream");
    ApiError::unsupported(format!("{place}.content[{index}]"), why)
}

/// A user's message: results of tools are messages of their own, before what the user says beside them.
fn user(content: &Value, place: &str, list: &mut Vec<Value>) -> Result<(), ApiError> {
    let blocks = match content {
        Value::String(text) => {
            list.push(json!({"role": "user", "content": text}));
            return Ok(());
        }
        Value::Array(blocks) => blocks,
        _ => {
            return Err(ApiError::invalid(format!("{place}.content"), format!("{place}.content is missing")));
        }
    };
    let mut parts = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        match block["type"].as_str().unwrap_or_default() {
            "text" => parts.push(json!({"type": "text", "text": block["text"].as_str().unwrap_or_default()})),
            "image" => {
                let source = &block["source"];
                let url =
                    match (source["url"].as_str(), source["media_type"].as_str(), source["data"].as_str()) {
                        (Some(url), ..) => url.to_owned(),
                        (None, Some(kind), Some(data)) => format!("data:{kind};base64,{data}"),
                        _ => return Err(refused(place, index, "image")),
                    };
                parts.push(json!({"type": "image_url", "image_url": {"url": url}}));
            }
            "tool_result" => {
                let is_error = block["is_error"] == true;
                let said = texts(&block["content"]).join("\n");
                let said = if is_error { format!("Error: {said}") } else { said };
                list.push(json!({"role": "tool", "tool_call_id": block["tool_use_id"], "content": said}));
            }
            kind => return Err(refused(place, index, kind)),
        }
    }
    let is_text = parts.iter().all(|part| part["type"] == "text");
    if parts.is_empty() {
        return Ok(());
    }
    let content = match is_text {
        true => json!(parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n\n")),
        false => Value::Array(parts),
    };
    list.push(json!({"role": "user", "content": content}));
    Ok(())
}

fn tools(request: &Object, chat: &mut Object) -> Result<(), ApiError> {
    let Some(tools) = request.get("tools").and_then(Value::as_array).filter(|tools| !tools.is_empty()) else {
        return Ok(());
    };
    let mut list = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        if tool["input_schema"].is_null() {
            let why = "a tool without a schema would run at Anthropic's, and this upstream is another";
            return Err(ApiError::unsupported(format!("tools[{index}]"), why));
        }
        let mut function = json!({"name": tool["name"], "parameters": tool["input_schema"]});
        for field in ["description", "strict"] {
            if let Some(value) = tool.get(field).filter(|value| !value.is_null()) {
                function[field] = value.clone();
            }
        }
        list.push(json!({"type": "function", "function": function}));
    }
    chat.insert("tools".to_owned(), Value::Array(list));
    let Some(choice) = request.get("tool_choice").filter(|choice| choice.is_object()) else { return Ok(()) };
    let made = match choice["type"].as_str() {
        Some("any") => json!("required"),
        Some("none") => json!("none"),
        Some("tool") => json!({"type": "function", "function": {"name": choice["name"]}}),
        _ => json!("auto"),
    };
    chat.insert("tool_choice".to_owned(), made);
    if choice["disable_parallel_tool_use"] == true {
        chat.insert("parallel_tool_calls".to_owned(), json!(false));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_with_a_result() {
        let request = json!({
            "model": "m", "max_tokens": 5, "system": [{"type": "text", "text": "Be kind."},
                {"type": "text", "text": "x-anthropic-billing-header: cch=1"}],
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "so", "signature": "s"},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": true},
                    {"type": "text", "text": "and?"}]},
            ],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
            "stop_sequences": ["x"], "output_config": {"effort": "max"}, "metadata": {"user_id": "u"},
        });
        let chat = Value::Object(messages_to_chat(request.as_object().unwrap(), true).unwrap());
        assert_eq!(chat["messages"][0]["content"], json!("Be kind."));
        assert_eq!(chat["messages"][2]["tool_calls"][0]["function"]["arguments"], json!("{\"a\":1}"));
        assert_eq!(chat["messages"][2]["reasoning"], json!("so"));
        assert_eq!(
            chat["messages"][3],
            json!({"role": "tool", "tool_call_id": "t1", "content": "Error: no"})
        );
        assert_eq!(chat["messages"][4]["content"], json!("and?"));
        assert_eq!((&chat["tool_choice"], &chat["parallel_tool_calls"]), (&json!("required"), &json!(false)));
        assert_eq!((&chat["reasoning_effort"], &chat["stop"]), (&json!("high"), &json!(["x"])));
        assert!(chat.get("metadata").is_none());
    }

    #[test]
    fn what_cannot_pass_is_named() {
        let check = |request: Value, expect: &str| {
            let error = messages_to_chat(request.as_object().unwrap(), false).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(
            json!({"messages": [{"role": "user", "content": [{"type": "document"}]}]}),
            "messages[0].content[0]",
        );
        check(
            json!({"messages": [], "tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
            "tools[0]",
        );
        check(json!({}), "messages");
    }
}
