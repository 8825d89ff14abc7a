//! What a strict call costs with forced tokens computed together, and without.
//!
//! `cargo run --release -p gptoss-turn --example forced -- FOLDER` takes the checkpoint in a folder with its
//! `tokenizer.json`, or random weights of a preset such as `gpt-oss-20b`. The model must call a function
//! whose schema has ten keys, four times. Tokens and log-probabilities must be the same; printed are tokens,
//! steps and seconds.

#![expect(clippy::disallowed_methods, reason = "a program with arguments of its own")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_constrain::{Limits, Reasoning, ToolChoice};
use gptoss_engine::{Engine, EngineOptions, SamplingParams, Speculation, channel};
use gptoss_harmony::{
    Conversation, DeveloperContent, FunctionTool, Message, MultiDigit, SystemContent, Vocab,
};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};
use gptoss_turn::{
    Assistant, Delta, FunctionRule, OutputRules, TokenTable, TurnConstraint, TurnEvent, TurnOptions,
    TurnRules,
};
use serde_json::json;

const CALLS: u64 = 4;
const QUESTION: &str = "Book a room for Ada Lovelace and one more guest in London from the 3rd to the 7th of May 2027, no smoking, \
    breakfast included, at most 180 pounds a night.";

fn main() {
    let name = std::env::args().nth(1).expect("a folder or a preset");
    let (checkpoint, vocab) = open(&name);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(threads), &mut |_, _| {}).expect("loads");
    let (model, table) = (Arc::new(model), TokenTable::new(Arc::new(vocab)).expect("a table"));
    let rules = OutputRules::Compiled(rules(&table));
    // The first run touches the weights.
    run(&model, &table, &rules, false, Speculation::Off);
    let plain = run(&model, &table, &rules, false, Speculation::Off);
    let rows = [
        ("a step for each token", plain.clone()),
        ("forced tokens together", run(&model, &table, &rules, true, Speculation::Off)),
        ("look-ups when they pay", run(&model, &table, &rules, false, Speculation::WhenItPays)),
        ("forced tokens and look-ups", run(&model, &table, &rules, true, Speculation::WhenItPays)),
    ];
    for (what, row) in &rows {
        assert_eq!(row.told, plain.told, "{what}: the same tokens and log-probabilities");
        let less = 100.0 * (1.0 - row.seconds / plain.seconds);
        println!(
            "{what}: {} tokens, {} steps, {:.2} s of decoding ({less:.1} % less)",
            row.tokens, row.steps, row.seconds
        );
    }
}

#[derive(Clone)]
struct Row {
    told: Vec<(Vec<u8>, u64)>,
    tokens: usize,
    steps: u64,
    seconds: f64,
}

fn conversation() -> Conversation {
    let tool = FunctionTool {
        name: "book_room".into(),
        description: "Books a room in a hotel.".into(),
        parameters: Some(schema()),
    };
    Conversation::from_messages([
        Message::system(SystemContent::default()),
        Message::developer(DeveloperContent::default().with_function_tools(vec![tool])),
        Message::user(QUESTION),
    ])
}

fn schema() -> serde_json::Value {
    let properties = json!({
        "first_name": {"type": "string", "maxLength": 20},
        "last_name": {"type": "string", "maxLength": 20},
        "number_of_guests": {"type": "integer", "minimum": 1, "maximum": 9},
        "city": {"type": "string", "maxLength": 20},
        "arrival_date": {"type": "string", "pattern": "^2027-[01][0-9]-[0-3][0-9]$"},
        "departure_date": {"type": "string", "pattern": "^2027-[01][0-9]-[0-3][0-9]$"},
        "is_smoking_allowed": {"type": "boolean"},
        "includes_breakfast": {"type": "boolean"},
        "currency": {"enum": ["GBP", "EUR", "USD"]},
        "maximum_price_per_night": {"type": "integer", "minimum": 1, "maximum": 9999}
    });
    let required: Vec<&String> = properties.as_object().expect("an object").keys().collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn rules(table: &Arc<TokenTable>) -> TurnConstraint {
    let rules = TurnRules {
        tool_choice: ToolChoice::Named("book_room".into()),
        functions: [("book_room".to_owned(), FunctionRule::Strict)].into(),
        reasoning: Reasoning { budget: Some(0), preambles: false },
        ..TurnRules::default()
    };
    TurnConstraint::compile(table, &conversation(), &rules, &Limits::default()).expect("good rules")
}

fn run(
    model: &Arc<Model>,
    table: &Arc<TokenTable>,
    rules: &OutputRules,
    forced_drafts: bool,
    speculation: Speculation,
) -> Row {
    let options = EngineOptions { forced_drafts, speculation, ..EngineOptions::new(2048) };
    let mut engine = Engine::with_options(Arc::clone(model), options).expect("fits");
    let (handle, mut inbox) = channel(engine.limits());
    let mut row = Row { told: Vec::new(), tokens: 0, steps: 0, seconds: 0.0 };
    for seed in 0..CALLS {
        let options = TurnOptions {
            sampling: SamplingParams { seed, ..SamplingParams::default() },
            rules: rules.clone(),
            logprobs: Some(0),
            max_new_tokens: Some(1000),
            ..TurnOptions::default()
        };
        let assistant = Assistant::new(handle.clone(), Arc::clone(table)).expect("its vocabulary");
        let mut turn = assistant.start_turn(&conversation(), &options).expect("accepted");
        engine.accept(inbox.try_recv().expect("was submitted"));
        // The prompt is the same in every row.
        while engine.stats().generated_tokens == row.tokens as u64 {
            engine.step();
        }
        let (started, before) = (Instant::now(), engine.stats().steps);
        while engine.step() {}
        row.seconds += started.elapsed().as_secs_f64();
        row.steps += engine.stats().steps - before;
        row.tokens = engine.stats().generated_tokens as usize;
        while let Some(event) = turn.next_event() {
            match event {
                TurnEvent::Delta(Delta::Text { logprobs, .. } | Delta::CallArguments { logprobs, .. }) => {
                    row.told.extend(logprobs.into_iter().map(|token| (token.bytes, token.logprob.to_bits())));
                }
                TurnEvent::Failed(failure) => panic!("{failure}"),
                _ => {}
            }
        }
    }
    row
}

/// A folder's checkpoint, or random weights of a preset.
fn open(name: &str) -> (Checkpoint, Vocab) {
    match name.parse::<Preset>() {
        Ok(preset) => {
            let checkpoint = Checkpoint::synthetic(preset, 1, None).expect("makes the weights");
            (checkpoint, Vocab::truncated(if name == "tiny" { 503 } else { 199_998 }, MultiDigit::Keep))
        }
        Err(_) => {
            let folder = Path::new(name);
            let file =
                std::fs::read(folder.join("tokenizer.json")).expect("a tokenizer.json beside the weights");
            let vocab = Vocab::from_tokenizer_json(&file).expect("a tokenizer");
            (Checkpoint::open(folder).expect("a preset, such as gpt-oss-20b, or a folder"), vocab)
        }
    }
}
