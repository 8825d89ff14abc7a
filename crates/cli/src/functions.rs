//! The functions that the model may call, as a file says it.
//!
//! [`read`] takes the spellings that people already have on disk: OpenAI's tool form
//! (`{"type":"function","function":{...}}`), the flatter form of the Responses API, and a bare list of
//! `{name, description, parameters}`; a list may mix them, and an object with `tools` or `functions` around
//! the list is opened. What is wrong is said with file, index and field, because such files are written by
//! hand.
//!
//! It does not judge the JSON Schema under `parameters`; harmony renders what it can of it.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use gptoss_harmony::FunctionTool;
use serde_json::{Map, Value};

use crate::input::{self, Source};

/// Longest name of a function, in characters, as in the OpenAI API.
const NAME_CHARS_MAX: usize = 64;

/// The functions of a file, in its order.
///
/// Errors: name the file, the index in the list and the field.
pub fn read(file: &Path) -> Result<Vec<FunctionTool>> {
    let document: Value = input::read_json(Source::File(file), "a JSON list of functions")?;
    from_value(&document).with_context(|| format!("{}: not usable as --functions", file.display()))
}

fn from_value(document: &Value) -> Result<Vec<FunctionTool>> {
    let list = match document {
        Value::Object(object) => object.get("tools").or_else(|| object.get("functions")).unwrap_or(document),
        other => other,
    };
    let list = list.as_array().ok_or_else(|| {
        anyhow!(
            "expected an array of functions, found {}\nwrite [{{\"name\": ..., \"parameters\": ...}}]",
            kind(list)
        )
    })?;
    let mut names = HashSet::new();
    let mut functions = Vec::with_capacity(list.len());
    for (index, entry) in list.iter().enumerate() {
        let function = one(entry).with_context(|| format!("function {index}"))?;
        if !names.insert(function.name.clone()) {
            bail!("function {index}: the name `{}` is taken by an earlier one", function.name);
        }
        functions.push(function);
    }
    Ok(functions)
}

fn one(entry: &Value) -> Result<FunctionTool> {
    let object = object(entry, "the entry")?;
    match object.get("type") {
        None => {}
        Some(Value::String(kind)) if kind == "function" => {}
        Some(other) => bail!("field `type` is {other}; only \"function\" can be offered to the model"),
    }
    let object = match object.get("function") {
        Some(inner) => self::object(inner, "field `function`")?,
        None => object,
    };
    let name = match object.get("name") {
        Some(Value::String(name)) => name.clone(),
        Some(other) => bail!("field `name` must be a string, found {}", kind(other)),
        None => bail!("field `name` is missing"),
    };
    check_name(&name)?;
    let description = match object.get("description") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => bail!("field `description` must be a string, found {}", kind(other)),
    };
    let parameters = match object.get("parameters") {
        None | Some(Value::Null) => None,
        Some(schema @ Value::Object(_)) => Some(schema.clone()),
        Some(other) => bail!("field `parameters` must be a JSON Schema object, found {}", kind(other)),
    };
    Ok(FunctionTool { name, description, parameters })
}

fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let length = name.chars().count();
    if !(1..=NAME_CHARS_MAX).contains(&length) || !name.chars().all(allowed) {
        bail!("field `name` is {name:?}; a name is 1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 _ . -");
    }
    Ok(())
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| anyhow!("{what} must be an object, found {}", kind(value)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_three_spellings_mean_the_same() {
        let bare = json!({"name": "add", "description": "Adds.", "parameters": {"type": "object"}});
        let mut flat = bare.clone();
        flat["type"] = json!("function");
        let nested = json!({"type": "function", "function": bare});
        for document in [json!([bare]), json!([flat]), json!([nested]), json!({"tools": [nested]})] {
            let functions = from_value(&document).unwrap();
            assert_eq!((functions.len(), functions[0].name.as_str()), (1, "add"), "{document}");
            assert_eq!(functions[0].description, "Adds.");
            assert_eq!(functions[0].parameters, Some(json!({"type": "object"})));
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_index_and_field() {
        let check = |document: Value, expect: &str| {
            let error = format!("{:#}", from_value(&document).unwrap_err());
            assert!(error.contains(expect), "{error} should contain {expect}");
        };
        check(json!(3), "found a number");
        check(json!([{"name": "a"}, 4]), "function 1: the entry must be an object");
        check(json!([{"description": "x"}]), "function 0: field `name` is missing");
        check(json!([{"name": "two words"}]), "field `name` is \"two words\"");
        check(json!([{"name": ""}]), "field `name`");
        check(json!([{"name": "x".repeat(65)}]), "1 to 64");
        check(json!([{"name": "a", "parameters": []}]), "field `parameters` must be");
        check(json!([{"name": "a", "description": 1}]), "field `description` must be");
        check(json!([{"type": "web_search"}]), "only \"function\"");
        check(json!([{"name": "a"}, {"name": "a"}]), "taken by an earlier one");
    }
}
