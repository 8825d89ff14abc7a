//! Schemas and grammars that would cost too much.

use gptoss_constrain::Body;
use serde_json::{Value, json};

pub fn schema(schema: Value) -> Body {
    Body::JsonSchema { schema, fidelity: Default::default() }
}

/// `{"a": {"a": ... }}`.
fn nested(keyword: &str, depth: usize) -> Value {
    (0..depth).fold(json!({"type": "null"}), |inner, _| match keyword {
        "properties" => json!({"type": "object", "properties": {"a": inner}, "required": ["a"]}),
        "items" => json!({"type": "array", "items": inner}),
        other => json!({other: [inner, {"type": "boolean"}]}),
    })
}

/// Definitions each of which uses the next one twice: 2^n when written out.
fn doubling(keyword: &str, levels: usize) -> Value {
    let mut definitions = serde_json::Map::new();
    for level in 0..levels {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        let schema = match keyword {
            "properties" => {
                json!({"type": "object", "properties": {"a": next, "b": next}, "required": ["a", "b"]})
            }
            other => json!({other: [next, next, {"type": ["object", "string"]}]}),
        };
        definitions.insert(format!("d{level}"), schema);
    }
    definitions.insert(format!("d{levels}"), json!({"type": "string"}));
    json!({"$ref": "#/$defs/d0", "$defs": definitions})
}

const FORMATS: [&str; 8] = ["date-time", "time", "date", "duration", "email", "hostname", "ipv6", "uri"];

/// Definitions each of which names the next, between brackets.
pub fn lark_chain(name: &str, len: usize, (open, close): (&str, &str)) -> Body {
    let links = (0..len).map(|i| format!("{name}{i}: \"b\" {open}{name}{}{close} | \"c\"\n", i + 1));
    Body::Lark(format!("start: {name}0\n{}{name}{len}: \"a\"\n", links.collect::<String>()))
}

/// Definitions each of which refers to the next.
pub fn reference_chain(len: usize, keyword: &str) -> Body {
    let link = |i: usize| {
        let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
        match keyword {
            "$ref" => next,
            "properties" => json!({"type": "object", "properties": {"a": next}}),
            other => json!({other: [next, {"type": "object"}]}),
        }
    };
    let definitions = (0..len).map(|i| (format!("d{i}"), link(i)));
    let last = (format!("d{len}"), json!({"type": "object", "additionalProperties": false}));
    let definitions: serde_json::Map<_, _> = definitions.chain([last]).collect();
    schema(json!({"$ref": "#/$defs/d0", "$defs": definitions}))
}

