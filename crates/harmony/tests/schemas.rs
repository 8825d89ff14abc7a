//! What do tool schemas look like to the model, where we go beyond the vendor's crate?

use gptoss_harmony::{
    Analysis, Conversation, DeveloperContent, Error, Form, FunctionTool, Message, RenderOptions,
    ResponseFormat, Vocab, render,
};
use serde_json::{Value, json};

fn developer_text(content: DeveloperContent) -> Result<String, Error> {
    let vocab = Vocab::o200k_harmony();
    let options = RenderOptions { form: Form::Conversation, analysis: Analysis::KeepAll };
    let tokens = render(&vocab, &Conversation::from_messages([Message::developer(content)]), options)?;
    let text = String::from_utf8(vocab.decode(&tokens).unwrap()).unwrap();
    Ok(text["<|start|>developer<|message|>".len()..text.len() - "<|end|>".len()].to_string())
}

fn signature(parameters: Value) -> Result<String, Error> {
    let tool = FunctionTool { name: "f".into(), description: String::new(), parameters: Some(parameters) };
    let text = developer_text(DeveloperContent::default().with_function_tools(vec![tool]))?;
    let start = text.find("type f = (_: ").unwrap() + "type f = (_: ".len();
    Ok(text[start..text.rfind(") => any;").unwrap()].to_string())
}

fn check(parameters: Value, expected: &str) {
    assert_eq!(signature(parameters.clone()).unwrap(), expected, "{parameters}");
}

#[test]
fn references_unions_and_constants() {
    check(
        json!({
            "$defs": {"Unit": {"type": "string", "enum": ["c", "f"]}, "Place": {"type": "object", "properties": {"city": {"type": "string"}}}},
            "type": "object",
            "properties": {
                "unit": {"$ref": "#/$defs/Unit", "description": "Which unit", "default": "c"},
                "place": {"$ref": "#/$defs/Place"},
                "units": {"type": "array", "items": {"$ref": "#/$defs/Unit"}},
                "days": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": null},
                "either": {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "integer"}]},
                "list": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
                "only": {"allOf": [{"$ref": "#/$defs/Unit"}]},
                "both": {"allOf": [{"$ref": "#/$defs/Unit"}, {"type": "string"}]},
                "kind": {"const": "circle", "type": "string"},
                "elsewhere": {"$ref": "https://example.com/schema.json"},
                "missing": {"$ref": "#/$defs/Nothing"}
            },
            "required": ["unit"]
        }),
        "{\n// Which unit\nunit: \"c\" | \"f\", // default: \"c\"\nplace?: {\n    city?: string,\n    },\nunits?: (\"c\" | \"f\")[],\n\
        days?: number | null, // default: null\neither?: string | number,\nlist?: (string | null)[],\nonly?: \"c\" | \"f\",\n\
        both?: (\"c\" | \"f\") & string,\nkind?: \"circle\",\nelsewhere?: any,\nmissing?: any,\n}",
    );
}

#[test]
fn definitions_and_escaped_pointers() {
    check(
        json!({"definitions": {"a/b": {"type": "number"}}, "type": "object", "properties": {"x": {"$ref": "#/definitions/a~1b"}}}),
        "{\nx?: number,\n}",
    );
    // A reference is a URI fragment: percent signs first, tildes after.
    let names = ["My Type", "größe", "a~1b", "a/b", "100%", "50%25", "x%zz"];
    let definitions: serde_json::Map<String, Value> =
        names.iter().map(|name| (name.to_string(), json!({"const": name}))).collect();
    for (reference, name) in [
        ("My%20Type", "My Type"),
        ("gr%C3%B6%c3%9Fe", "größe"),
        ("größe", "größe"),
        ("a%7E01b", "a~1b"),
        ("a%7e1b", "a/b"),
        ("100%25", "100%"),
        ("100%", "100%"),
        ("50%25", "50%25"),
        ("x%zz", "x%zz"),
    ] {
        let schema = json!({"$defs": definitions, "$ref": format!("#/$defs/{reference}")});
        check(schema, &format!("{name:?}"));
    }
    for nothing in ["%FF", "My%2", "%", "+%+1"] {
        check(json!({"$defs": definitions, "$ref": format!("#/$defs/{nothing}")}), "any");
    }
    // A cycle through two spellings of one name ends as well.
    check(
        json!({"$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/%41"}}}, "$ref": "#/$defs/A"}),
        "any[][]",
    );
}

#[test]
fn cycles_end() {
    check(
        json!({
            "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
            "type": "object", "properties": {"head": {"$ref": "#/$defs/Node"}}
        }),
        "{\nhead?: {\n    next?: any,\n    },\n}",
    );
    check(json!({"$ref": "#"}), "any");
    check(
        json!({"type": "object", "properties": {"self": {"$ref": "#"}}}),
        "{\nself?: {\n    self?: any,\n    },\n}",
    );
}

#[test]
fn limits_have_names() {
    let mut deep = json!({"type": "string"});
    for _ in 0..200 {
        deep = json!({"type": "array", "items": deep});
    }
    let error = signature(deep).unwrap_err().to_string();
    assert_eq!(
        error,
        "messages[0]: the parameters of tool \"f\" nest deeper than 128 levels; flatten the schema"
    );
    let doubling = |leaf: Value, joint: &str| {
        let mut definitions = serde_json::Map::new();
        definitions.insert("0".into(), leaf);
        for i in 1..60 {
            let below = json!({"$ref": format!("#/$defs/{}", i - 1)});
            let both = match joint {
                "object" => json!({"type": "object", "properties": {"a": below.clone(), "b": below}}),
                _ => json!({joint: [below.clone(), below]}),
            };
            definitions.insert(i.to_string(), both);
        }
        json!({"$defs": definitions, "$ref": "#/$defs/59"})
    };
    let error = signature(doubling(json!({"type": "string"}), "anyOf")).unwrap_err();
    assert!(matches!(error, Error::SchemaTooLarge { unit: "nodes", .. }), "{error}");
    let error = signature(doubling(json!({"type": "object", "description": "x".repeat(2000)}), "object"))
        .unwrap_err();
    assert!(matches!(error, Error::SchemaTooLarge { unit: "bytes", .. }), "{error}");
}

#[test]
fn response_formats_come_last() {
    let format = |name: &str, description: Option<&str>| ResponseFormat {
        name: name.into(),
        description: description.map(String::from),
        schema: json!({"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "number"}}}),
    };
    let content = DeveloperContent::default()
        .with_instructions("Be brief.")
        .with_response_format(format("list", Some("A list")))
        .with_response_format(format("other", None));
    let schema = r#"{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"number"}}}"#;
    assert_eq!(
        developer_text(content).unwrap(),
        format!(
            "# Instructions\n\nBe brief.\n\n# Response Formats\n\n## list\n\n// A list\n{schema}\n\n## other\n\n{schema}"
        )
    );
}
