//! Fields of JSON values whose shape the wire types leave open.

use serde_json::Value;

/// A field that is a text.
pub fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}
