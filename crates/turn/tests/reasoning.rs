//! Reasoning that ends: budgets, tokens kept back, loops, and demanded calls and formats within any limit.
//!
//! A script plays the engine: it names the token that the model would like best, and gets it where the rules
//! allow it, an end before anything else. So a model that would reason for ever does so here in microseconds.
//! What scripts do not think of comes from random weights, over fixed seeds.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_constrain::{Body, Fidelity, Limits, Reasoning, ToolChoice};
use gptoss_engine::{
    ChannelLimits, Engine, FinishReason, QueuedRequest, SamplingParams, Token, Usage, channel,
};
use gptoss_harmony::{
    Control, Conversation, DeveloperContent, FunctionTool, Message, MultiDigit, SystemContent, Vocab,
};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};
use gptoss_turn::{
    Assistant, Cut, Delta, Outcome, OutputRules, TokenTable, Turn, TurnConstraint, TurnEnd, TurnEvent,
    TurnOptions, TurnRules,
};
use serde_json::{Value, json};

const CONTEXT: usize = 8_192;
/// Names and headers are words of this vocabulary.
const RANKS: usize = 2_020;

/// What the model would like to say after so many tokens.
type Wish<'a> = &'a dyn Fn(&Vocab, &[u32]) -> u32;

fn conversation() -> Conversation {
    let parameters = json!({
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": false
    });
    let tool = FunctionTool { name: "go".into(), description: "Goes.".into(), parameters: Some(parameters) };
    let developer = DeveloperContent::default().with_function_tools(vec![tool]);
    Conversation::from_messages([
        Message::system(SystemContent::default()),
        Message::developer(developer),
        Message::user("How far?"),
    ])
}

fn answer() -> Body {
    let schema = json!({
        "type": "object",
        "properties": {"answer": {"type": "string"}, "sure": {"type": "boolean"}},
        "required": ["answer", "sure"],
        "additionalProperties": false
    });
    Body::JsonSchema { schema, fidelity: Fidelity::Strict }
}

fn plain() -> TurnRules {
    TurnRules { tool_choice: ToolChoice::None, ..TurnRules::default() }
}

fn named() -> TurnRules {
    TurnRules { tool_choice: ToolChoice::Named("go".into()), ..TurnRules::default() }
}

fn required() -> TurnRules {
    TurnRules { tool_choice: ToolChoice::Required, ..TurnRules::default() }
}

fn formatted() -> TurnRules {
    TurnRules { answer: answer(), tool_choice: ToolChoice::None, ..TurnRules::default() }
}

/// Tokens from text in which control tokens are spelled out.
fn tokens(vocab: &Vocab, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("<|") {
        ids.extend(vocab.encode_ids(&rest[..at]));
        rest = &rest[at..];
        let control = Control::ALL.into_iter().find(|control| rest.starts_with(control.literal()));
        let control = control.expect("a control token");
        ids.push(vocab.control(control));
        rest = &rest[control.literal().len()..];
    }
    ids.extend(vocab.encode_ids(rest));
    ids
}

/// Built once.
fn table() -> &'static Arc<TokenTable> {
    static TABLE: OnceLock<Arc<TokenTable>> = OnceLock::new();
    TABLE.get_or_init(|| {
        TokenTable::new(Arc::new(Vocab::truncated(RANKS, MultiDigit::Keep))).expect("a table")
    })
}

/// Takes a turn of a model that follows its wishes; the events, and what is left.
fn play(rules: &TurnRules, options: TurnOptions, wish: Wish<'_>) -> (Vec<TurnEvent>, Outcome) {
    let table = table();
    let vocab = table.vocab();
    let (handle, mut inbox) = channel(ChannelLimits::new(vocab.len(), CONTEXT));
    let limits = Limits { compile_wait_max: Duration::from_secs(3_600), ..Limits::default() };
    let rules = TurnConstraint::compile(table, &conversation(), rules, &limits).expect("good rules");
    let options = TurnOptions { rules: OutputRules::Compiled(rules), ..options };
    let assistant = Assistant::new(handle, Arc::clone(table)).expect("its vocabulary");
    let turn = assistant.start_turn(&conversation(), &options).expect("accepted");
    answer_as(vocab, inbox.try_recv().expect("was submitted"), wish);
    heard(turn)
}

