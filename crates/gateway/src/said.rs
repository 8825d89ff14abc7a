//! What is said in a request of any of the APIs, for whoever judges it.

use gptoss_api::ApiError;
use serde_json::Value;

use crate::dialect::Dialect;
use crate::raw_object::RawObject;

/// What a request says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedTexts {
    /// What users said, and (true) what tools gave back, in order.
    pub texts: Vec<(bool, String)>,
    /// Whether a part of the prompt is given as tokens or as what a model makes of them, which nobody reads.
    pub has_tokens: bool,
}

/// Members that say what is asked: those of each API, and those that some upstream reads whatever the API.
const ASKED: [&str; 8] = [
    "messages",
    "input",
    "prompt",
    "suffix",
    "documents",
    "prediction",
    "chat_template",
    "chat_template_kwargs",
];

/// What a request says; what the operator or the application says (system, developer, instructions), and
/// what the assistant said before, is not among it.
///
/// Errors: a body that cannot be read, or that is not read everywhere as it is here: a name in other letters
/// than the API's, or twice.
pub fn asked_texts(dialect: Dialect, body: &RawObject) -> Result<AskedTexts, ApiError> {
    let mut asked = AskedTexts::default();
    for name in body.names() {
        let Some(field) = ASKED.into_iter().find(|field| field.eq_ignore_ascii_case(name)) else { continue };
        if field != name {
            return Err(other_letters(name, field));
        }
        let Some(value) = body.read_once(name)? else { continue };
        check_letters(&value)?;
        match (dialect, field, value) {
            (Dialect::Completions, "prompt" | "suffix", value) => text_or_tokens(&value, &mut asked),
            // The variables of a prompt that the upstream has stored are the user's.
            (Dialect::Responses, "prompt", Value::Object(prompt)) => {
                let variables = prompt.get("variables").and_then(Value::as_object);
                asked
                    .texts
                    .extend(variables.into_iter().flatten().map(|(_, value)| (false, gathered(value))));
            }
            (_, "messages" | "input", Value::Array(list)) => {
                list.iter().for_each(|item| said(item, &mut asked.texts));
            }
            (_, "messages" | "input", value) => asked.texts.push((false, gathered(&value))),
            (_, _, value) => asked.texts.push((false, every_text(&value))),
        }
    }
    if dialect == Dialect::Completions {
        asked.has_tokens |= body.read("prompt_embeds")?.is_some_and(|value| !value.is_null());
    }
    asked.texts.retain(|(_, text)| !text.is_empty());
    Ok(asked)
}

/// Refuses names that only some read as the API's: in other letters, they are others here.
fn check_letters(value: &Value) -> Result<(), ApiError> {
    match value {
        Value::Array(list) => list.iter().try_for_each(check_letters),
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            let known =
                PARTS.into_iter().chain(["role", "type", "data", "outputs", "results", "tools", "reason"]);
            match known.into_iter().find(|known| known.eq_ignore_ascii_case(name)) {
                Some(known) if known != name => Err(other_letters(name, known)),
                _ => check_letters(value),
            }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn other_letters(name: &str, known: &str) -> ApiError {
    ApiError::invalid(
        name,
        format!("{name:?} is not the API's {known:?}, and some would read it as that: write it so"),
    )
}

/// Every text of a value, under whatever names.
fn every_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(every_text).collect::<Vec<_>>().join("\n"),
        Value::Object(members) => members.values().map(every_text).collect::<Vec<_>>().join("\n"),
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

/// A prompt of Completions, or several.
fn text_or_tokens(value: &Value, asked: &mut AskedTexts) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| text_or_tokens(value, asked)),
        Value::Number(_) => asked.has_tokens = true,
        value => asked.texts.push((false, gathered(value))),
    }
}

/// What one message or item says.
fn said(item: &Value, texts: &mut Vec<(bool, String)>) {
    let Some(role) = item["role"].as_str() else { return item_said(item, texts) };
    match role {
        "system" | "developer" | "assistant" => {}
        "tool" | "function" => texts.push((true, gathered(&item["content"]))),
        _ => {
            let (mut words, mut results) = (String::new(), String::new());
            for part in item["content"].as_array().into_iter().flatten() {
                let is_result = part["type"].as_str().is_some_and(|kind| kind.ends_with("tool_result"));
                gather(part, if is_result { &mut results } else { &mut words });
            }
            if !item["content"].is_array() {
                gather(&item["content"], &mut words);
            }
            texts.extend([(true, results), (false, words)]);
        }
    }
}

/// What something without a role says: a text, an item of Responses.
fn item_said(item: &Value, texts: &mut Vec<(bool, String)>) {
    let kind = item["type"].as_str().unwrap_or_default();
    let fields: &[&str] = match kind {
        "reasoning" => return,
        "mcp_approval_response" => return texts.push((false, gathered(&item["reason"]))),
        kind if kind.ends_with("_output") => &["output", "outputs", "content", "results", "tools"],
        // The model asked; what came back stands beside it where the upstream ran it.
        kind if kind.ends_with("_call") => &["output", "outputs", "results", "error"],
        _ => return texts.push((false, gathered(item))),
    };
    let mut results = String::new();
    fields.iter().for_each(|field| gather(&item[*field], &mut results));
    texts.push((true, results));
}

