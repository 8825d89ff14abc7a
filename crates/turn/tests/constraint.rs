//! Sampled turns under constraints, over real engines: the demo model at temperature 1, and random weights
//! with control tokens made likely.
//!
//! Every turn must come through harmony's parser without a warning, end as its tool choice says, and hold to
//! its schema; a turn that is cut by its length may be cut anywhere. Many turns run at once, as in a server.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_constrain::{Body, Fidelity, Limits, Reasoning, ToolChoice};
use gptoss_engine::{Engine, EngineOptions, SamplingParams, Speculation, channel};
use gptoss_harmony::{
    Control, Conversation, DeveloperContent, FunctionTool, Message, MultiDigit, SystemContent, ToolNamespace,
    Vocab,
};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};
use gptoss_turn::{
    Assistant, Delta, FunctionRule, Outcome, OutputRules, TokenTable, Turn, TurnConstraint, TurnEnd,
    TurnEvent, TurnOptions, TurnRules,
};
use serde_json::{Value, json};

/// Turns that run at once.
const AT_ONCE: usize = 24;
/// Longest turn, in tokens.
const TOKENS_MAX: usize = 90;

struct Fixture {
    assistant: Assistant,
    /// Added to the logits of control tokens.
    control_bias: f32,
}

fn demo() -> Fixture {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model");
    let checkpoint = Checkpoint::open(&folder).expect("opens");
    let file = std::fs::read(folder.join("tokenizer.json")).expect("reads");
    let vocab = Arc::new(Vocab::from_tokenizer_json(&file).expect("a tokenizer"));
    Fixture { assistant: assistant(&checkpoint, vocab), control_bias: 0.0 }
}

fn random(seed: u64) -> Fixture {
    let checkpoint = Checkpoint::synthetic(Preset::Tiny, seed, None).expect("a preset");
    let vocab = Arc::new(Vocab::truncated(503, MultiDigit::Keep));
    Fixture { assistant: assistant(&checkpoint, vocab), control_bias: 3.0 }
}

fn assistant(checkpoint: &Checkpoint, vocab: Arc<Vocab>) -> Assistant {
    let model = Model::load(checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| ()).expect("loads");
    let (engine, _thread) = Engine::new(Arc::new(model), 1024).spawn().expect("a thread");
    Assistant::new(engine, TokenTable::new(vocab).expect("a table")).expect("its vocabulary")
}

/// One function whose schema asks for something, one free.
fn conversation(question: &str) -> Conversation {
    let parameters = json!({
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": -99, "maximum": 99}, "unit": {"enum": ["m", "km"]}},
        "required": ["a", "unit"],
        "additionalProperties": false
    });
    let tool =
        |name: &str, parameters| FunctionTool { name: name.into(), description: "Works.".into(), parameters };
    let tools = vec![tool("measure", Some(parameters)), tool("ping", None), tool("say", None)];
    let system = SystemContent::default().with_tools(ToolNamespace::python());
    let developer = DeveloperContent::default().with_function_tools(tools);
    Conversation::from_messages([
        Message::system(system),
        Message::developer(developer),
        Message::user(question),
    ])
}

fn answer_schema() -> Value {
    json!({
        "type": "object",
        "properties": {"answer": {"type": "string", "maxLength": 12}, "sure": {"type": "boolean"}},
        "required": ["answer", "sure"],
        "additionalProperties": false
    })
}

fn rules() -> Vec<TurnRules> {
    let functions =
        [("measure".to_owned(), FunctionRule::Strict), ("say".to_owned(), FunctionRule::Custom(Body::Free))]
            .into();
    let base = TurnRules { functions, ..TurnRules::default() };
    let reasoning = |budget| Reasoning { budget: Some(budget), preambles: false };
    vec![
        TurnRules::default(),
        base.clone(),
        TurnRules { tool_choice: ToolChoice::Required, reasoning: reasoning(8), ..base.clone() },
        TurnRules {
            tool_choice: ToolChoice::Named("measure".into()),
            reasoning: reasoning(0),
            ..base.clone()
        },
        TurnRules {
            tool_choice: ToolChoice::None,
            answer: Body::JsonSchema { schema: answer_schema(), fidelity: Fidelity::Strict },
            reasoning: reasoning(12),
            ..base.clone()
        },
        TurnRules {
            answer: Body::Regex("(yes|no|perhaps)[.!]".into()),
            tool_choice: ToolChoice::None,
            ..base
        },
    ]
}