fn heard(mut turn: Turn) -> (Vec<TurnEvent>, Outcome) {
    let mut events: Vec<TurnEvent> = std::iter::from_fn(|| turn.next_event()).collect();
    match events.pop() {
        Some(TurnEvent::Finished(outcome)) => (events, outcome),
        other => panic!("{other:?}"),
    }
}

fn answer_as(vocab: &Vocab, accepted: QueuedRequest, wish: Wish<'_>) {
    let QueuedRequest { request, mut events, .. } = accepted;
    events.begin();
    let mut constraint = request.constraint.expect("rules");
    let (mut said, mut usage) = (Vec::new(), Usage::default());
    let room = request.max_new_tokens.min(CONTEXT - request.prompt.len());
    while said.len() < room && !constraint.is_over() {
        let mask = constraint.mask().expect("no limit is met");
        let wished = wish(vocab, &said);
        let ends = [Control::Return, Control::Call].map(|control| vocab.control(control));
        let mut all = ends.into_iter().chain([wished]).chain(0..vocab.len() as u32);
        let token = all.find(|&token| mask.allows(token)).expect("one is allowed");
        constraint.commit(token).expect("allowed");
        said.push(token);
        usage.completion_tokens += 1;
        events
            .token(Token { id: token, logprob: -0.5, is_stop: false, top: vec![], masked: None })
            .expect("room");
    }
    let reason = if constraint.is_over() { FinishReason::Stop } else { FinishReason::Length };
    events.finish(reason, usage);
}

const HEADER: &str = "<|channel|>analysis<|message|>";
const NEXT: &str = "<|start|>assistant";

/// Reasons for ever in the same words; in a string it does so too.
fn same_words(vocab: &Vocab, said: &[u32]) -> u32 {
    let header = tokens(vocab, HEADER);
    let passage = tokens(vocab, " so it is five, no, wait");
    match header.get(said.len()) {
        Some(&token) => token,
        None => passage[(said.len() - header.len()) % passage.len()],
    }
}

/// The same, in one message after another.
fn same_messages(vocab: &Vocab, said: &[u32]) -> u32 {
    let message = tokens(vocab, &format!("{HEADER} so it is five<|end|>{NEXT}"));
    message[said.len() % message.len()]
}

