//! Whatever is drawn, a turn within bounds comes to its answer or call, as far as its grammar can be closed.

use gptoss_constrain::{Body, Bounds, Constraint, Cut, Function, Reasoning, Spec, ToolChoice, limits};
use gptoss_harmony::{Control, StreamParser};
use serde_json::{Value, json};

use crate::{
    draw::{Random, compiled, pick, table},
    hostile_cases::hostile,
    random_schema::random_schema,
};

/// What a walk of the bounds came to: its text, if it is over, and what was cut.
struct Walk {
    text: Option<String>,
    reasoning_tokens: usize,
    cut: Option<Cut>,
}

/// Draws tokens until the end of the bounds; nothing is drawn because it ends something.
fn walk(spec: Spec, bounds: Bounds, seed: u64) -> Walk {
    let vocab = table().vocab();
    let mut constraint = Constraint::within(&compiled(spec).expect("a good spec"), bounds);
    let mut parser = StreamParser::completion(vocab.clone());
    let mut random = Random::new(seed);
    let end = vocab.control(Control::End);
    let mut reasoning_tokens = 0;
    while !constraint.is_over() && constraint.num_committed() < bounds.tokens_max.unwrap_or(2_000) {
        if seed.is_multiple_of(3) {
            // Looking ahead changes nothing.
            constraint.forced(random.below(40));
        }
        let mask = constraint.allowed().expect("no limit is met").to_vec();
        let token = pick(&mut random, vocab, &mask, 0);
        constraint.commit(token).expect("allowed");
        parser.push(token);
        if token == end {
            reasoning_tokens = constraint.num_committed();
        }
    }
    let is_over = constraint.is_over();
    let (_, parsed) = parser.finish();
    let text = is_over.then(|| parsed.messages.last().expect("a message").text());
    Walk { text, reasoning_tokens, cut: constraint.cut() }
}

fn bounds(tokens_max: usize) -> Bounds {
    Bounds { tokens_max: Some(tokens_max), breaks_loops: true, ..Bounds::default() }
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 3},
            "kind": {"enum": ["first", "second"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "at": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}, "required": ["x", "y"]}
        },
        "required": ["name", "kind", "tags"],
        "additionalProperties": false
    })
}

/// An even draw hardly ever ends a string, an array or a number: nearly every text was cut by its length.
#[test]
fn owed_bodies_are_closed_in_time() {
    let body = || Body::JsonSchema { schema: schema(), fidelity: Default::default() };
    let function = || Function { name: "add".into(), arguments: body() };
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let check = |spec: &Spec, max: usize, seed: u64| {
        let walk = walk(spec.clone(), bounds(max), seed);
        let text = walk.text.unwrap_or_else(|| panic!("seed {seed}: nothing whole in {max} tokens"));
        let value: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{seed}: {error}: {text}"));
        assert!(validator.is_valid(&value), "{seed}: {text}");
        assert!(walk.cut == Some(Cut::Closed) || text.len() < 2_000, "{seed}: {text}");
    };
    for seed in 0..60 {
        let max = 110 + 7 * seed as usize;
        check(&Spec { answer: body(), tool_choice: ToolChoice::None, ..Spec::default() }, max, seed);
        let tool_choice = ToolChoice::Named("add".into());
        check(&Spec { functions: vec![function()], tool_choice, ..Spec::default() }, max, seed);
    }
}

/// Schemas that nobody thought of: most can be closed, and what is over is JSON.
#[test]
fn random_schemas_are_closed_in_time() {
    let mut num_whole = 0;
    for seed in 0..100 {
        let schema = random_schema(&mut Random::new(seed));
        let answer = Body::JsonSchema { schema: schema.clone(), fidelity: Default::default() };
        let reasoning = Reasoning { budget: Some(0), preambles: false };
        let walk = walk(Spec { answer, reasoning, ..Spec::default() }, bounds(200), seed);
        let Some(text) = walk.text else { continue };
        num_whole += 1;
        let value = serde_json::from_str::<Value>(&text);
        let is_large = value.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        assert!(is_large || value.is_ok(), "{seed}: {text}");
    }
    println!("{num_whole} of 100 texts were whole");
    assert!(num_whole >= 95, "{num_whole}");
}

