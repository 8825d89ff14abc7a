//! The cost of constraints on the published vocabulary: the time to build the table, to compile a typical
//! schema, and per mask.
//!
//! `cargo run --release -p gptoss-constrain --example mask_time`

use std::{sync::Arc, time::Instant};

use gptoss_constrain::{
    Body, Compiled, Constraint, Fidelity, Function, Limits, Spec, TokenTable, ToolChoice, compile,
};
use gptoss_harmony::{Control, Vocab};
use serde_json::json;

/// What a client of an order desk would send.
fn typical() -> serde_json::Value {
    json!({
        "type": "object",
        "properties": {
            "customer": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "email": {"type": "string", "format": "email"},
                    "country": {"type": "string", "pattern": "^[A-Z]{2}$"}
                },
                "required": ["name", "email", "country"],
                "additionalProperties": false
            },
            "priority": {"enum": ["low", "normal", "high"]},
            "items": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "sku": {"type": "string"},
                        "quantity": {"type": "integer", "minimum": 1, "maximum": 999},
                        "price": {"type": "number"},
                        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]}
                    },
                    "required": ["sku", "quantity", "price", "note"],
                    "additionalProperties": false
                }
            },
            "comment": {"type": "string"}
        },
        "required": ["customer", "priority", "items", "comment"],
        "additionalProperties": false
    })
}

const TEXT: &str = r#"{"customer":{"name":"Ada Größe-Lovelace","email":"ada@example.com","country":"GB"},"priority":"high","items":[{"sku":"AN-1842","quantity":12,"price":1999.95,"note":null},{"sku":"AN-1843","quantity":1,"price":0.5,"note":"Please wrap it in paper, not plastic; the last one arrived with a crack along the third gear wheel."}],"comment":"Deliver before noon. The engine must not be turned upside down, and the cards are to be kept dry at all times."}"#;

fn main() {
    let vocab = Vocab::o200k_harmony();
    let started = Instant::now();
    let table = TokenTable::new(Arc::clone(&vocab)).expect("it has all bytes");
    println!("table of {} tokens: {:.0} ms", vocab.len(), started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    compile(&table, Spec::default(), &Limits::default()).expect("no grammar");
    println!("headers alone compiled: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    compile(&table, Spec { answer: Body::JsonObject, ..Spec::default() }, &Limits::default())
        .expect("a good grammar");
    println!("first grammar compiled, with the trie: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let answer = Body::JsonSchema { schema: typical(), fidelity: Fidelity::Strict };
    let started = Instant::now();
    let compiled =
        compile(&table, Spec { answer, ..Spec::default() }, &Limits::default()).expect("a good schema");
    println!("typical schema compiled: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let functions = (0..64).map(|i| Function {
        name: format!("function_{i}"),
        arguments: Body::JsonSchema { schema: typical(), fidelity: Fidelity::Strict },
    });
    let spec = Spec { functions: functions.collect(), tool_choice: ToolChoice::Required, ..Spec::default() };
    let started = Instant::now();
    compile(&table, spec, &Limits::default()).expect("good schemas");
    println!("64 functions of that schema compiled: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    for run in ["first", "second", "third"] {
        measure(run, &compiled, &vocab);
    }
}

fn measure(run: &str, compiled: &Arc<Compiled>, vocab: &Vocab) {
    let thought = "The user wants an order, so I fill in the form. ".repeat(8);
    let control = |control| vec![vocab.control(control)];
    let turn = [
        control(Control::Channel),
        vocab.encode_ids("analysis"),
        control(Control::Message),
        vocab.encode_ids(&thought),
        control(Control::End),
        control(Control::Start),
        vocab.encode_ids("assistant"),
        control(Control::Channel),
        vocab.encode_ids("final"),
        control(Control::Message),
        vocab.encode_ids(TEXT),
        control(Control::Return),
    ];
    let mut constraint = Constraint::new(compiled);
    let (mut free, mut held, mut commits, mut forced) = (Vec::new(), Vec::new(), 0.0, 0);
    for token in turn.concat() {
        let is_in_grammar = constraint.is_in_grammar();
        let started = Instant::now();
        constraint.allowed().expect("no limit");
        let mask = started.elapsed().as_secs_f64() * 1e6;
        forced += usize::from(is_in_grammar && !constraint.forced(1).is_empty());
        let started = Instant::now();
        constraint.commit(token).expect("the turn is allowed");
        commits += started.elapsed().as_secs_f64() * 1e6;
        if is_in_grammar { &mut held } else { &mut free }.push(mask);
    }
    held.sort_by(f64::total_cmp);
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
    println!(
        "{run} run: {} tokens outside of the grammar at {:.1} us a mask; {} inside ({forced} forced): mean {:.0} us, median {:.0} us, \
         p99 {:.0} us, worst {:.0} us; commit {:.1} us",
        free.len(),
        mean(&free),
        held.len(),
        mean(&held),
        held[held.len() / 2],
        held[held.len() * 99 / 100],
        held[held.len() - 1],
        commits / (free.len() + held.len()) as f64,
    );
}