fn check(rules: &TurnRules, outcome: &Outcome, seed: u64) -> bool {
    let is_told = |warning: &&String| {
        let limit = ["cut short", "is missing", "is not whole"].iter().any(|words| warning.contains(words));
        limit || outcome.cuts.iter().any(|cut| cut.to_string() == **warning)
    };
    let others = outcome.warnings.iter().filter(|warning| !is_told(warning)).count();
    assert_eq!(others, 0, "{seed}: {outcome:?}");
    if matches!(outcome.end, TurnEnd::Length | TurnEnd::Context) {
        return false;
    }
    assert!(matches!(outcome.end, TurnEnd::Answer | TurnEnd::Call), "{seed}: {outcome:?}");
    let called = outcome.calls.first().map(|call| call.name.as_str());
    match &rules.tool_choice {
        ToolChoice::Auto => {}
        ToolChoice::None => assert_eq!(called, None, "{seed}"),
        ToolChoice::Required => assert!(called.is_some(), "{seed}"),
        ToolChoice::Named(name) => assert_eq!(called, Some(name.as_str()), "{seed}"),
    }
    for call in outcome.calls.iter().filter(|call| call.name == "measure") {
        let arguments: Value = serde_json::from_str(&call.arguments).expect("JSON");
        assert!(arguments.is_object(), "{seed}: {arguments}");
        if rules.functions.contains_key("measure") {
            // JSON Schema counts `-0.0` as an integer.
            assert!(
                arguments["a"].as_f64().is_some_and(|a| a.fract() == 0.0 && a.abs() <= 99.0),
                "{seed}: {arguments}"
            );
            assert!(arguments["unit"] == "m" || arguments["unit"] == "km", "{seed}: {arguments}");
        }
    }
    if let (Body::JsonSchema { .. }, Some(answer)) = (&rules.answer, outcome.answer()) {
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert!(answer["answer"].is_string() && answer["sure"].is_boolean(), "{seed}: {answer}");
    }
    if let (Body::Regex(_), Some(answer)) = (&rules.answer, outcome.answer()) {
        assert!(["yes", "no", "perhaps"].contains(&answer.trim_end_matches(['.', '!'])), "{seed}: {answer}");
    }
    true
}

fn outcome_of(mut turn: Turn) -> Outcome {
    loop {
        match turn.next_event() {
            Some(TurnEvent::Finished(outcome)) => return outcome,
            Some(TurnEvent::Failed(failure)) => panic!("{failure:?}"),
            Some(_) => {}
            None => panic!("a turn without an end"),
        }
    }
}

/// What a turn said, to the bit, and the steps of its engine.
fn told(
    model: &Arc<Model>,
    table: &Arc<TokenTable>,
    forced_drafts: bool,
    rules: &OutputRules,
) -> (Vec<(Vec<u8>, u64)>, u64) {
    let options = EngineOptions { forced_drafts, speculation: Speculation::Off, ..EngineOptions::new(1024) };
    let mut engine = Engine::with_options(Arc::clone(model), options).expect("fits");
    let (handle, mut inbox) = channel(engine.limits());
    let mut told = Vec::new();
    for seed in 0..4 {
        let sampling = SamplingParams { seed, ..SamplingParams::default() };
        let options = TurnOptions {
            sampling,
            max_new_tokens: Some(TOKENS_MAX),
            rules: rules.clone(),
            logprobs: Some(1),
            ..TurnOptions::default()
        };
        let assistant = Assistant::new(handle.clone(), Arc::clone(table)).expect("its vocabulary");
        let mut turn = assistant.start_turn(&conversation("How far is it?"), &options).expect("accepted");
        engine.accept(inbox.try_recv().expect("was submitted"));
        while engine.step() {}
        while let Some(event) = turn.next_event() {
            match event {
                TurnEvent::Delta(Delta::Text { logprobs, .. } | Delta::CallArguments { logprobs, .. }) => {
                    told.extend(logprobs.into_iter().map(|token| (token.bytes, token.logprob.to_bits())));
                }
                TurnEvent::Finished(outcome) => {
                    told.push((Vec::new(), outcome.usage.engine.completion_tokens as u64));
                }
                TurnEvent::Failed(failure) => panic!("{failure}"),
                _ => {}
            }
        }
    }
    (told, engine.stats().steps)
}

/// Headers, keys and punctuation took a step of the model each, though the constraint leaves no choice about
/// them.
#[test]
fn what_is_forced_takes_no_step_and_changes_no_bit() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model");
    let checkpoint = Checkpoint::open(&folder).expect("opens");
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| ()).expect("loads");
    let model = Arc::new(model);
    let table = TokenTable::new(Arc::clone(demo().assistant.vocab())).expect("a table");
    for (number, rules) in rules().iter().enumerate() {
        let compiled = TurnConstraint::compile(&table, &conversation("?"), rules, &Limits::default())
            .expect("good rules");
        let rules = OutputRules::Compiled(compiled);
        let (expected, plain) = told(&model, &table, false, &rules);
        let (found, steps) = told(&model, &table, true, &rules);
        println!("rules {number}: {plain} steps, {steps} with forced drafts");
        assert_eq!(found, expected, "rules {number}");
        assert!(steps < plain, "rules {number}: {steps} of {plain}");
    }
}

