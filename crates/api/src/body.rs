//! The bytes of a body as a value, or an error that names what is wrong.
//!
//! A wrong field is named by its place, as `messages[2].role`, because a client's author has nothing else to
//! go by.

use serde::de::DeserializeOwned;

use crate::errors::ApiError;

/// Reads a value.
///
/// Errors: `NotJson`, or `Invalid` by the place of what is wrong.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| wrong(&error))?;
    reader.end().map_err(|error| ApiError::NotJson { problem: error.to_string() })?;
    Ok(value)
}

fn wrong(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let inner = error.inner();
    if inner.is_syntax() || inner.is_eof() {
        return ApiError::NotJson { problem: inner.to_string() };
    }
    let mut path = error.path().to_string();
    let message = inner.to_string();
    if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        let is_inside = path != "." && !path.is_empty();
        path = if is_inside { format!("{path}.{field}") } else { field.to_owned() };
    }
    // What serde quotes of a wrong value may be the user's text: the place and the kind are told, not the
    // value.
    let expected = message.split(", expected ").nth(1).and_then(|rest| rest.split(" at line").next());
    let message = match expected {
        Some(expected) => format!("{path}: expected {expected}"),
        None if message.starts_with("missing field") => format!("{path} is missing"),
        None if message.starts_with("a string or") || message.starts_with("a list") => {
            format!("{path}: expected {}", message.split(" at line").next().unwrap_or_default())
        }
        None => format!("{path} has a wrong value"),
    };
    ApiError::Invalid { param: Some(path), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chat::ChatRequest;

    fn check(body: &str, expect: &str) {
        let error = parse::<ChatRequest>(body.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }

    #[test]
    fn what_is_wrong_is_named() {
        check(r#"{"model": "demo"}"#, "messages is missing");
        check(r#"{"messages": [{"role": "user"}, {"content": ""}]}"#, "messages[1].role is missing");
        check(r#"{"messages": [], "temperature": "hot secret"}"#, "temperature: expected f64");
        let content = r#"{"messages": [{"role": "user", "content": 3}]}"#;
        check(content, "messages[0].content: expected a string or a list of content parts");
    }

    #[test]
    fn what_is_no_json_is_said() {
        let error = parse::<ChatRequest>(b"{\"messages\": [").unwrap_err();
        assert!(matches!(error, ApiError::NotJson { .. }), "{error}");
        let deep = "[".repeat(100_000);
        assert!(parse::<serde_json::Value>(deep.as_bytes()).is_err());
    }
}
