//! The demo model on a card: at temperature 0 it says what it says on the processor, token for token.
//!
//! Devices are those of `crates/gpu/tests/devices`; where there is none the tests say that they are skipped.
//! The answers are trained ones, whose tokens are far enough apart that rounding multiply-add once or twice
//! moves none of them.

#![expect(clippy::disallowed_methods, reason = "which devices are tested is told by the environment")]

#[path = "../../gpu/tests/devices/mod.rs"]
mod devices;
#[path = "../../gpu/tests/fake_cuda/mod.rs"]
mod fake_cuda;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use gptoss_checkpoint::Checkpoint;
use gptoss_engine::{Engine, Event, EventStream, Failure, Request, SamplingParams, Token, channel};
use gptoss_harmony::{Conversation, Message, ReasoningEffort, RenderOptions, SystemContent, Vocab, render};
use gptoss_kernels::Pool;
use gptoss_model::{DenseMode, Device, LoadOptions, Model, Precision};

/// How many answers a device is asked for, and tokens of each that are compared.
#[derive(Clone, Copy)]
struct Share {
    answers: usize,
    tokens: usize,
}

/// Of devices behind the first, and in exact mode: SwiftShader is slower still.
const SMALL_SHARE: Share = Share { answers: 1, tokens: 6 };

/// Two tokens are as good as each other when the best leads by less. A rounding to int8 that turns the other
/// way moves a logit of the demo by about as much. Units: nats.
const TIE_NATS: f64 = 0.02;

/// How many answers a device is asked for by hand, a hundred: `GPTOSS_CARD_ANSWERS`. In CI a few are cut
/// short, since a card in software takes a second for seven tokens.
fn wanted() -> Option<usize> {
    std::env::var("GPTOSS_CARD_ANSWERS").ok().map(|count| count.parse().expect("a number"))
}

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model")
}

fn vocab() -> Vocab {
    let file = std::fs::read(demo().join("tokenizer.json")).expect("reads");
    Vocab::from_tokenizer_json(&file).expect("a tokenizer")
}

/// Prompts of the demo's tasks, each another.
fn prompts(count: usize) -> Vec<Vec<u32>> {
    let vocab = vocab();
    let efforts = [ReasoningEffort::Low, ReasoningEffort::Medium, ReasoningEffort::High];
    let question = |n: usize| match n % 5 {
        0 => format!("What is {} + {}?", 17 + 37 * n % 900, 58 + 91 * n % 800),
        1 => format!("What is {} - {}?", 950 - 13 * n % 800, 41 + 29 * n % 700),
        2 => format!("Which is larger, {} or {}?", 100 + 71 * n % 899, 100 + 53 * n % 899),
        3 => format!("Count from {} to {}.", 3 + n, 9 + n),
        _ => format!("What is {} * {}?", 2 + n % 90, 3 + 7 * n % 90),
    };
    (0..count)
        .map(|n| {
            let system = SystemContent::default().with_reasoning_effort(efforts[n % 3]);
            let talk = Conversation::from_messages([Message::system(system), Message::user(question(n))]);
            render(&vocab, &talk, RenderOptions::default()).expect("renders")
        })
        .collect()
}

fn answers(model: Model, prompts: &[Vec<u32>], max_new_tokens: usize) -> Vec<Vec<u32>> {
    let mut engine = Engine::new(Arc::new(model), 512);
    // What would come after an answer was never trained.
    let stop_ids = vocab().stop_ids().to_vec();
    let answer = |prompt: &Vec<u32>| {
        let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
        let (prompt, stop_ids) = (prompt.clone(), stop_ids.clone());
        let request = Request { prompt, sampling, stop_ids, max_new_tokens, ..Request::default() };
        engine.generate(request, &AtomicBool::new(false), &mut |_| {}).expect("runs").tokens
    };
    prompts.iter().map(answer).collect()
}

/// How much likelier the likeliest token is than another one. Units: nats.
fn lead(model: Model, prompt: Vec<u32>, other: u32) -> f64 {
    let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    let request =
        Request { prompt, sampling, top_logprobs: Some(20), max_new_tokens: 1, ..Request::default() };
    let mut top = Vec::new();
    let on_event = &mut |event| {
        if let Event::Token(token) = event {
            top = token.top;
        }
    };
    Engine::new(Arc::new(model), 512).generate(request, &AtomicBool::new(false), on_event).expect("runs");
    let other = top.iter().find(|token| token.id == other);
    other.map_or(f64::INFINITY, |other| top[0].logprob - other.logprob)
}

