//! BFCL's functions as a model is shown them: names without dots, types of JSON Schema, and words about the
//! language.

use serde_json::{Map, Value as Json, json};

use crate::bfcl::language::Language;

/// A function as OpenAI's tools have it, made as BFCL's own handler of that API makes it.
pub fn shown(language: Language, function: &Json) -> Json {
    let mut function = function.clone();
    let syntax = match language {
        Language::Python => "Python 3",
        Language::Java => "Java 8 SDK",
        Language::JavaScript => "JavaScript",
    };
    if let Some(name) = function["name"].as_str() {
        function["name"] = name.replace('.', "_").into();
    }
    append(&mut function, &format!(" Note that the provided function is in {syntax} syntax."));
    function["parameters"]["type"] = "object".into();
    if let Some(Json::Object(properties)) = function["parameters"].get_mut("properties") {
        if language != Language::Python {
            properties.values_mut().for_each(|property| as_literal(language, property));
        }
        cast_all(properties);
    }
    function
}

/// Adds to the description of a function or a property.
fn append(owner: &mut Json, text: &str) {
    let old = owner["description"].as_str().unwrap_or_default();
    owner["description"] = format!("{old}{text}").into();
}

/// A property whose value is a literal of the language.
fn as_literal(language: Language, property: &mut Json) {
    let name = if language == Language::Java { "Java" } else { "JavaScript" };
    let kind = property["type"].as_str().unwrap_or("any").to_owned();
    match kind.as_str() {
        "any" => {
            append(
                property,
                &format!(" This parameter can be of any type of {name} object in string representation."),
            );
        }
        kind => append(property, &format!(" This is {name} {kind} type parameter in string representation.")),
    }
    if language.is_nested(&kind) {
        let inner = property["items"]["type"].as_str().unwrap_or("any").to_owned();
        let elements =
            format!(" The list elements are of type {inner}; they are not in string representation.");
        append(property, &elements);
        property.as_object_mut().map(|members| members.shift_remove("items"));
    }
    if language == Language::JavaScript && kind == "dict" && property.get("properties").is_some() {
        let members = property["properties"].to_string();
        let text = format!(
            " The dictionary entries have the following schema; they are not in string representation. {members}"
        );
        append(property, &text);
        property.as_object_mut().map(|members| members.shift_remove("properties"));
    }
    property["type"] = "string".into();
}

/// Casts all properties, and what is within them.
fn cast_all(properties: &mut Map<String, Json>) {
    for property in properties.values_mut().filter(|property| property.is_object()) {
        let kind = property["type"].as_str().unwrap_or("any").to_owned();
        if kind == "float" {
            property["format"] = json!("float");
            append(property, " This is a float type value.");
        }
        property["type"] = schema_type(&kind).into();
        if let Some(Json::Object(inner)) = property.get_mut("properties") {
            cast_all(inner);
        } else if let Some(items) = property.get_mut("items").filter(|items| items.is_object()) {
            cast_items(items);
        }
    }
}

fn cast_items(items: &mut Json) {
    let kind = items["type"].as_str().unwrap_or("any").to_owned();
    items["type"] = schema_type(&kind).into();
    if let Some(inner) = items.get_mut("items").filter(|inner| inner.is_object()) {
        cast_items(inner);
    } else if let Some(Json::Object(inner)) = items.get_mut("properties") {
        cast_all(inner);
    }
}

fn schema_type(kind: &str) -> &'static str {
    match kind {
        "integer" | "byte" | "short" | "long" | "Bigint" => "integer",
        "number" | "float" | "double" => "number",
        "boolean" | "bool" => "boolean",
        "array" | "list" | "tuple" | "ArrayList" | "Array" | "Queue" | "Stack" => "array",
        "dict" | "object" | "HashMap" | "Hashtable" => "object",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_shown_as_a_schema() {
        let function = json!({"name": "a.b", "description": "Does it.", "parameters": {"type": "dict", "required": ["x"],
            "properties": {"x": {"type": "float", "description": "How much."}, "y": {"type": "any"},
                "z": {"type": "array", "items": {"type": "dict", "properties": {"w": {"type": "tuple"}}}}}}});
        let expect = json!({"name": "a_b", "description": "Does it. Note that the provided function is in Python 3 syntax.",
            "parameters": {"type": "object", "required": ["x"], "properties": {
                "x": {"type": "number", "description": "How much. This is a float type value.", "format": "float"},
                "y": {"type": "string"},
                "z": {"type": "array", "items": {"type": "object", "properties": {"w": {"type": "array"}}}}}}});
        assert_eq!(shown(Language::Python, &function), expect);
    }

    #[test]
    fn arguments_of_java_are_texts() {
        let function = json!({"name": "f", "description": "", "parameters": {"properties": {
            "x": {"type": "Array", "description": "All.", "items": {"type": "long"}}, "y": {"type": "any"}}}});
        let shown = shown(Language::Java, &function);
        let properties = &shown["parameters"]["properties"];
        let all = "All. This is Java Array type parameter in string representation. The list elements are of type long; \
                   they are not in string representation.";
        assert_eq!(properties["x"], json!({"type": "string", "description": all}));
        assert_eq!(properties["y"]["type"], "string");
    }
}
