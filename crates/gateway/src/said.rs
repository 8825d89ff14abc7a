//! What is said in a request and in an answer of any of the APIs, for whoever judges it.

use gptoss_api::ApiError;
use serde_json::Value;

use crate::dialect::Dialect;
use crate::raw_object::RawObject;
use crate::sse::Splitter;

/// What users said, and (true) what tools gave back, in order.
///
/// Errors: a body that cannot be read.
pub fn asked_texts(dialect: Dialect, body: &RawObject) -> Result<Vec<(bool, String)>, ApiError> {
    let field = match dialect {
        Dialect::Chat | Dialect::Messages => "messages",
        Dialect::Responses => "input",
        Dialect::Completions => "prompt",
    };
    let mut texts = Vec::new();
    match body.read(field)? {
        Some(Value::String(text)) => texts.push((false, text)),
        Some(Value::Array(list)) => list.iter().for_each(|item| said(item, &mut texts)),
        _ => {}
    }
    texts.retain(|(_, text)| !text.is_empty());
    Ok(texts)
}

/// What one message or item says.
fn said(item: &Value, texts: &mut Vec<(bool, String)>) {
    if let Some(text) = item.as_str() {
        return texts.push((false, text.to_owned()));
    }
    let role = item["role"].as_str();
    let is_result = matches!(role, Some("tool" | "function"))
        || item["type"].as_str().is_some_and(|kind| kind.ends_with("_output") || kind == "mcp_call");
    if is_result {
        let mut all = String::new();
        gather(if item["output"].is_null() { &item["content"] } else { &item["output"] }, &mut all);
        return texts.push((true, all));
    }
    if role != Some("user") {
        return;
    }
    let Some(parts) = item["content"].as_array() else {
        let mut all = String::new();
        gather(&item["content"], &mut all);
        return texts.push((false, all));
    };
    let (mut words, mut results) = (String::new(), String::new());
    for part in parts {
        gather(part, if part["type"] == "tool_result" { &mut results } else { &mut words });
    }
    texts.extend([(true, results), (false, words)]);
}