fn turns(fixture: &Fixture, count: u64) {
    const QUESTIONS: [&str; 4] =
        ["What is 27 + 58?", "Who are you?", "How far is it?", "Count from 8 to 15."];
    let bias = Control::ALL.map(|control| (fixture.assistant.vocab().control(control), fixture.control_bias));
    let rules = rules();
    let compiled: Vec<TurnConstraint> = rules
        .iter()
        .map(|rules| {
            fixture.assistant.compile(&conversation("?"), rules, &Limits::default()).expect("good rules")
        })
        .collect();
    let mut running = VecDeque::new();
    let mut num_whole = 0;
    for seed in 0..count + AT_ONCE as u64 {
        if seed < count {
            let which = seed as usize % rules.len();
            let rules = match which {
                0 => OutputRules::Harmony,
                _ => OutputRules::Compiled(compiled[which].clone()),
            };
            let sampling = SamplingParams { seed, logit_bias: bias.to_vec(), ..SamplingParams::default() };
            let options =
                TurnOptions { sampling, max_new_tokens: Some(TOKENS_MAX), rules, ..TurnOptions::default() };
            let talk = conversation(QUESTIONS[(seed / 7) as usize % QUESTIONS.len()]);
            let turn = fixture.assistant.start_turn(&talk, &options).expect("accepted");
            running.push_back((seed, which, turn));
        }
        if running.len() > AT_ONCE || seed >= count {
            let Some((seed, which, turn)) = running.pop_front() else { continue };
            num_whole += u64::from(check(&rules[which], &outcome_of(turn), seed));
        }
    }
    println!("{num_whole} of {count} turns were whole, the others cut by their length");
    assert!(num_whole * 3 > count, "{num_whole} of {count}");
}

#[test]
fn turns_of_the_demo_model_are_well_formed() {
    turns(&demo(), 120);
}

#[test]
fn turns_of_random_weights_are_well_formed() {
    turns(&random(1), 180);
}

#[test]
#[ignore = "minutes, by hand"]
fn ten_thousand_turns_are_well_formed() {
    turns(&demo(), 8_000);
    (1..=4).for_each(|seed| turns(&random(seed), 500));
}

#[test]
fn refused_rules_name_the_place() {
    let vocab = Arc::new(Vocab::truncated(503, MultiDigit::Keep));
    let rules = TurnRules {
        answer: Body::JsonSchema { schema: json!({"items": {"not": {}}}), fidelity: Fidelity::Strict },
        ..TurnRules::default()
    };
    let refused = TurnConstraint::compile(
        &TokenTable::new(vocab).expect("a table"),
        &conversation("?"),
        &rules,
        &Limits::default(),
    );
    let message = refused.expect_err("not").to_string();
    assert!(message.contains("the answer's format at #/items") && message.contains("\"not\""), "{message}");
}

/// A turn that would be over goes on to its length, and one that has nothing else to say ends all the same.
#[test]
fn a_turn_ends_no_sooner_than_it_may() {
    let fixture = demo();
    let conversation = Conversation::from_messages([
        Message::system(SystemContent::default()),
        Message::user("What is 27 + 58?"),
    ]);
    let tokens = |min_new_tokens, answer: Body| {
        let rules = TurnRules { answer, ..TurnRules::default() };
        let limits = Limits::default();
        let compiled = fixture.assistant.compile(&conversation, &rules, &limits).expect("compiles");
        let options = TurnOptions {
            sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
            max_new_tokens: Some(TOKENS_MAX),
            min_new_tokens,
            rules: OutputRules::Compiled(compiled),
            ..TurnOptions::default()
        };
        let outcome = outcome_of(fixture.assistant.start_turn(&conversation, &options).expect("accepted"));
        (outcome.usage.engine.completion_tokens, outcome.end)
    };
    let (usual, end) = tokens(0, Body::Free);
    assert!(usual < TOKENS_MAX && end == TurnEnd::Answer, "{usual} {end:?}");
    let (more, _) = tokens(usual + 5, Body::Free);
    assert!(more >= usual + 5, "{more} of {usual}");
    assert_eq!(tokens(usize::MAX, Body::Free), (TOKENS_MAX, TurnEnd::Length));
    let (held, end) = tokens(usize::MAX, Body::Regex("85".into()));
    assert!(held < TOKENS_MAX && end == TurnEnd::Answer, "{held} {end:?}");
}
