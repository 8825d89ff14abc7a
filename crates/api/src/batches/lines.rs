//! A line of a batch's input, read.
//!
//! A line is `{"custom_id", "method": "POST", "url", "body"}`. Its body is not judged here: it takes the way
//! that a body of its path takes, and what is wrong with it becomes the line's result.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::request::Endpoint;
use crate::limits::{BATCH_LINES_MAX, CUSTOM_ID_BYTES_MAX};
use crate::wire::batches::BatchError;

/// A request of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchLine {
    /// The client's name for it.
    pub custom_id: String,
    /// Its path.
    pub endpoint: Endpoint,
    /// The model that it names.
    pub model: Option<String>,
    /// The body, as it stands in the line.
    pub body: String,
}

/// A line as it is written. What may be anything is not read further.
#[derive(Debug, Deserialize)]
struct Written<'a> {
    custom_id: Option<String>,
    method: Option<String>,
    url: Option<String>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// What of a body concerns the batch.
#[derive(Debug, Deserialize)]
struct BodyHead {
    model: Option<Value>,
    stream: Option<Value>,
    background: Option<Value>,
}

/// What is wrong with a line: the word for programs, the field, the sentence.
type Problem = (&'static str, Option<&'static str>, String);

/// Reads a line; `endpoint` is the batch's, None takes the line's own.
///
/// Errors: the code and the field of what is wrong, and why.
pub fn parse(line: &[u8], endpoint: Option<Endpoint>) -> Result<BatchLine, Problem> {
    let written: Written<'_> = serde_json::from_slice(line).map_err(|error| {
        // What serde quotes of a wrong value may be the user's text: only its kind and place are told.
        let place = format!("the line is not a request: column {}", error.column());
        ("invalid_json_line", None, place)
    })?;
    let custom_id = written.custom_id.filter(|id| !id.is_empty());
    let missing =
        |field: &'static str| ("missing_required_parameter", Some(field), format!("{field} is missing"));
    let custom_id = custom_id.ok_or_else(|| missing("custom_id"))?;
    if custom_id.len() > CUSTOM_ID_BYTES_MAX {
        let message = format!("custom_id has more than {CUSTOM_ID_BYTES_MAX} bytes");
        return Err(("invalid_custom_id", Some("custom_id"), message));
    }
    if written.method.is_some_and(|method| method != "POST") {
        return Err(("invalid_method", Some("method"), "method must be POST".to_owned()));
    }
    let url = written.url.ok_or_else(|| missing("url"))?;
    let own = Endpoint::of(&url);
    let Some(own) = own.filter(|own| endpoint.is_none_or(|endpoint| endpoint == *own)) else {
        let expected = match endpoint {
            Some(endpoint) => format!("url must be the batch's endpoint, {}", endpoint.path()),
            None => format!("url must be one of {}", Endpoint::ALL.map(Endpoint::path).join(", ")),
        };
        return Err(("mismatched_url", Some("url"), expected));
    };
    let body = written.body.ok_or_else(|| missing("body"))?.get();
    if !body.starts_with('{') {
        return Err(("invalid_body", Some("body"), "body must be an object".to_owned()));
    }
    // A field of the wrong kind is for the path's own reading to name.
    let head: BodyHead =
        serde_json::from_str(body).unwrap_or(BodyHead { model: None, stream: None, background: None });
    if head.stream == Some(Value::Bool(true)) {
        return Err(("invalid_body", Some("body.stream"), "a line of a batch cannot stream".to_owned()));
    }
    if head.background == Some(Value::Bool(true)) {
        let message = "a line of a batch runs in the background as it is".to_owned();
        return Err(("invalid_body", Some("body.background"), message));
    }
    let model = head.model.as_ref().and_then(Value::as_str).map(str::to_owned);
    Ok(BatchLine { custom_id, endpoint: own, model, body: body.to_owned() })
}

/// Looks through the lines of a batch before any is answered.
#[derive(Debug, Default)]
pub struct Validator {
    ids: HashSet<String>,
    /// Lines that are requests, wrong ones included.
    pub num_lines: u64,
}