/// Terminals that match alike for long, so that every state of the lexer is a set of all of them.
pub fn overlapping_terminals() -> Body {
    let terminals = (0..400).map(|i| format!("T{i}: /[a-z]{{1,{}}}x{i}[a-z ]*/\n", 20 + i % 40));
    let names = (0..400).map(|i| format!("T{i}")).collect::<Vec<_>>();
    Body::Lark(format!("start: ({})+\n{}", names.join(" | "), terminals.collect::<String>()))
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
pub fn hostile() -> Vec<(&'static str, Body)> {
    let regex = |pattern: &str| Body::Regex(pattern.into());
    let pattern = |pattern: &str| schema(json!({"type": "string", "pattern": pattern}));
    let values: Vec<String> = (0..100_000).map(|i| format!("value {i}")).collect();
    let names: Vec<(String, Value)> =
        (0..6_000).map(|i| (format!("p{i}"), json!({"type": "string"}))).collect();
    let steps = (0..300)
        .map(|i| (format!("p{i}"), json!({"type": "integer", "multipleOf": 9_973, "minimum": i})))
        .collect::<serde_json::Map<_, _>>();
    let formats = (0..800)
        .map(|i| {
            (
                format!("p{i}"),
                json!({"type": "string", "format": FORMATS[i % FORMATS.len()], "minLength": i / 9}),
            )
        })
        .collect::<serde_json::Map<_, _>>();
    let objects = (0..5)
        .map(|i| {
            let names = names[i * 1_000..][..1_000].iter().cloned().collect::<serde_json::Map<_, _>>();
            (format!("o{i}"), json!({"type": "object", "properties": names}))
        })
        .collect::<serde_json::Map<_, _>>();
    let patterns = (0..64)
        .map(|i| (format!("^p{i}(a|b)*c{i}$"), json!({"type": "integer", "minimum": i})))
        .collect::<serde_json::Map<_, _>>();
    let optional =
        (0..300).map(|i| (format!("p{i}"), json!({"type": "string"}))).collect::<serde_json::Map<_, _>>();
    let overlapping: Vec<Value> =
        (0..60).map(|i| json!({"type": "object", "properties": {"a": {"type": "string", "minLength": i}, "b": {"type": "array"}}})).collect();
    vec![
        ("deep properties", schema(nested("properties", 70))),
        ("deep items", schema(nested("items", 63))),
        ("deep anyOf", schema(nested("anyOf", 63))),
        ("deep allOf", schema(nested("allOf", 63))),
        ("huge enum", schema(json!({"enum": values}))),
        ("large enum", schema(json!({"enum": values[..9_000]}))),
        (
            "huge object",
            schema(
                json!({"type": "object", "properties": names.iter().cloned().collect::<serde_json::Map<_, _>>()}),
            ),
        ),
        (
            "many optional",
            schema(json!({"type": "object", "properties": optional, "additionalProperties": false})),
        ),
        ("doubling properties", schema(doubling("properties", 40))),
        ("doubling anyOf", schema(doubling("anyOf", 40))),
        ("doubling allOf", schema(doubling("allOf", 40))),
        ("self reference", schema(json!({"$ref": "#"}))),
        (
            "reference cycle",
            schema(
                json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
            ),
        ),
        (
            "cycle by allOf",
            schema(
                json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"type": "object"}]}}}),
            ),
        ),
        ("overlapping anyOf", schema(json!({"anyOf": overlapping}))),
        ("overlapping allOf of anyOf", schema(json!({"allOf": vec![json!({"anyOf": overlapping}); 8]}))),
        ("long string", schema(json!({"type": "string", "minLength": 90_000, "maxLength": 100_000}))),
        ("longer string", schema(json!({"type": "string", "minLength": 10_000_000}))),
        (
            "long array",
            schema(
                json!({"type": "array", "items": {"type": "string"}, "minItems": 90_000, "maxItems": 100_000}),
            ),
        ),
        (
            "nested arrays",
            schema((0..8).fold(
                json!({"type": "null"}),
                |inner, _| json!({"type": "array", "items": inner, "maxItems": 1000}),
            )),
        ),
        (
            "extreme numbers",
            schema(json!({"type": "number", "minimum": -1.7e308, "maximum": 1.7e308, "multipleOf": 1e-300})),
        ),
        (
            "extreme integers",
            schema(
                json!({"type": "integer", "minimum": -9.2e18, "maximum": 9.2e18, "multipleOf": 999_999_937}),
            ),
        ),
        ("nested quantifiers", regex("(a+)+$")),
        ("counted quantifiers", regex("(a{1000}){1000}")),
        ("counted thrice", regex("((a{0,300}){0,300}){0,300}")),
        ("counted alternatives", regex("((a|b|ab|ba){1,500}c?){1,500}")),
        ("distance", regex(".*a.{200}b.{200}c")),
        ("unicode", regex(r"(\w{0,200}\W{0,200}\p{L}{0,200}){0,200}")),
        ("deep brackets", regex(&format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000)))),
        ("long pattern", regex(&"(a|b)?".repeat(2_000))),
        ("distance pattern", pattern(".*a.{300}b")),
        ("counted pattern", pattern("^(x{1,1000}y{1,1000}){1,1000}$")),
        ("unreadable pattern", pattern("[")),
        ("lark recursion", Body::Lark("start: start start | \"a\"".into())),
        ("lark left cycle", Body::Lark("start: b\nb: start | \"x\" b".into())),
        (
            "lark doubling",
            Body::Lark((0..40).fold("start: r0\nr40: \"a\"".into(), |text, i| {
                format!("{text}\nr{i}: r{} r{}", i + 1, i + 1)
            })),
        ),
        ("lark brackets", Body::Lark(format!("start: {}\"a\"{}", "(".repeat(10_000), ")".repeat(10_000)))),
        ("lark repetition", Body::Lark("start: (\"a\" | \"b\"){1000000}".into())),
        ("lark nothing", Body::Lark("start: start".into())),
        ("lark no start", Body::Lark("begin: \"a\"".into())),
        ("lark special", Body::Lark("start: <[2020]> <|end|> /a/".into())),
        ("lark options", Body::Lark("%llguidance {\"allow_invalid_utf8\": true}\nstart: /(?s-u:.)*/".into())),
        ("large step", schema(json!({"type": "integer", "multipleOf": 999_983}))),
        ("accepted step", schema(json!({"type": "integer", "multipleOf": 9_973}))),
        (
            "two steps",
            schema(
                json!({"allOf": [{"type": "integer", "multipleOf": 9999}, {"type": "integer", "multipleOf": 9900}, {"multipleOf": 9_999}, {"multipleOf": 100}]}),
            ),
        ),
        ("many steps", schema(json!({"type": "object", "properties": steps}))),
        ("formats", schema(json!({"type": "object", "properties": formats}))),
        (
            "many names",
            schema(
                json!({"type": "object", "properties": names[..5_000].iter().cloned().collect::<serde_json::Map<_, _>>()}),
            ),
        ),
        ("many objects", schema(json!({"type": "object", "properties": objects}))),
        ("patterns", schema(json!({"type": "object", "patternProperties": patterns}))),
        (
            "required self",
            schema(json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})),
        ),
        ("chain of rules", lark_chain("r", 14_000, ("", ""))),
        ("chain of terminals", lark_chain("R", 14_000, ("", ""))),
        ("brackets in a chain", lark_chain("r", 999, (&"(".repeat(29), &")".repeat(29)))),
        ("templates", Body::Lark(format!("start: {}\"a\"{}", "a{".repeat(100_000), "}".repeat(100_000)))),
        ("chain of references", reference_chain(19_000, "$ref")),
        ("overlapping terminals", overlapping_terminals()),
        ("lark json", Body::Lark("start: %json {\"type\": \"integer\", \"multipleOf\": 999983}".into())),
        ("lark bytes", Body::Lark("start: \"a\" | /[^a]/".into())),
    ]
}
