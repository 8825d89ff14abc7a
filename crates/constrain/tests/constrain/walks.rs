//! Every turn that the masks allow is well-formed.

use std::{collections::BTreeMap, sync::Arc};

use gptoss_constrain::{
    Body, Builtin, Compiled, Constraint, Function, Reasoning, Spec, TokenTable, ToolChoice, compile,
};
use gptoss_harmony::{Control, Message, ParseEvent, StreamParser, Vocab};
use serde_json::json;

use crate::draw::{Random, ids, limits, pick, table};

/// Longest walk, in tokens.
const STEPS_MAX: usize = 300;

fn functions() -> Vec<Function> {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "yy"]}}, "required": ["a"]});
    let strict = Body::JsonSchema { schema, fidelity: Default::default() };
    let function = |name: &str, arguments: Body| Function { name: name.into(), arguments };
    vec![
        function("add", Body::JsonObject),
        function("add_two", strict),
        function("shell", Body::Free),
        function("dial", Body::Regex(r"\+[0-9]{2,6}".into())),
        function("größe-1.x", Body::Free),
    ]
}

/// Specs of every kind, each with what its calls may be named.
fn specs() -> Vec<Spec> {
    let builtins = || {
        let builtin = |recipient: &str| Builtin { recipient: recipient.into(), arguments: Body::Free };
        vec![builtin("python"), builtin("browser.search")]
    };
    let budgets = [None, Some(0), Some(7), Some(40)];
    let choices = [
        ToolChoice::Auto,
        ToolChoice::None,
        ToolChoice::Required,
        ToolChoice::Named("add_two".into()),
        ToolChoice::Named("shell".into()),
        ToolChoice::Named("python".into()),
    ];
    let answers = [
        Body::Free,
        Body::JsonObject,
        Body::Regex("(yes|no), [a-z]{1,9}".into()),
        Body::Lark("start: \"<\" WORD (\" \" WORD)* \">\"\nWORD: /[a-zß]+/".into()),
    ];
    let mut specs = vec![Spec::default()];
    for (index, tool_choice) in choices.iter().cycle().take(24).enumerate() {
        specs.push(Spec {
            functions: functions(),
            builtins: builtins(),
            tool_choice: tool_choice.clone(),
            answer: answers[index % 4].clone(),
            reasoning: Reasoning { budget: budgets[(index / 3) % 4], preambles: index % 5 != 0 },
        });
    }
    specs
}

struct Walk {
    tokens: Vec<u32>,
    is_over: bool,
}

/// Draws a turn, taking tokens back now and then.
fn walk(compiled: &Arc<Compiled>, vocab: &Vocab, random: &mut Random) -> Walk {
    let mut constraint = Constraint::new(compiled);
    let mut tokens = Vec::new();
    let percent = *random.choose(&[0, 10, 40]);
    while !constraint.is_over() && tokens.len() < STEPS_MAX {
        let mask = constraint.allowed().expect("no limit is met").to_vec();
        let token = pick(random, vocab, &mask, percent);
        constraint.commit(token).expect("it was allowed");
        tokens.push(token);
        if random.chance(3) {
            let back = random.below(tokens.len().min(9)) + 1;
            let again = tokens[tokens.len() - back..].to_vec();
            constraint.rollback(back).expect("there are so many");
            for token in again {
                let mask = constraint.allowed().expect("no limit is met");
                assert!(gptoss_constrain::is_allowed(mask, token), "a token taken back is allowed again");
                constraint.commit(token).expect("it was allowed before");
            }
        }
    }
    if constraint.is_over() {
        assert!(ids(constraint.allowed().expect("nothing to compute")).is_empty());
    }
    Walk { tokens, is_over: constraint.is_over() }
}

/// Reads a walk back; returns its messages.
fn read(vocab: &Arc<Vocab>, walk: &Walk, names: &[String]) -> Vec<Message> {
    let mut parser = StreamParser::completion(Arc::clone(vocab)).with_functions(names.to_vec());
    for &token in &walk.tokens {
        for event in parser.push(token) {
            assert!(!matches!(event, ParseEvent::Warning(_)), "{event:?} in {}", spelled(vocab, walk));
        }
    }
    let (_, parsed) = parser.finish();
    if walk.is_over {
        assert_eq!(parsed.warnings, [], "{}", spelled(vocab, walk));
    }
    parsed.messages
}

