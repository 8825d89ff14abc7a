//! Do schemas and grammars that would cost too much meet a limit?
//!
//! Each of them is either refused by the compiler or, when it is accepted, draws tokens until the end, a limit of one mask, or enough. What
//! must not happen: a crash, a hang, or an error of another kind. Afterwards the same table serves an ordinary schema.

use std::time::{Duration, Instant};

use gptoss_constrain::{Body, Error, Limits, Reasoning, Spec, compile};
use serde_json::{Value, json};

use crate::draw::{Random, compiled, pick, table};

fn spec(answer: Body) -> Spec {
    Spec { answer, reasoning: Reasoning { budget: Some(0), preambles: false }, ..Spec::default() }
}

fn schema(schema: Value) -> Body {
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

fn hostile() -> Vec<(&'static str, Body)> {
    let regex = |pattern: &str| Body::Regex(pattern.into());
    let pattern = |pattern: &str| schema(json!({"type": "string", "pattern": pattern}));
    let values: Vec<String> = (0..100_000).map(|i| format!("value {i}")).collect();
    let names =
        (0..6_000).map(|i| (format!("p{i}"), json!({"type": "string"}))).collect::<serde_json::Map<_, _>>();
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
        ("huge object", schema(json!({"type": "object", "properties": names}))),
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
        ("lark bytes", Body::Lark("start: \"a\" | /[^a]/".into())),
    ]
}

/// Draws tokens until the end or enough; what stopped it.
fn draw(body: Body, seed: u64) -> Result<usize, Error> {
    let compiled = compiled(spec(body))?;
    let mut constraint = compiled.start();
    let mut random = Random::new(seed);
    while !constraint.is_over() && constraint.num_committed() < 60 {
        let mask = constraint.allowed()?.to_vec();
        constraint.commit(pick(&mut random, table().vocab(), &mask, 20))?;
    }
    Ok(constraint.num_committed())
}

#[test]
fn hostile_grammars_meet_limits() {
    for (name, body) in hostile() {
        let started = Instant::now();
        let outcome = draw(body, 1);
        println!(
            "{name}: {} ms: {}",
            started.elapsed().as_millis(),
            match &outcome {
                Ok(tokens) => format!("{tokens} tokens"),
                Err(error) => error.to_string(),
            }
        );
        let is_limit = matches!(
            outcome,
            Ok(_)
                | Err(Error::TooLarge { .. }
                    | Error::TooSlow { .. }
                    | Error::Keyword { .. }
                    | Error::Schema { .. }
                    | Error::Grammar { .. }
                    | Error::Exhausted { .. })
        );
        assert!(is_limit, "{name}: {outcome:?}");
        let after = draw(schema(json!({"type": "object", "properties": {"a": {"type": "integer"}}})), 2);
        assert!(after.is_ok(), "after {name}: {after:?}");
    }
}

#[test]
fn what_is_refused_is_refused_for_its_reason() {
    let check = |name: &str, part: &str| {
        let (_, body) = hostile().into_iter().find(|(found, _)| *found == name).expect(name);
        let message = compiled(spec(body)).map(|_| ()).expect_err(name).to_string();
        assert!(message.contains(part), "{name}: {part:?} in {message}");
    };
    check("deep properties", "its depth is 65, at most 64 levels");
    check("huge enum", "the number of enum values is 100000, at most 10000 values");
    check("longer string", "#/minLength: the bound is 10000000, at most 100000 repetitions");
    check("unreadable pattern", "#/pattern");
    check(
        "counted quantifiers",
        "the product of its nested repetitions is 1000000, at most 100000 repetitions",
    );
    check("extreme integers", "\"multipleOf\" cannot be enforced");
    check("deep brackets", "nested parentheses");
    check("lark options", "%llguidance");
    check("lark no start", "start");
}

/// A compilation that was given up goes on without anybody waiting for it, so it must end by its other limits.
#[test]
#[ignore = "half a minute; .ci/run runs it"]
fn given_up_compilations_end() {
    let limits = Limits { compile_time_max: Duration::from_secs(120), ..Limits::default() };
    for (name, body) in hostile() {
        let started = Instant::now();
        let outcome = compile(table(), spec(body), &limits).map(|_| ());
        println!("{name}: {} ms", started.elapsed().as_millis());
        assert!(!matches!(outcome, Err(Error::TooSlow { .. } | Error::Crashed)), "{name}: {outcome:?}");
    }
}

/// The clock is the last limit: the caller gets its answer although the work goes on, and the next compilation is not hindered.
#[test]
fn time_is_a_limit() {
    let limits = Limits { compile_time_max: Duration::ZERO, ..Limits::default() };
    let slow = compile(table(), spec(Body::JsonObject), &limits).map(|_| ());
    assert_eq!(slow, Err(Error::TooSlow { limit_ms: 0 }));
    compiled(spec(Body::JsonObject)).expect("in time");
}