fn answers_are_the_processors(device: &Device, share: Share, (precision, dense): (Precision, DenseMode)) {
    let checkpoint = Checkpoint::open(&demo()).expect("opens");
    let options = LoadOptions { precision, dense, expert_slots: None };
    let prompts = prompts(share.answers);
    let model = Model::load_with(&checkpoint, &options, Pool::new(2), &mut |_, _| {}).expect("loads");
    let expected = answers(model, &prompts, share.tokens);
    let begun = Instant::now();
    let model = Model::load_on(device, &checkpoint, &options, Pool::new(2), &mut |_, _| {});
    let found = answers(model.expect("loads"), &prompts, share.tokens);
    let other: Vec<usize> = (0..share.answers).filter(|&n| expected[n] != found[n]).collect();
    let tokens: usize = expected.iter().map(Vec::len).sum();
    let (count, seconds) = (share.answers, begun.elapsed().as_secs_f32());
    println!(
        "{device:?}, {precision:?}, {dense:?}: {count} answers, {tokens} tokens, {} differ, {seconds:.1} s",
        other.len()
    );
    for &n in &other {
        let same = expected[n].iter().zip(&found[n]).take_while(|(a, b)| a == b).count();
        let model = Model::load_with(&checkpoint, &options, Pool::new(2), &mut |_, _| {}).expect("loads");
        let behind = [&prompts[n][..], &expected[n][..same]].concat();
        let nearness = found[n].get(same).map_or(f64::INFINITY, |&token| lead(model, behind, token));
        println!(
            "answer {n} of {} tokens differs from token {same} on, a lead of {nearness:.1e} nats",
            expected[n].len()
        );
        assert!(
            nearness < TIE_NATS,
            "answer {n} differs, and not where two tokens are as good as each other"
        );
    }
}

#[test]
fn answers_are_those_of_the_processor() {
    let share = wanted().map_or(Share { answers: 2, tokens: 40 }, |answers| Share { answers, tokens: 200 });
    let _alone = devices::one_at_a_time();
    for (place, device) in devices::opened(usize::MAX).iter().enumerate() {
        let share = if place == 0 { share } else { SMALL_SHARE };
        answers_are_the_processors(device, share, (Precision::Fast, DenseMode::Q8));
        if place > 0 {
            continue;
        }
        answers_are_the_processors(device, share, (Precision::Fast, DenseMode::AsStored));
        answers_are_the_processors(device, SMALL_SHARE, (Precision::Exact, DenseMode::AsStored));
    }
}

/// By CUDA a card fuses, and so every token of every mode is the processor's.
#[test]
fn answers_by_cuda_are_those_of_the_processor() {
    let _alone = devices::one_at_a_time();
    let Some(fake) = fake_cuda::FakeCuda::new() else { return };
    let device = fake.open().expect("opens");
    let share = Share { answers: 2, tokens: 12 };
    answers_are_the_processors(&device, share, (Precision::Fast, DenseMode::Q8));
    answers_are_the_processors(&device, SMALL_SHARE, (Precision::Fast, DenseMode::AsStored));
}

/// Where the best token is wanted, the card's answers are enough; a bias of nothing has the whole row read.
#[test]
fn the_best_tokens_of_a_card_give_what_whole_rows_give() {
    let _alone = devices::one_at_a_time();
    let checkpoint = Checkpoint::open(&demo()).expect("opens");
    let options = LoadOptions { precision: Precision::Fast, dense: DenseMode::Q8, expert_slots: None };
    for device in devices::opened(1) {
        let model = Model::load_on(&device, &checkpoint, &options, Pool::new(2), &mut |_, _| {});
        let mut engine = Engine::new(Arc::new(model.expect("loads")), 512);
        for (prompt, top_logprobs) in prompts(3).into_iter().zip([None, Some(5), Some(20)]) {
            let [found, whole] = [vec![], vec![(0, 0.0)]].map(|logit_bias| {
                let sampling = SamplingParams { temperature: 0.0, logit_bias, ..SamplingParams::default() };
                let prompt = prompt.clone();
                let request =
                    Request { prompt, sampling, top_logprobs, max_new_tokens: 10, ..Request::default() };
                let mut tokens = Vec::new();
                let on_event = &mut |event| {
                    if let Event::Token(token) = event {
                        tokens.push(token);
                    }
                };
                engine.generate(request, &AtomicBool::new(false), on_event).expect("runs");
                tokens
            });
            assert!(found.len() == 10 && found == whole, "{found:?}\n{whole:?}");
        }
    }
}

