//! The places of a JSON Schema where subschemas stand.
//!
//! [`place`] knows them by keyword, [`children`] lists what is there. A property that has a keyword's name is
//! not one.

use serde_json::Value;

/// The subschemas directly below a schema, with their pointers from it.
pub(crate) fn children(schema: &Value) -> Vec<(String, &Value)> {
    let Value::Object(keywords) = schema else { return Vec::new() };
    let mut found = Vec::new();
    for (keyword, value) in keywords {
        match (place(keyword), value) {
            (Place::One, Value::Object(_) | Value::Bool(_)) => found.push((pointer("", keyword), value)),
            (Place::One | Place::List, Value::Array(list)) => {
                let each = list.iter().enumerate();
                found.extend(each.map(|(index, value)| (format!("/{keyword}/{index}"), value)));
            }
            (Place::Named, Value::Object(named)) => {
                found.extend(named.iter().map(|(name, value)| (pointer(&pointer("", keyword), name), value)));
            }
            _ => {}
        }
    }
    found
}

/// Where a keyword has subschemas.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Nowhere,
    /// Its value is one (or, in older drafts, a list).
    One,
    List,
    /// Its value has them by name.
    Named,
}

/// Where this keyword has them.
pub(crate) fn place(keyword: &str) -> Place {
    match keyword {
        "items" | "additionalItems" | "additionalProperties" => Place::One,
        "prefixItems" | "anyOf" | "oneOf" | "allOf" => Place::List,
        "properties" | "patternProperties" | "$defs" | "definitions" => Place::Named,
        _ => Place::Nowhere,
    }
}

/// The JSON pointer of `name` below `path`.
pub(crate) fn pointer(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}
