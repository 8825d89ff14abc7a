//! A body of `/v1/moderations`, read.

use crate::errors::ApiError;
use crate::wire::moderations::{ModerationsInput, ModerationsPart, ModerationsRequest};

/// Most texts of a request.
const TEXTS_MAX: usize = 128;

/// The texts that are judged, with a result each; all parts of a list are one.
///
/// Errors: there is none, there are too many, or a part is no text.
pub fn texts(request: &ModerationsRequest) -> Result<Vec<String>, ApiError> {
    let texts = match request.input.as_ref().ok_or(ApiError::Missing { param: "input" })? {
        ModerationsInput::Text(text) => vec![text.clone()],
        ModerationsInput::Texts(texts) => texts.clone(),
        ModerationsInput::Parts(parts) => {
            let parts = parts.iter().enumerate().map(|(index, part)| text(part, index));
            vec![parts.collect::<Result<Vec<&str>, _>>()?.join("\n")]
        }
    };
    match texts.len() {
        0 => Err(ApiError::invalid("input", "input is empty: give a text")),
        1..=TEXTS_MAX => Ok(texts),
        many => {
            Err(ApiError::invalid("input", format!("input has {many} texts, but at most {TEXTS_MAX} may be")))
        }
    }
}

fn text(part: &ModerationsPart, index: usize) -> Result<&str, ApiError> {
    let param = format!("input[{index}]");
    match part.kind.as_str() {
        "text" => part.text.as_deref().ok_or_else(|| {
            let param = format!("{param}.text");
            ApiError::invalid(&param, format!("{param} is missing"))
        }),
        "image_url" => Err(ApiError::unsupported(
            param,
            "This model reads text only: an image is not judged, so it is refused.",
        )),
        kind => Err(ApiError::invalid(&param, format!("{param}.type is {kind:?}, but must be text"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn strings_are_results_and_parts_are_one() {
        let check = |input: Value, expect: Result<&[&str], &str>| {
            let read = texts(&serde_json::from_value(json!({"input": input})).unwrap());
            match expect {
                Ok(expect) => assert_eq!(read.unwrap(), expect, "{input}"),
                Err(expect) => {
                    let error = read.unwrap_err().to_string();
                    assert!(error.contains(expect), "{input}: {error}");
                }
            }
        };
        check(json!("a"), Ok(&["a"]));
        check(json!(["a", "b"]), Ok(&["a", "b"]));
        check(json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), Ok(&["a\nb"]));
        check(json!([{"type": "image_url", "image_url": {"url": "x"}}]), Err("input[0]"));
        check(json!([{"type": "sound"}]), Err("sound"));
        check(json!([{"type": "text"}]), Err("input[0].text is missing"));
        check(json!([]), Err("empty"));
        check(json!(null), Err("input"));
        check(Value::from(vec!["a"; TEXTS_MAX + 1]), Err("at most 128"));
    }
}