/// Reasons for ever and never says the same twice.
fn other_words(vocab: &Vocab, said: &[u32]) -> u32 {
    let header = tokens(vocab, HEADER);
    let words: Vec<u32> =
        (b'a'..=b'z').flat_map(|letter| vocab.encode_ids(&char::from(letter).to_string())).collect();
    let count = said.len();
    let mixed = (count as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(29)
        .wrapping_mul(0xBF58_476D_1CE4_E5B9);
    header.get(count).copied().unwrap_or(words[(mixed >> 33) as usize % words.len()])
}

fn options() -> TurnOptions {
    TurnOptions::default()
}

fn limited(max_new_tokens: usize) -> TurnOptions {
    TurnOptions { max_new_tokens: Some(max_new_tokens), ..options() }
}

/// How long the reasoning was, and what was cut; the turn ended with an answer.
fn check_answer(options: TurnOptions, wish: Wish<'_>, cuts: &[Cut]) -> usize {
    let (events, outcome) = play(&plain(), options.clone(), wish);
    assert_eq!(outcome.end, TurnEnd::Answer, "{outcome:?}");
    assert_eq!(outcome.cuts, cuts);
    let told = |warnings: &[String]| cuts.iter().all(|cut| warnings.contains(&cut.to_string()));
    assert!(told(&outcome.warnings), "{:?}", outcome.warnings);
    let heard = events.iter().filter(|event| matches!(event, TurnEvent::Delta(Delta::Warning(_)))).count();
    assert_eq!(heard, outcome.warnings.len());
    assert_eq!(play(&plain(), options, wish).0, events, "the same again");
    outcome.usage.reasoning_tokens
}

#[test]
fn reasoning_in_the_same_words_is_ended() {
    let tokens = check_answer(options(), &same_words, &[Cut::Loop]);
    assert!((256..300).contains(&tokens), "{tokens}");
    let tokens = check_answer(options(), &same_messages, &[Cut::Loop]);
    assert!((256..340).contains(&tokens), "{tokens}");
    let patient = TurnOptions { breaks_loops: false, ..options() };
    assert!(check_answer(patient, &same_words, &[Cut::KeptBack]) > CONTEXT / 2);
}

#[test]
fn reasoning_keeps_to_its_budget() {
    for budget in [1, 5, 100] {
        let options = TurnOptions { reasoning_budget: Some(budget), ..options() };
        let tokens = check_answer(options, &other_words, &[Cut::Budget]);
        // The header and the end.
        assert!((budget as usize..budget as usize + 8).contains(&tokens), "{tokens} of {budget}");
    }
    let none = TurnOptions { reasoning_budget: Some(0), ..options() };
    assert_eq!(check_answer(none, &other_words, &[]), 0);
}

/// Whatever limit the client gives, there is an answer within it.
#[test]
fn reasoning_leaves_room_for_an_answer() {
    for max in (16..120).chain([500, 1_000, 4_000]) {
        let (_, outcome) = play(&plain(), limited(max), &other_words);
        assert_eq!((outcome.end, outcome.cuts.as_slice()), (TurnEnd::Answer, &[Cut::KeptBack][..]), "{max}");
        let left = max - outcome.usage.reasoning_tokens;
        assert!(left >= (max / 4).clamp(16, 512), "{left} of {max}");
        // Reasoning of a few words would be of no use.
        assert!(outcome.usage.reasoning_tokens == 0 || outcome.usage.reasoning_tokens >= 16, "{max}");
        assert_eq!(outcome.usage.reasoning_tokens == 0, outcome.reasoning().is_none(), "{max}");
    }
    let asked = TurnOptions { answer_tokens: Some(300), ..limited(500) };
    let (_, outcome) = play(&plain(), asked, &other_words);
    assert!(outcome.usage.reasoning_tokens < 200, "{outcome:?}");
    // Without a limit of the client's, the context is one.
    let tokens = check_answer(options(), &other_words, &[Cut::KeptBack]);
    assert!((CONTEXT - 2_000..CONTEXT - 512).contains(&tokens), "{tokens}");
}

/// The arguments of a call, if they are as the schema says.
fn is_whole(outcome: &Outcome) -> bool {
    let Some(call) = outcome.calls.first() else { return false };
    let arguments: Value = serde_json::from_str(&call.arguments).expect("JSON");
    arguments["city"].is_string() && arguments["days"].as_i64().is_some_and(|days| (1..=9).contains(&days))
}

fn says(outcome: &Outcome, part: &str) -> bool {
    outcome.warnings.iter().any(|warning| warning.contains(part))
}

/// A model that would rather reason, or that never ends a string, went on until the context was full: half of
/// the calls that clients demanded never came.
#[test]
fn a_demanded_call_comes_within_any_limit() {
    let wishes: [Wish<'_>; 3] = [&same_words, &same_messages, &other_words];
    for rules in [named(), required()] {
        for wish in wishes {
            for max in (16..80).chain([100, 160, 500, usize::MAX]) {
                let (_, outcome) = play(&rules, limited(max), wish);
                match outcome.end {
                    TurnEnd::Call => assert!(is_whole(&outcome), "{max}: {outcome:?}"),
                    TurnEnd::Length => {
                        let limit = format!("the limit of {max} new tokens came ");
                        assert!(
                            says(&outcome, "the call that was asked for is missing"),
                            "{max}: {outcome:?}"
                        );
                        assert!(says(&outcome, &limit), "{max}: {outcome:?}");
                        assert!(max < 40, "{max}: {outcome:?}");
                    }
                    end => panic!("{max}: {end:?}"),
                }
            }
        }
    }
}

#[test]
fn a_demanded_format_comes_within_any_limit() {
    let wishes: [Wish<'_>; 2] = [&same_words, &other_words];
    for wish in wishes {
        for max in (16..80).chain([100, 160, 500, usize::MAX]) {
            let (_, outcome) = play(&formatted(), limited(max), wish);
            match outcome.end {
                TurnEnd::Answer => {
                    let answer = outcome.answer().expect("an answer");
                    let answer: Value = serde_json::from_str(&answer).expect("JSON");
                    assert!(answer["answer"].is_string() && answer["sure"].is_boolean(), "{max}: {answer}");
                    assert!(outcome.cuts.contains(&Cut::Closed), "{max}: {outcome:?}");
                }
                TurnEnd::Length => {
                    assert!(max < 40 && says(&outcome, "is not whole in the format"), "{max}: {outcome:?}");
                }
                end => panic!("{max}: {end:?}"),
            }
        }
    }
}

/// A call that nobody demanded is half an instruction when it is cut, and is left out as before.
#[test]
fn a_call_of_the_models_own_is_not_closed() {
    let call = "<|channel|>commentary to=functions.go <|constrain|>json<|message|>{\"city\":\"";
    let wish = move |vocab: &Vocab, said: &[u32]| {
        let call = tokens(vocab, call);
        call.get(said.len()).copied().unwrap_or_else(|| vocab.encode_ids("a")[0])
    };
    let (_, outcome) = play(&TurnRules::default(), limited(100), &wish);
    assert_eq!((outcome.end, outcome.calls.len(), outcome.cuts.len()), (TurnEnd::Length, 0, 0));
    assert!(says(&outcome, "left out"), "{:?}", outcome.warnings);
}

#[test]
fn random_weights_come_to_an_end_within_their_limits() {
    let checkpoint = Checkpoint::synthetic(Preset::Tiny, 1, None).expect("a preset");
    let vocab = Arc::new(Vocab::truncated(503, MultiDigit::Keep));
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| ()).expect("loads");
    let (engine, _thread) = Engine::new(Arc::new(model), 1024).spawn().expect("a thread");
    let assistant = Assistant::new(engine, TokenTable::new(vocab).expect("a table")).expect("its vocabulary");
    let budget = Reasoning { budget: Some(30), preambles: false };
    let all = [named(), required(), formatted(), TurnRules { reasoning: budget, ..required() }];
    let compiled: Vec<TurnConstraint> = all
        .iter()
        .map(|rules| assistant.compile(&conversation(), rules, &Limits::default()).expect("good rules"))
        .collect();
    let mut num_whole = 0;
    for seed in 0..100 {
        let which = seed as usize % all.len();
        let max = [16, 40, 90, 150, 220, 300][seed as usize / all.len() % 6];
        let options = TurnOptions {
            sampling: SamplingParams { seed, ..SamplingParams::default() },
            rules: OutputRules::Compiled(compiled[which].clone()),
            ..limited(max)
        };
        let turn = assistant.start_turn(&conversation(), &options).expect("accepted");
        let (_, outcome) = heard(turn);
        match outcome.end {
            TurnEnd::Call => assert!(is_whole(&outcome), "{seed}: {outcome:?}"),
            TurnEnd::Answer => {
                let answer = outcome.answer().expect("an answer");
                let answer: Value = serde_json::from_str(&answer).expect("JSON");
                assert!(answer["answer"].is_string() && answer["sure"].is_boolean(), "{seed}: {answer}");
            }
            TurnEnd::Length => {
                assert_eq!(outcome.usage.engine.completion_tokens, max, "{seed}");
                assert!(says(&outcome, &format!("the limit of {max} new tokens")), "{seed}: {outcome:?}");
            }
            end => panic!("{seed}: {end:?}"),
        }
        // A header takes up to 60 tokens of this vocabulary, and the shortest arguments 30.
        assert!(max < 150 || outcome.end != TurnEnd::Length, "{seed}: {max}: {outcome:?}");
        num_whole += usize::from(outcome.end != TurnEnd::Length);
    }
    println!("{num_whole} of 100 turns were whole");
}
