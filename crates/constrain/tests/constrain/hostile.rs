//! Schemas and grammars that would cost too much meet a limit.
//!
//! Each of them is either refused by the compiler or, when it is accepted, draws tokens until the end, a
//! limit of one mask, or enough. What must not happen: a crash, a hang, or an error of another kind.
//! Afterwards the same table serves an ordinary schema.

use std::time::{Duration, Instant};

use gptoss_constrain::{Body, Constraint, Error, Limits, Reasoning, Spec, compile};
use serde_json::json;

use crate::draw::{Random, compiled, limits, pick, table};
use crate::hostile_cases::{hostile, lark_chain, reference_chain, schema};

fn spec(answer: Body) -> Spec {
    Spec { answer, reasoning: Reasoning { budget: Some(0), preambles: false }, ..Spec::default() }
}

/// Draws tokens until the end or enough; what stopped it.
fn draw(body: Body, seed: u64) -> Result<usize, Error> {
    let compiled = compiled(spec(body))?;
    let mut constraint = Constraint::new(&compiled);
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
    check("many names", "the number of properties is 5000, at most 1024 properties of one object");
    check("large step", "the least common multiple of the steps is 999983, at most 10000 states");
    check("two steps", "the least common multiple of the steps is 999900, at most 10000 states");
    check("chain of rules", "the number of its definitions is 14002, at most 2000 rules and terminals");
    check("chain of terminals", "the number of its definitions is 14002, at most 2000 rules and terminals");
    check("brackets in a chain", "its depth, all rules and brackets together, is 29972, at most 3000 levels");
    check("templates", "its depth, all rules and brackets together, is 100001, at most 3000 levels");
    check(
        "chain of references",
        "its depth, all definitions that it refers to together, is 19004, at most 2000 levels",
    );
    check("lark json", "%json");
    check("deep brackets", "nested parentheses");
    check("lark options", "%llguidance");
    check("lark no start", "start");
}

/// A chain of rules, terminals or references ended the process: the compiler recurses, and no stack is large
/// enough for any chain. What the bounds let through must compile, and give its first masks, with room to
/// spare on a thread of the engine's.
#[test]
fn the_deepest_that_is_accepted_compiles() {
    // Half of the levels are brackets, which recurse too.
    let bodies = [
        lark_chain("r", 1_499, ("(", ")")),
        lark_chain("R", 1_499, ("(", ")")),
        lark_chain("r", 1_998, ("", "")),
        lark_chain("R", 1_998, ("", "")),
        lark_chain("R", 1_498, ("~(", ")")),
        reference_chain(1_900, "$ref"),
        reference_chain(900, "allOf"),
        reference_chain(900, "properties"),
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let limits = Limits { compile_time_max: Duration::from_secs(120), ..limits() };
        let outcome = compile(table(), spec(body), &limits);
        let message = outcome.as_ref().map_or_else(ToString::to_string, |_| String::new());
        println!("{number}: {message}");
        assert!(!message.contains("at most"), "{number}: {message}");
        let Ok(compiled) = outcome else { continue };
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let walk = move || {
            let mut constraint = Constraint::new(&compiled);
            let mut random = Random::new(number as u64);
            while !constraint.is_over() && constraint.num_committed() < 20 {
                let Ok(mask) = constraint.allowed().map(<[u32]>::to_vec) else { return };
                constraint.commit(pick(&mut random, table().vocab(), &mask, 20)).expect("allowed");
            }
        };
        thread.spawn(walk).expect("a thread").join().expect("does not panic");
    }
}

/// A compilation that was given up goes on without anybody waiting for it, so it must end by its other
/// limits.
#[test]
#[ignore = "half a minute; .ci/run runs it"]
fn given_up_compilations_end() {
    let limits = Limits { compile_time_max: Duration::from_secs(120), ..limits() };
    for (name, body) in hostile() {
        let started = Instant::now();
        let outcome = compile(table(), spec(body), &limits).map(|_| ());
        println!("{name}: {} ms", started.elapsed().as_millis());
        assert!(!matches!(outcome, Err(Error::TooSlow { .. } | Error::Crashed)), "{name}: {outcome:?}");
    }
}

/// The time of the processor is the last limit, and the next compilation is not hindered. Whoever would have
/// to wait too long on the wall is told to come again, not to simplify its schema.
#[test]
fn time_is_a_limit() {
    let hurried = Limits { compile_wait_max: Duration::ZERO, ..limits() };
    let busy = compile(table(), spec(Body::JsonObject), &hurried).map(|_| ());
    // It may be done before anybody looked.
    assert!(matches!(busy, Err(Error::Busy { .. }) | Ok(())), "{busy:?}");
    let limits = Limits { compile_time_max: Duration::ZERO, ..limits() };
    let slow = compile(table(), spec(Body::JsonObject), &limits).map(|_| ());
    assert_eq!(slow, Err(Error::TooSlow { limit_ms: 0 }));
    compiled(spec(Body::JsonObject)).expect("in time");
}
