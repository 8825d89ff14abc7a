//! What the masks allow is valid JSON of the schema.

use gptoss_constrain::{Body, Constraint, Error, Fidelity, Reasoning, Spec};
use gptoss_harmony::{Control, StreamParser};
use serde_json::{Value, json};

use crate::{
    draw::{Random, compiled, pick, table},
    random_schema::random_schema,
};

/// Longest text that is drawn, in tokens.
const STEPS_MAX: usize = 400;

fn spec(schema: &Value, fidelity: Fidelity) -> Spec {
    let answer = Body::JsonSchema { schema: schema.clone(), fidelity };
    let reasoning = Reasoning { budget: Some(0), preambles: false };
    Spec { answer, reasoning, ..Spec::default() }
}

/// A text of the schema; `None` when it was not over in time.
fn text_of(schema: &Value, random: &mut Random) -> Result<Option<String>, Error> {
    let compiled = compiled(spec(schema, Fidelity::Strict))?;
    let vocab = table().vocab();
    let mut constraint = Constraint::new(&compiled);
    let mut parser = StreamParser::completion(vocab.clone());
    for _ in 0..STEPS_MAX {
        let mask = constraint.allowed()?.to_vec();
        let token =
            match gptoss_constrain::is_allowed(&mask, vocab.control(Control::Return)) && random.chance(60) {
                true => vocab.control(Control::Return),
                false => pick(random, vocab, &mask, 40),
            };
        constraint.commit(token)?;
        parser.push(token);
        if constraint.is_over() {
            let (_, parsed) = parser.finish();
            assert_eq!(parsed.warnings, [], "{schema}");
            return Ok(Some(parsed.messages[0].text()));
        }
    }
    Ok(None)
}

fn check_random_schemas(seeds: std::ops::Range<u64>) {
    let total = seeds.end - seeds.start;
    let (mut num_whole, mut num_too_large) = (0, 0);
    for seed in seeds {
        let mut random = Random::new(seed);
        let schema = random_schema(&mut random);
        let text =
            text_of(&schema, &mut random).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{schema}"));
        let Some(text) = text else { continue };
        num_whole += 1;
        let value: Value = match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(error) if error.to_string().contains("number out of range") => {
                num_too_large += 1;
                continue;
            }
            Err(error) => panic!("seed {seed}: {error}: {text}\n{schema}"),
        };
        let validator = jsonschema::validator_for(&schema).expect("the generator makes schemas");
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "seed {seed}: {errors:?}\n{text}\n{schema}");
    }
    println!("{num_whole} of {total} texts were whole, {num_too_large} with a number beyond f64");
    assert!(num_whole * 2 > total, "{num_whole} of {total} texts were whole");
    assert!(num_too_large * 20 <= total, "{num_too_large} numbers beyond f64");
}

#[test]
fn texts_of_random_schemas_are_valid() {
    check_random_schemas(0..120);
}

#[test]
#[ignore = "a minute; .ci/run runs it"]
fn texts_of_two_thousand_random_schemas_are_valid() {
    check_random_schemas(0..2000);
}

/// Feeds a text to the schema's constraint; whether it was taken whole.
fn takes(schema: &Value, fidelity: Fidelity, text: &str) -> bool {
    let compiled = compiled(spec(schema, fidelity)).unwrap_or_else(|error| panic!("{error}"));
    let vocab = table().vocab();
    let mut constraint = Constraint::new(&compiled);
    let channel = [vocab.control(Control::Channel)];
    let header =
        channel.into_iter().chain(vocab.encode_ids("final")).chain([vocab.control(Control::Message)]);
    header.for_each(|token| constraint.commit(token).expect("a final header"));
    let body = vocab.encode_ids(text).into_iter().chain([vocab.control(Control::Return)]);
    body.map(|token| constraint.commit(token)).all(|taken| taken.is_ok())
}