/// Every text of a content, whatever its parts.
fn gather(content: &Value, all: &mut String) {
    match content {
        Value::String(text) => {
            if !all.is_empty() {
                all.push('\n');
            }
            all.push_str(text);
        }
        Value::Array(list) => list.iter().for_each(|part| gather(part, all)),
        Value::Object(part) => {
            for name in ["text", "content", "stdout", "stderr", "logs", "output"] {
                part.get(name).into_iter().for_each(|value| gather(value, all));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What an answer says to its client, and (true) what it says of its reasoning.
///
/// Errors: a stream that cannot be read.
pub fn answer_texts(
    dialect: Dialect,
    bytes: &[u8],
    is_stream: bool,
) -> Result<Vec<(bool, String)>, &'static str> {
    let (mut words, mut thought) = (String::new(), String::new());
    if is_stream {
        let mut splitter = Splitter::default();
        splitter.push(bytes);
        // What is left at the end is read too.
        splitter.push(b"\n\n");
        while let Some(event) = splitter.next()? {
            let value = event.data.and_then(|data| serde_json::from_str::<Value>(&data).ok());
            value.iter().for_each(|value| told(dialect, value, &mut words, &mut thought));
        }
    } else if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        told(dialect, &value, &mut words, &mut thought);
    }
    Ok([(true, thought), (false, words)].into_iter().filter(|(_, text)| !text.is_empty()).collect())
}

/// What an event, or a whole answer, says.
fn told(dialect: Dialect, value: &Value, words: &mut String, thought: &mut String) {
    let list = |field: &str| value[field].as_array().into_iter().flatten();
    match dialect {
        Dialect::Chat | Dialect::Completions => {
            for choice in list("choices") {
                add(words, &choice["text"]);
                let said = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
                let reasoning = &said["reasoning_content"];
                add(thought, if reasoning.is_null() { &said["reasoning"] } else { reasoning });
                ["content", "refusal"].iter().for_each(|field| add(words, &said[field]));
                for call in said["tool_calls"].as_array().into_iter().flatten() {
                    add(words, &call["function"]["arguments"]);
                }
            }
        }
        Dialect::Responses => {
            let kind = value["type"].as_str().unwrap_or_default();
            if kind.starts_with("response.reasoning") && kind.ends_with(".delta") {
                add(thought, &value["delta"]);
            } else if kind.ends_with(".delta") {
                add(words, &value["delta"]);
            }
            for item in list("output") {
                let into = if item["type"] == "reasoning" { &mut *thought } else { &mut *words };
                ["arguments", "input", "code"].iter().for_each(|field| add(into, &item[field]));
                for part in ["content", "summary"] {
                    for part in item[part].as_array().into_iter().flatten() {
                        ["text", "refusal"].iter().for_each(|field| add(into, &part[field]));
                    }
                }
            }
        }
        Dialect::Messages => {
            let blocks = [&value["content_block"], &value["delta"]];
            for block in list("content").chain(blocks) {
                add(thought, &block["thinking"]);
                ["text", "partial_json"].iter().for_each(|field| add(words, &block[field]));
                if block["input"].as_object().is_some_and(|input| !input.is_empty()) {
                    words.push_str(&block["input"].to_string());
                }
            }
        }
    }
}

fn add(all: &mut String, text: &Value) {
    all.push_str(text.as_str().unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_asked_is_found_in_every_api() {
        let check = |dialect, body: Value, expect: &[(bool, &str)]| {
            let body = RawObject::parse(body.to_string().as_bytes()).unwrap();
            let texts = asked_texts(dialect, &body).unwrap();
            let texts: Vec<(bool, &str)> = texts.iter().map(|(tool, text)| (*tool, text.as_str())).collect();
            assert_eq!(texts, expect);
        };
        let chat = json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": "x"}, {"role": "tool", "content": "r"}]});
        check(Dialect::Chat, chat, &[(false, "a"), (true, "r")]);
        let responses = json!({"input": [{"role": "user", "content": "a"}, {"type": "function_call", "arguments": "x"},
            {"type": "function_call_output", "output": [{"type": "input_text", "text": "r"}]}]});
        check(Dialect::Responses, responses, &[(false, "a"), (true, "r")]);
        let messages = json!({"messages": [{"role": "user", "content": [
            {"type": "tool_result", "content": [{"type": "text", "text": "r"}]}, {"type": "text", "text": "a"}]}]});
        check(Dialect::Messages, messages, &[(true, "r"), (false, "a")]);
        check(Dialect::Completions, json!({"prompt": ["a", "b"]}), &[(false, "a"), (false, "b")]);
        check(Dialect::Responses, json!({"input": "a"}), &[(false, "a")]);
    }

    #[test]
    fn what_is_answered_is_found_in_every_api() {
        let whole = |dialect, body: Value| answer_texts(dialect, body.to_string().as_bytes(), false).unwrap();
        let both = [(true, "t".to_owned()), (false, "w".to_owned())];
        let chat = json!({"choices": [{"message": {"reasoning": "t", "content": "w"}}]});
        assert_eq!(whole(Dialect::Chat, chat), both);
        let responses = json!({"output": [{"type": "reasoning", "content": [{"text": "t"}]},
            {"type": "message", "content": [{"type": "output_text", "text": "w"}]}]});
        assert_eq!(whole(Dialect::Responses, responses), both);
        let messages =
            json!({"content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "w"}]});
        assert_eq!(whole(Dialect::Messages, messages), both);
        let text = whole(Dialect::Completions, json!({"choices": [{"text": "w"}]}));
        assert_eq!(text, both[1..]);
        let stream = |dialect, events: &[Value]| {
            let text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            answer_texts(dialect, text.as_bytes(), true).unwrap()
        };
        let cut = json!({"choices": [{"delta": {"content": "ca"}}]});
        let end = json!({"choices": [{"delta": {"content": "nary"}}]});
        assert_eq!(stream(Dialect::Chat, &[cut, end]), [(false, "canary".to_owned())]);
        let part = json!({"type": "response.output_text.delta", "delta": "w"});
        assert_eq!(stream(Dialect::Responses, &[part]), both[1..]);
    }
    #[test]
    fn the_end_of_a_stream_is_read_and_what_cannot_be_read_is_told() {
        let open = br#"data: {"choices":[{"delta":{"content":"canary"}}]}"#;
        assert_eq!(answer_texts(Dialect::Chat, open, true), Ok(vec![(false, "canary".to_owned())]));
        let broken = [&b"data: \xff\n\n"[..], open].concat();
        assert!(answer_texts(Dialect::Chat, &broken, true).is_err());
    }
}