/// The answers of requests that run together, with their log-probabilities.
fn answers_together(model: &Arc<Model>, prompts: &[Vec<u32>], max_new_tokens: usize) -> Vec<Vec<Token>> {
    let mut engine = Engine::new(Arc::clone(model), 512);
    let (handle, mut inbox) = channel(engine.limits());
    let tickets: Vec<_> = prompts
        .iter()
        .map(|prompt| {
            let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
            let (prompt, stop_ids) = (prompt.clone(), vocab().stop_ids().to_vec());
            let request = Request { prompt, sampling, stop_ids, max_new_tokens, ..Request::default() };
            let ticket = handle.submit(request).expect("room");
            engine.accept(inbox.try_recv().expect("was submitted"));
            ticket
        })
        .collect();
    while engine.step() {}
    let tokens = |mut ticket: EventStream| {
        let events = std::iter::from_fn(|| ticket.next_event());
        events.filter_map(|event| if let Event::Token(token) = event { Some(token) } else { None }).collect()
    };
    tickets.into_iter().map(tokens).collect()
}

/// A card that holds a quarter of the experts (by hand also a half and three quarters) says what one says
/// that holds all, to one at a time and to all together. What it takes is printed: misses a token are experts
/// sent to the card.
#[test]
fn a_card_that_holds_some_experts_says_what_one_says_that_holds_all() {
    let _alone = devices::one_at_a_time();
    let checkpoint = Checkpoint::open(&demo()).expect("opens");
    let (prompts, tokens, slots) =
        if wanted().is_some() { (prompts(4), 24, &[8, 16, 24][..]) } else { (prompts(2), 6, &[8][..]) };
    for device in devices::opened(1) {
        let load = |expert_slots| {
            let options = LoadOptions { precision: Precision::Fast, dense: DenseMode::Q8, expert_slots };
            let model = Model::load_on(&device, &checkpoint, &options, Pool::new(2), &mut |_, _| {});
            Arc::new(model.expect("loads"))
        };
        let expected = answers_together(&load(None), &prompts, tokens);
        for &slots in slots {
            for together in [1, prompts.len()] {
                let model = load(Some(slots));
                let chunks = prompts.chunks(together);
                let found: Vec<_> =
                    chunks.flat_map(|prompts| answers_together(&model, prompts, tokens)).collect();
                assert!(found == expected, "{slots} slots, {together} together");
                let traffic = model.expert_traffic().expect("not all are on the card");
                let tokens: usize = prompts.iter().map(Vec::len).chain(found.iter().map(Vec::len)).sum();
                println!(
                    "{slots} of {} experts, {together} together: {:.1} % found, {:.2} sent a token",
                    traffic.experts,
                    100.0 * traffic.hit_rate(),
                    traffic.misses as f64 / tokens as f64
                );
            }
        }
    }
}

/// Each request of a step that a card refuses ends once, with the reason.
#[test]
fn a_card_without_room_ends_each_request_once_and_says_why() {
    let _alone = devices::one_at_a_time();
    let checkpoint = Checkpoint::open(&demo()).expect("opens");
    let options = LoadOptions { precision: Precision::Fast, dense: DenseMode::AsStored, expert_slots: None };
    for device in devices::opened(1) {
        let model = Model::load_on(&device, &checkpoint, &options, Pool::new(1), &mut |_, _| {});
        // Keys of more positions than a kernel sees on any device.
        let mut engine = Engine::new(Arc::new(model.expect("loads")), 1 << 26);
        let request = |prompt| Request { prompt, max_new_tokens: 5, ..Request::default() };
        for prompt in prompts(2) {
            let (handle, mut inbox) = channel(engine.limits());
            let mut ticket = handle.submit(request(prompt)).expect("room");
            engine.accept(inbox.try_recv().expect("was submitted"));
            while engine.step() {}
            let events: Vec<Event> = std::iter::from_fn(|| ticket.next_event()).collect();
            let ends = events.iter().filter(|e| matches!(e, Event::Failed(_) | Event::Finished { .. }));
            assert_eq!(ends.count(), 1, "{events:?}");
            let Some(Event::Failed(Failure::Forward { message })) = events.last() else {
                panic!("{events:?}")
            };
            assert!(message.contains("keys has") && message.contains("bytes"), "{message}");
        }
    }
}