#[test]
fn schemas_take_what_they_say() {
    let person = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
        "required": ["name", "age"],
        "additionalProperties": false
    });
    let check =
        |text: &str, expected: bool| assert_eq!(takes(&person, Fidelity::Strict, text), expected, "{text}");
    check(r#"{"name":"Ada","age":36}"#, true);
    check(r#"{"name":"Größe 𝄞","age":0}"#, true);
    check(r#"{"age":36,"name":"Ada"}"#, false);
    check(r#"{"name":"Ada"}"#, false);
    check(r#"{"name":"Ada","age":-1}"#, false);
    check(r#"{"name": "Ada","age":36}"#, false);
    check(r#"{"name":"Ada","age":36} "#, false);
    let tree = json!({"$defs": {"t": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/t"}}]}}, "$ref": "#/$defs/t"});
    assert!(takes(&tree, Fidelity::Strict, "[[],[null,[[]]]]"));
    assert!(!takes(&tree, Fidelity::Strict, "[1]"));
}

#[test]
fn loose_schemas_leave_out_what_cannot_be_held() {
    let schema = json!({
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": {"type": "string", "pattern": "^(?=a)b"}, "uniqueItems": true},
            "not": {"type": "string", "format": "color", "nullable": true}
        },
        "if": {"required": ["tags"]},
        "then": {"required": ["not"]}
    });
    let compiled = compiled(spec(&schema, Fidelity::Loose)).expect("loose");
    let told: Vec<String> = compiled.warnings().iter().map(ToString::to_string).collect();
    for part in ["uniqueItems", "pattern", "color", "nullable", "\"if\"", "\"then\""] {
        assert!(told.iter().any(|warning| warning.contains(part)), "{part}: {told:?}");
    }
    assert!(takes(&schema, Fidelity::Loose, r#"{"tags":["x","x"]}"#));
}

/// A refusal as the client reads it.
fn refusal(schema: Value) -> String {
    match compiled(spec(&schema, Fidelity::Strict)) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted: {schema}"),
    }
}

#[test]
fn refusals_name_the_place() {
    let check = |schema: Value, parts: &[&str]| {
        let message = refusal(schema);
        parts.iter().for_each(|part| assert!(message.contains(part), "{part:?} in {message}"));
    };
    let inside =
        |schema: Value| json!({"type": "object", "properties": {"a": {"type": "array", "items": schema}}});
    check(inside(json!({"not": {"type": "string"}})), &["#/properties/a/items", "\"not\"", "strict"]);
    check(inside(json!({"type": "array", "uniqueItems": true})), &["#/properties/a/items", "uniqueItems"]);
    check(inside(json!({"type": "string", "pattern": "("})), &["#/properties/a/items/pattern", "unclosed"]);
    check(
        inside(json!({"type": "string", "pattern": "^(?!x)"})),
        &["#/properties/a/items/pattern", "look-around"],
    );
    check(inside(json!({"$ref": "https://example.com/x"})), &["#/properties/a/items/$ref", "#/$defs/NAME"]);
    check(inside(json!({"$ref": "#/$defs/missing"})), &["missing"]);
    check(
        json!({"type": "object", "properties": {"p": {"type": "integer", "minimum": 3, "maximum": 2}}, "required": ["p"]}),
        &["#/properties/p"],
    );
    check(inside(json!({"type": "strin"})), &["#/properties/a/items"]);
    check(inside(json!(3)), &["#/properties/a/items", "a number"]);
    check(json!({"properties": []}), &["#/properties", "an array"]);
    check(json!(false), &["nothing matches"]);
    check(json!({"oneOf": [{"type": "object"}, {"type": "object", "properties": {"a": {}}}]}), &["oneOf"]);
}

/// The key that steers llguidance from inside a schema is the server's alone.
#[test]
fn a_schema_cannot_choose_its_white_space() {
    let schema =
        json!({"type": "array", "items": {"type": "null"}, "x-guidance": {"whitespace_flexible": true}});
    assert!(takes(&schema, Fidelity::Strict, "[null,null]"));
    assert!(!takes(&schema, Fidelity::Strict, "[null, null]"));
}