impl Validator {
    /// Looks at the line with the number `number`, from 1; `knows_model` says whether a model is served. None
    /// is a blank line.
    ///
    /// Errors: what is wrong with it.
    pub fn check(
        &mut self,
        line: &[u8],
        number: u64,
        endpoint: Option<Endpoint>,
        knows_model: &dyn Fn(Option<&str>) -> bool,
    ) -> Result<Option<BatchLine>, BatchError> {
        if is_blank(line) {
            return Ok(None);
        }
        self.num_lines += 1;
        let wrong = |(code, param, message): Problem| BatchError {
            code: code.to_owned(),
            line: Some(number),
            message,
            param: param.map(str::to_owned),
        };
        if self.num_lines > BATCH_LINES_MAX {
            let message = format!("a batch has at most {BATCH_LINES_MAX} lines");
            return Err(wrong(("too_many_lines", None, message)));
        }
        let line = parse(line, endpoint).map_err(wrong)?;
        if !knows_model(line.model.as_deref()) {
            let message = "body.model is not a model of this server".to_owned();
            return Err(wrong(("model_not_found", Some("body.model"), message)));
        }
        if !self.ids.insert(line.custom_id.clone()) {
            let message = "custom_id is another line's too".to_owned();
            return Err(wrong(("duplicate_custom_id", Some("custom_id"), message)));
        }
        Ok(Some(line))
    }
}

/// Whether nothing stands in a line.
pub fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_lines_own_bytes() {
        let line = br#"{"custom_id":"a","method":"POST","url":"/v1/responses","body":{"b": 1.50, "a":"\u00e9","model":"m"}}"#;
        let read = parse(line, Some(Endpoint::Responses)).unwrap();
        assert_eq!(read.body, r#"{"b": 1.50, "a":"\u00e9","model":"m"}"#);
        assert_eq!((read.custom_id.as_str(), read.model.as_deref()), ("a", Some("m")));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        let check = |line: &str, code: &str, param: Option<&str>| {
            let mut validator = Validator::default();
            let first = br#"{"custom_id":"first","url":"/v1/completions","body":{}}"#;
            validator.check(first, 1, Some(Endpoint::Completions), &|_| true).unwrap();
            let knows = |model: Option<&str>| model.is_none_or(|model| model == "m");
            let found = validator.check(line.as_bytes(), 2, Some(Endpoint::Completions), &knows).unwrap_err();
            let expect = (code, Some(2), param);
            assert_eq!((found.code.as_str(), found.line, found.param.as_deref()), expect, "{line}");
        };
        let with =
            |fields: &str| format!(r#"{{"custom_id":"x","method":"POST","url":"/v1/completions",{fields}}}"#);
        check("{", "invalid_json_line", None);
        check("[]", "invalid_json_line", None);
        check("{}", "missing_required_parameter", Some("custom_id"));
        check(r#"{"custom_id":"x","url":"/v1/responses","body":{}}"#, "mismatched_url", Some("url"));
        check(r#"{"custom_id":"x","url":"/v1/completions"}"#, "missing_required_parameter", Some("body"));
        check(
            r#"{"custom_id":"x","method":"GET","url":"/v1/completions"}"#,
            "invalid_method",
            Some("method"),
        );
        check(&with(r#""body":[1]"#), "invalid_body", Some("body"));
        check(&with(r#""body":{"stream":true}"#), "invalid_body", Some("body.stream"));
        // A field of another kind let the rest pass: the line's answer was a stream, in several lines.
        check(&with(r#""body":{"stream":true,"background":0}"#), "invalid_body", Some("body.stream"));
        check(&with(r#""body":{"background":true}"#), "invalid_body", Some("body.background"));
        check(&with(r#""body":{"model":"other"}"#), "model_not_found", Some("body.model"));
        let again = r#"{"custom_id":"first","url":"/v1/completions","body":{}}"#;
        check(again, "duplicate_custom_id", Some("custom_id"));
    }
}