/// A form of 24 fields, whose shortest text has more tokens than a way out had: it was not closed, and went
/// on to the end of the context where the client gave no limit.
#[test]
fn long_forms_are_closed_in_time() {
    let names: Vec<String> = (1..=24).map(|number| format!("field_number_{number}")).collect();
    let fields: serde_json::Map<String, Value> =
        names.iter().map(|name| (name.clone(), json!({"type": "string"}))).collect();
    let schema =
        json!({"type": "object", "properties": fields, "required": names, "additionalProperties": false});
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let answer = Body::JsonSchema { schema, fidelity: Default::default() };
    let spec = Spec { answer, tool_choice: ToolChoice::None, ..Spec::default() };
    for seed in 0..12 {
        let max = 400 + 50 * seed as usize;
        let walk = walk(spec.clone(), bounds(max), seed);
        let text = walk.text.unwrap_or_else(|| panic!("seed {seed}: nothing whole in {max} tokens"));
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert!(validator.is_valid(&value) && walk.cut == Some(Cut::Closed), "{seed}: {text}");
    }
}

/// Looking for the way out was done before each of the last tokens and counted nowhere: a grammar with dear
/// masks got a hundred times as much work as its masks were allowed. Looking ends where the masks' work does,
/// and they may go on to it.
#[test]
fn looking_for_the_way_out_is_work_too() {
    let step_max = 2 * (limits::MASK_FUEL_MAX + limits::MASK_ITEMS_MAX as u64);
    // Those that are accepted and whose masks cost the most.
    const DEAR: [&str; 5] = ["doubling properties", "long string", "long array", "distance", "unicode"];
    for (name, body) in hostile().into_iter().filter(|(name, _)| DEAR.contains(name)) {
        let reasoning = Reasoning { budget: Some(0), preambles: false };
        let spec = Spec { answer: body, reasoning, tool_choice: ToolChoice::None, ..Spec::default() };
        let compiled = compiled(spec).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut constraint = Constraint::within(&compiled, bounds(80));
        let mut random = Random::new(1);
        let mut work_max = 0;
        while !constraint.is_over() && constraint.num_committed() < 80 {
            let Ok(mask) = constraint.allowed().map(<[u32]>::to_vec) else { break };
            work_max = work_max.max(constraint.work());
            constraint.commit(pick(&mut random, table().vocab(), &mask, 0)).expect("allowed");
        }
        println!("{name}: {work_max} after {} tokens", constraint.num_committed());
        let allowed = limits::MASK_WORK_BURST + limits::MASK_WORK_PER_TOKEN * 80;
        assert!(work_max <= 2 * allowed + step_max, "{name}: {work_max} of {allowed}");
    }
}

/// What clients send costs little of it: nothing is looked for anew inside a string or along the way.
#[test]
fn looking_in_what_clients_send_costs_little() {
    let answer = Body::JsonSchema { schema: schema(), fidelity: Default::default() };
    let reasoning = Reasoning { budget: Some(0), preambles: false };
    let spec = Spec { answer, reasoning, tool_choice: ToolChoice::None, ..Spec::default() };
    let compiled = compiled(spec).expect("a good spec");
    for seed in 0..10 {
        let mut random = Random::new(seed);
        let (mut near, mut far) = (Constraint::within(&compiled, bounds(300)), Constraint::new(&compiled));
        while near.num_committed() < 200 && !near.is_over() {
            let mask = near.allowed().expect("no limit is met").to_vec();
            far.allowed().expect("no limit is met");
            let token = pick(&mut random, table().vocab(), &mask, 5);
            near.commit(token).expect("allowed");
            far.commit(token).expect("allowed");
        }
        let (masks, all) = (far.work(), near.work());
        println!("{seed}: masks {masks}, with looking {all}");
        assert!(all <= limits::MASK_WORK_BURST / 4, "{seed}: {all}");
    }
}

#[test]
fn free_answers_get_the_room_that_is_kept_for_them() {
    for seed in 0..40 {
        let max = 80 + 20 * seed as usize;
        let drawn = walk(Spec::default(), bounds(max), seed);
        // An even draw does not end its reasoning either.
        assert!(max - drawn.reasoning_tokens >= max / 4, "{seed}: {} of {max}", drawn.reasoning_tokens);
        let asked = Bounds { answer_tokens: Some(50), ..bounds(max) };
        let drawn = walk(Spec::default(), asked, seed);
        assert!(max - drawn.reasoning_tokens >= 50, "{seed}: {} of {max}", drawn.reasoning_tokens);
        let budget = Bounds { reasoning_budget: Some(9), breaks_loops: true, ..Bounds::default() };
        assert!(walk(Spec::default(), budget, seed).reasoning_tokens < 30, "{seed}");
    }
}