fn spelled(vocab: &Vocab, walk: &Walk) -> String {
    String::from_utf8_lossy(&vocab.decode(&walk.tokens).expect("all ids mean something")).into_owned()
}

fn check(spec: &Spec, vocab: &Vocab, walk: &Walk, messages: &[Message]) {
    let text = vocab.decode(&walk.tokens).expect("all ids mean something");
    let text = String::from_utf8(text).expect("a whole turn is UTF-8");
    let (last, earlier) = messages.split_last().expect("a whole turn has a message");
    assert!(earlier.iter().all(|message| message.recipient.is_none()), "{text}");
    assert!(earlier.iter().all(|message| message.channel.as_deref() != Some("final")), "{text}");
    assert!(
        spec.reasoning.preambles || !earlier.iter().any(|m| m.channel.as_deref() == Some("commentary")),
        "{text}"
    );
    let name = last.recipient.as_deref().map(|to| to.strip_prefix("functions.").unwrap_or(to));
    let may_be = match (&spec.tool_choice, name) {
        (ToolChoice::Auto, _) => true,
        (ToolChoice::None, name) => name.is_none(),
        (ToolChoice::Required, name) => name.is_some(),
        (ToolChoice::Named(named), name) => name == Some(named),
    };
    assert!(may_be, "{:?}: {text}", spec.tool_choice);
    let end = if name.is_some() { Control::Call } else { Control::Return };
    assert_eq!(walk.tokens.last(), Some(&vocab.control(end)), "{text}");
    let reasoning: usize =
        earlier.iter().filter(|m| m.channel.as_deref() == Some("analysis")).map(|m| m.text().len()).sum();
    if let Some(budget) = spec.reasoning.budget {
        // Tokens of these vocabularies have at most 128 bytes, and a character that is open at the end may
        // take three more.
        assert!(reasoning <= (budget as usize + 3) * 128, "{reasoning} bytes of reasoning: {text}");
        assert!(budget > 0 || !text.contains("<|channel|>analysis<|message|>"), "{text}");
    }
    match (name, &spec.answer) {
        (None, Body::JsonObject) | (Some("add" | "add_two"), _) => {
            let parsed = serde_json::from_str::<serde_json::Value>(&last.text());
            let fine = parsed
                .as_ref()
                .map_or_else(|error| error.to_string().contains("out of range"), |v| v.is_object());
            assert!(fine, "{parsed:?}: {text}");
        }
        _ => {}
    }
}

fn walks(table: &Arc<TokenTable>, num_walks: usize, specs: Vec<Spec>) {
    let vocab = table.vocab();
    let names: Vec<String> = functions().into_iter().map(|function| function.name).collect();
    let compiled: Vec<(Spec, Arc<Compiled>)> = specs
        .into_iter()
        .map(|spec| (spec.clone(), compile(table, spec, &limits()).expect("a good spec")))
        .collect();
    let mut seen = BTreeMap::<String, usize>::new();
    let mut num_over = 0;
    for seed in 0..num_walks {
        let mut random = Random::new(seed as u64);
        let (spec, compiled) = &compiled[seed % compiled.len()];
        let walk = walk(compiled, vocab, &mut random);
        let messages = read(vocab, &walk, &names);
        if walk.is_over {
            num_over += 1;
            check(spec, vocab, &walk, &messages);
            for message in messages {
                let kind =
                    format!("{:?} {:?} {:?}", message.channel, message.recipient, message.content_type);
                *seen.entry(kind).or_default() += 1;
            }
        }
    }
    println!("{num_over} of {num_walks} walks came to their end: {seen:#?}");
    assert!(num_over * 4 > num_walks, "{num_over} of {num_walks}");
    if num_walks >= 500 {
        for part in [
            "python",
            "browser.search",
            "functions.add\"",
            "functions.größe-1.x",
            "final",
            "constrained: true",
        ] {
            assert!(seen.keys().any(|kind| kind.contains(part)), "{part} never occurred");
        }
    }
}

#[test]
fn walks_are_well_formed() {
    walks(table(), 600, specs());
}

#[test]
#[ignore = "a minute; .ci/run runs it"]
fn ten_thousand_walks_are_well_formed() {
    walks(table(), 10_000, specs());
}

#[test]
#[ignore = "builds the table of the published vocabulary; .ci/run runs it"]
fn walks_of_the_published_vocabulary_are_well_formed() {
    let table = TokenTable::new(Vocab::o200k_harmony()).expect("it has all bytes");
    walks(&table, 300, specs().into_iter().take(13).collect());
}