fn gathered(content: &Value) -> String {
    let mut all = String::new();
    gather(content, &mut all);
    all
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
            for name in PARTS {
                part.get(name).into_iter().for_each(|value| gather(value, all));
            }
            // A document of Messages; others have bytes there.
            if part.get("type").is_some_and(|kind| kind == "text") {
                part.get("data").into_iter().for_each(|value| gather(value, all));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Names of what the parts of a content say.
const PARTS: [&str; 12] = [
    "title",
    "context",
    "text",
    "refusal",
    "transcript",
    "content",
    "source",
    "stdout",
    "stderr",
    "logs",
    "output",
    "description",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(dialect: Dialect, body: Value, expect: &[(bool, &str)]) {
        let read = RawObject::parse(body.to_string().as_bytes()).unwrap();
        let asked = asked_texts(dialect, &read).unwrap();
        let texts: Vec<(bool, &str)> =
            asked.texts.iter().map(|(tool, text)| (*tool, text.as_str())).collect();
        assert_eq!(texts, expect, "{body}");
    }

    #[test]
    fn what_is_asked_is_found_in_every_api() {
        let chat = json!({"messages": [{"role": "system", "content": "s"}, {"role": "developer", "content": "d"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "x"}, {"role": "tool", "content": "r"}, {"role": "function", "content": "f"},
            {"role": "critic", "content": "c"}, {"content": "n"}]});
        let expect = [(false, "a\nb"), (true, "r"), (true, "f"), (false, "c"), (false, "n")];
        check(Dialect::Chat, chat, &expect);
        let responses = json!({"instructions": "s", "prompt": {"id": "p", "variables": {"v": "v"}},
            "input": [{"role": "user", "content": "a"}, {"type": "function_call", "name": "f", "arguments": "x"},
            {"type": "function_call_output", "output": [{"type": "input_text", "text": "r"}]},
            {"type": "reasoning", "summary": [{"text": "t"}], "content": [{"text": "t"}]},
            {"type": "code_interpreter_call", "code": "x", "outputs": [{"type": "logs", "logs": "l"}]},
            {"type": "input_text", "text": "i"}]});
        let expect = [(false, "v"), (false, "a"), (true, "r"), (true, "l"), (false, "i")];
        check(Dialect::Responses, responses, &expect);
        check(Dialect::Responses, json!({"input": "a"}), &[(false, "a")]);
        let messages = json!({"system": "s", "messages": [{"role": "user", "content": [
            {"type": "tool_result", "content": [{"type": "text", "text": "r"}]}, {"type": "text", "text": "a"},
            {"type": "document", "title": "d", "source": {"type": "text", "data": "e"}},
            {"type": "image", "source": {"type": "base64", "data": "iVBOR"}}]}]});
        check(Dialect::Messages, messages, &[(true, "r"), (false, "a\nd\ne")]);
    }

    /// Upstreams that read other letters, the first of two names, or fields of other APIs, are told nothing
    /// that was not judged.
    #[test]
    fn what_others_would_read_is_found_or_refused() {
        let fields = json!({"messages": [], "prompt": "a", "documents": [{"title": "t", "body": "b"}],
            "prediction": {"type": "content", "content": "c"}, "chat_template": "d", "chat_template_kwargs": {"k": "e"}});
        let expect = [(false, "a"), (false, "t\nb"), (false, "content\nc"), (false, "d"), (false, "e")];
        let read = RawObject::parse(fields.to_string().as_bytes()).unwrap();
        let mut found = asked_texts(Dialect::Chat, &read).unwrap().texts;
        let mut expect = expect.map(|(is_tool, text)| (is_tool, text.to_owned())).to_vec();
        // The order of names in an object is nobody's.
        for list in [&mut found, &mut expect] {
            list.iter_mut().for_each(|(_, text)| {
                let mut lines: Vec<&str> = text.split('\n').collect();
                lines.sort_unstable();
                *text = lines.join("\n");
            });
            list.sort();
        }
        assert_eq!(found, expect);
        check(Dialect::Chat, json!({"input": "a"}), &[(false, "a")]);
        for refused in [
            r#"{"Messages":[{"role":"user","content":"a"}]}"#,
            r#"{"messages":[{"role":"user","Content":"a"}]}"#,
            r#"{"messages":[{"role":"assistant","Role":"user","content":"a"}]}"#,
            r#"{"messages":[{"role":"user","content":"a","content":"b"}]}"#,
            r#"{"messages":[{"role":"user","role":"system","content":"a"}]}"#,
        ] {
            let body = RawObject::parse(refused.as_bytes()).unwrap();
            let error = asked_texts(Dialect::Chat, &body).unwrap_err();
            assert_eq!(error.row().status, 400, "{refused}: {error}");
        }
    }

    #[test]
    fn what_is_asked_of_completions_is_text_or_tokens() {
        let tokens = |body: Value| {
            let body = RawObject::parse(body.to_string().as_bytes()).unwrap();
            asked_texts(Dialect::Completions, &body).unwrap().has_tokens
        };
        check(Dialect::Completions, json!({"prompt": ["a", "b"]}), &[(false, "a"), (false, "b")]);
        check(Dialect::Completions, json!({"prompt": "a", "suffix": "z"}), &[(false, "a"), (false, "z")]);
        check(Dialect::Completions, json!({"prompt": ["a", [1, 2]]}), &[(false, "a")]);
        for prompt in [json!([1, 2]), json!([[1], [2]]), json!(["a", [1]]), json!(7)] {
            assert!(tokens(json!({"prompt": prompt})), "{prompt}");
        }
        assert!(tokens(json!({"prompt": "a", "prompt_embeds": "AAAA"})));
        assert!(!tokens(json!({"prompt": ["1", "2"], "suffix": "3"})));
    }
}
