//! What stands in the columns of a row.

use gptoss_api::generation::content::part_text;
use gptoss_api::wire::chat::ChatContent;
use serde_json::{Map, Value, json};

use crate::reason::Reason;

/// A list of messages in a column.
pub(crate) fn messages(row: &Map<String, Value>, column: &str) -> Result<Vec<Value>, Reason> {
    let wrong = || Reason::Column { column: column.to_owned(), expected: "a list of messages" };
    row.get(column).and_then(Value::as_array).cloned().ok_or_else(wrong)
}

/// Messages in a column, or a text that is one message of that role.
pub(crate) fn side(row: &Map<String, Value>, column: &str, role: &str) -> Result<Vec<Value>, Reason> {
    match row.get(column) {
        Some(Value::String(text)) => Ok(vec![json!({"role": role, "content": text})]),
        _ => messages(row, column),
    }
}

/// A text in a column that may be missing.
pub(crate) fn string<'a>(row: &'a Map<String, Value>, column: &str) -> Result<Option<&'a str>, Reason> {
    match row.get(column) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Reason::Column { column: column.to_owned(), expected: "a text" }),
    }
}

/// The text of a message's content.
pub(crate) fn content_text(content: &ChatContent) -> Result<String, Reason> {
    let text = |part| part_text(part, "content").map_err(|error| Reason::Body { message: error.to_string() });
    match content {
        ChatContent::Text(text) => Ok(text.clone()),
        ChatContent::Part(part) => text(part),
        ChatContent::Parts(parts) => parts.iter().map(text).collect(),
    }
}
