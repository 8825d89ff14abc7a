//! The calls of an answer: JSON in the shapes that tools are called by, or a list of calls as code.

use serde_json::{Map, Value as Json};

use crate::bfcl::language::Language;
use crate::bfcl::value::Value;
use crate::bfcl::{Call, code, python};

/// An answer is not calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is neither calls as JSON nor a list of calls as code")]
pub struct NotCalls;

/// Reads an answer.
///
/// JSON is OpenAI's `tool_calls`, a message or a Responses item with them, or
/// `{function: {argument: value}}`, each alone or in a list; code is `[f(a=1), g(b="x")]`, with or without
/// its brackets and a fence.
pub fn calls_of(language: Language, answer: &str) -> Result<Vec<Call>, NotCalls> {
    let answer = without_fence(answer.trim());
    if let Ok(json) = serde_json::from_str::<Json>(answer) {
        return calls_of_json(&json).ok_or(NotCalls);
    }
    let code = answer.trim_matches(['`', '\n', ' ']);
    if code.is_empty() {
        return Err(NotCalls);
    }
    match language {
        Language::Python => python::calls(code).ok_or(NotCalls),
        Language::Java | Language::JavaScript => code::call(code).map(|call| vec![call]).ok_or(NotCalls),
    }
}

/// What stands within a fence, without the name of its language.
fn without_fence(answer: &str) -> &str {
    let inner = answer.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let Some(inner) = inner else { return answer };
    match inner.split_once('\n') {
        Some((name, rest)) if name.chars().all(char::is_alphanumeric) => rest.trim(),
        _ => inner.trim(),
    }
}

/// Reads calls in one of the shapes of JSON.
pub fn calls_of_json(json: &Json) -> Option<Vec<Call>> {
    let map = match json {
        Json::Array(items) => {
            let calls: Option<Vec<Vec<Call>>> = items.iter().map(calls_of_json).collect();
            return Some(calls?.into_iter().flatten().collect());
        }
        Json::Object(map) => map,
        _ => return None,
    };
    if let Some(calls) = map.get("tool_calls") {
        return calls_of_json(calls);
    }
    let called = map.get("function").and_then(Json::as_object).unwrap_or(map);
    match (called.get("name"), called.get("arguments")) {
        (Some(Json::String(name)), Some(arguments)) => Some(vec![call(name, arguments)?]),
        _ => map.iter().map(|(name, arguments)| call(name, arguments)).collect(),
    }
}

/// A call whose arguments are an object, or its text.
fn call(name: &str, arguments: &Json) -> Option<Call> {
    let read;
    let map: &Map<String, Json> = match arguments {
        Json::Object(map) => map,
        Json::String(text) => {
            read = serde_json::from_str::<Json>(text).ok()?;
            read.as_object()?
        }
        _ => return None,
    };
    let arguments = map.iter().map(|(name, value)| (name.clone(), Value::from(value))).collect();
    Some(Call { name: name.to_owned(), arguments })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(language: Language, answer: &str, expect: &Json) {
        let calls = calls_of(language, answer).unwrap_or_else(|error| panic!("{answer}: {error}"));
        assert_eq!(calls, calls_of_json(expect).expect("calls"), "{answer}");
    }

    #[test]
    fn calls_are_read_from_each_shape() {
        let one = json!([{"f": {"a": 1, "b": "x"}}]);
        for answer in [
            r#"[{"f": {"a": 1, "b": "x"}}]"#,
            r#"{"name": "f", "arguments": {"a": 1, "b": "x"}}"#,
            r#"[{"type": "function", "id": "1", "function": {"name": "f", "arguments": "{\"a\":1,\"b\":\"x\"}"}}]"#,
            r#"{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1, "b": "x"}}}]}"#,
            "```json\n{\"f\": {\"a\": 1, \"b\": \"x\"}}\n```",
            "[f(a=1, b='x')]",
            "```python\nf(a=1, b='x')\n```",
        ] {
            check(Language::Python, answer, &one);
        }
        check(Language::Python, "[]", &json!([]));
        check(
            Language::Java,
            "[a.f(x=new int[]{1, 2}, y=\"a, b\")]",
            &json!([{"a.f": {"x": "new int[]{1, 2}", "y": "a, b"}}]),
        );
        for none in ["", "I cannot.", "7", "[1]", "{\"f\": 1}", "[f(a=1]", "f"] {
            assert_eq!(calls_of(Language::Python, none), Err(NotCalls), "{none}");
        }
    }
}
