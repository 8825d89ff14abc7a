//! What a decision has to know of a request.

use gptoss_api::ApiError;
use serde_json::Value;

use crate::dialect::Dialect;
use crate::label::Label;
use crate::limits::BYTES_PER_TOKEN;
use crate::raw_object::RawObject;

/// What is known of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts<'a> {
    /// The API it came in.
    pub dialect: Dialect,
    /// The model it names; empty when it names none.
    pub model: &'a str,
    /// How sensitive it is.
    pub label: Label,
    /// Whether it offers tools.
    pub has_tools: bool,
    /// The effort it asks for.
    pub effort: Option<String>,
    /// How long its prompt is, as a guess from its bytes.
    pub prompt_tokens: u64,
    /// Most tokens of its answer, if it says.
    pub output_tokens: Option<u64>,
}

impl<'a> Facts<'a> {
    /// Those of a body, without a label yet.
    pub fn of(dialect: Dialect, body: &RawObject, model: &'a str) -> Facts<'a> {
        let tools = |name: &str| {
            body.value(name).is_some_and(|value| value.as_array().is_some_and(|list| !list.is_empty()))
        };
        let number = |name: &str| body.value(name).and_then(|value| value.as_u64());
        let length = ["max_completion_tokens", "max_tokens", "max_output_tokens"];
        Facts {
            dialect,
            model,
            label: Label::Any,
            has_tools: tools("tools") || tools("functions"),
            effort: effort(body),
            prompt_tokens: body.prompt_bytes() as u64 / BYTES_PER_TOKEN,
            output_tokens: length.into_iter().find_map(number),
        }
    }
}

/// The model that a body names.
///
/// Errors: it is no text.
pub fn model(body: &RawObject) -> Result<String, ApiError> {
    match body.value("model") {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(name)) => Ok(name),
        Some(_) => Err(ApiError::invalid("model", "model: expected a string")),
    }
}

/// The effort, in the words of any of the APIs; those beyond high count as high.
fn effort(body: &RawObject) -> Option<String> {
    let inside = |field: &str| body.value(field)?.get("effort")?.as_str().map(str::to_owned);
    let said = body.value("reasoning_effort").and_then(|value| value.as_str().map(str::to_owned));
    let said = said.or_else(|| inside("reasoning")).or_else(|| inside("output_config"))?;
    Some(match said.as_str() {
        "minimal" => "low".to_owned(),
        "xhigh" | "max" => "high".to_owned(),
        _ => said,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_says_it_in_its_own_words() {
        let check = |dialect, body: &str, expect: (&str, bool, Option<&str>, Option<u64>)| {
            let body = RawObject::parse(body.as_bytes()).unwrap();
            let name = model(&body).unwrap();
            let facts = Facts::of(dialect, &body, &name);
            assert_eq!((facts.model, facts.has_tools, facts.effort.as_deref(), facts.output_tokens), expect);
        };
        check(
            Dialect::Chat,
            r#"{"model":"m","reasoning_effort":"xhigh","tools":[{}],"max_tokens":7}"#,
            ("m", true, Some("high"), Some(7)),
        );
        check(
            Dialect::Responses,
            r#"{"reasoning":{"effort":"low"},"tools":[],"max_output_tokens":8}"#,
            ("", false, Some("low"), Some(8)),
        );
        check(
            Dialect::Messages,
            r#"{"model":null,"output_config":{"effort":"max"}}"#,
            ("", false, Some("high"), None),
        );
        let body = RawObject::parse(br#"{"model":3}"#).unwrap();
        assert!(model(&body).is_err());
    }
}
