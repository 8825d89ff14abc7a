//! Whole requests on the tiny golden checkpoint: what comes back, in which order, and that it is always the
//! same.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gptoss_checkpoint::Checkpoint;
use gptoss_engine::{Completion, Engine, Error, Event, FinishReason, Request, SamplingParams, Token};
use gptoss_kernels::Pool;
use gptoss_model::{Batch, LogitRows, Model, Precision, argmax, log_prob};

fn model(precision: Precision, threads: usize) -> Arc<Model> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-yarn");
    let checkpoint = Checkpoint::open(&folder).expect("opens");
    Arc::new(Model::load(&checkpoint, precision, Pool::new(threads), &mut |_, _| {}).expect("loads"))
}

fn engine() -> Engine {
    Engine::new(model(Precision::Fast, 1), 400)
}

fn greedy() -> SamplingParams {
    SamplingParams { temperature: 0.0, ..SamplingParams::default() }
}

fn request(prompt: Vec<u32>, max_new_tokens: usize) -> Request {
    Request { prompt, max_new_tokens, ..Request::default() }
}

fn prompt(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * i + 5 * i + 1) % 320).collect()
}

fn run(engine: &mut Engine, request: Request) -> (Completion, Vec<Event>) {
    let mut events = Vec::new();
    let cancel = AtomicBool::new(false);
    let completion = engine.generate(request, &cancel, &mut |event| events.push(event)).expect("runs");
    (completion, events)
}

/// A token's event without log-probabilities of others.
fn token(id: u32, logprob: f64, is_stop: bool) -> Event {
    Event::Token(Token { id, logprob, is_stop, top: vec![], masked: None })
}

/// What must be the same bits: everything but the clock and the cache.
fn result(completion: &Completion) -> (&[u32], Vec<u64>, FinishReason) {
    let logprobs = completion.logprobs.iter().map(|logprob| logprob.to_bits()).collect();
    (&completion.tokens, logprobs, completion.reason)
}

#[test]
fn greedy_tokens_are_those_of_the_model_alone() {
    let mut engine = engine();
    let (completion, _) = run(&mut engine, Request { sampling: greedy(), ..request(prompt(20), 12) });
    let mut tokens = prompt(20);
    for (&token, &logprob) in completion.tokens.iter().zip(&completion.logprobs) {
        let mut cache = engine.model().new_cache(400);
        let batch = Batch { tokens: &tokens, logits: LogitRows::Last };
        let logits = engine.model().forward(&batch, &mut cache).expect("runs");
        assert_eq!(token, argmax(logits.row(0)));
        assert_eq!(logprob, log_prob(logits.row(0), token));
        tokens.push(token);
    }
    assert_eq!(tokens.len(), 32);
    assert_eq!(completion.reason, FinishReason::Length);
}

#[test]
fn events_tell_the_whole_story_once() {
    let (completion, events) = run(&mut engine(), request(prompt(30), 5));
    let expected_tokens = completion.tokens.iter().zip(&completion.logprobs);
    let mut expected = vec![Event::Prefill { done: 0, total: 30 }, Event::Prefill { done: 30, total: 30 }];
    expected.extend(expected_tokens.map(|(&id, &logprob)| token(id, logprob, false)));
    expected.push(Event::Finished { reason: FinishReason::Length, usage: completion.usage });
    assert_eq!(events, expected);
    let usage = completion.usage;
    assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens), (30, 0, 5));
    assert!(usage.prefill_tokens_per_second().is_some() && usage.decode_tokens_per_second().is_some());
}

#[test]
fn a_stop_id_ends_and_is_shown() {
    let free = run(&mut engine(), request(prompt(30), 20)).0;
    let stop = free.tokens[7];
    let first = free.tokens.iter().position(|&token| token == stop).expect("is there");
    let (completion, events) =
        run(&mut engine(), Request { stop_ids: vec![999, stop], ..request(prompt(30), 20) });
    assert_eq!(completion.reason, FinishReason::Stop);
    assert_eq!(completion.tokens, free.tokens[..=first]);
    let logprob = free.logprobs[first];
    assert_eq!(events[events.len() - 2], token(stop, logprob, true));
}

#[test]
fn the_context_ends_a_generation() {
    let mut engine = Engine::new(model(Precision::Fast, 1), 35);
    let (completion, _) = run(&mut engine, request(prompt(30), 20));
    assert_eq!((completion.tokens.len(), completion.reason), (5, FinishReason::Length));
    let (completion, _) = run(&mut engine, request(prompt(35), 20));
    assert_eq!((completion.tokens.len(), completion.reason), (0, FinishReason::Length));
    let (completion, _) = run(&mut engine, request(prompt(30), 0));
    assert_eq!((completion.tokens.len(), completion.reason), (0, FinishReason::Length));
}

/// The same sampled request on engines with every kind of past, and at other numbers of threads.
#[test]
fn the_past_of_an_engine_changes_nothing() {
    for precision in [Precision::Exact, Precision::Fast] {
        let model = model(precision, 1);
        let wanted =
            || Request { sampling: SamplingParams { seed: 9, ..at(1.3) }, ..request(prompt(200), 40) };
        let expected = run(&mut Engine::new(model.clone(), 400), wanted()).0;
        assert_eq!(expected.usage.cached_tokens, 0);
        let on_two_threads = run(&mut Engine::new(self::model(precision, 2), 400), wanted()).0;
        assert_eq!(result(&on_two_threads), result(&expected));
        // What ran before, and how much of it is kept: the same request, a shorter and a longer prompt,
        // prompts that part early and late, and one with nothing in common. Places are kept before a prompt's
        // last token, at its end with what was generated, and where a request says so.
        let longer = [prompt(200), vec![7; 150]].concat();
        let parting = |at: usize| [&prompt(200)[..at], &[300; 100]].concat();
        let pasts = [
            (prompt(200), vec![], 199),
            (prompt(120), vec![], 119),
            (longer.clone(), vec![], 0),
            (longer, vec![150, 190], 190),
            (parting(199), vec![], 0),
            (parting(199), vec![199], 199),
            (parting(50), vec![20], 20),
            (vec![1, 2, 3], vec![], 0),
            (vec![2, 2, 3], vec![], 0),
        ];
        for (past, cache_points, kept) in pasts {
            let mut engine = Engine::new(model.clone(), 400);
            run(&mut engine, Request { cache_points, ..request(past, 30) });
            let completion = run(&mut engine, wanted()).0;
            assert_eq!(result(&completion), result(&expected));
            assert_eq!(completion.usage.cached_tokens, kept);
        }
    }
}

/// A conversation that only grows computes nothing twice.
#[test]
fn a_growing_prompt_is_computed_once() {
    let mut engine = engine();
    let mut tokens = prompt(20);
    for _ in 0..5 {
        let completion = run(&mut engine, request(tokens.clone(), 10)).0;
        tokens.extend(&completion.tokens);
        tokens.extend([5, 6, 7]);
        let next = run(&mut engine, request(tokens.clone(), 1)).0;
        // The last sampled token was never fed.
        assert_eq!(next.usage.cached_tokens, tokens.len() - 4);
    }
}

#[test]
fn seeds_differ_and_repeat() {
    let mut engine = engine();
    let mut with_seed = |seed| {
        let sampling = SamplingParams { seed, ..SamplingParams::default() };
        run(&mut engine, Request { sampling, ..request(prompt(10), 20) }).0.tokens
    };
    assert_eq!(with_seed(1), with_seed(1));
    assert_ne!(with_seed(1), with_seed(2));
}

#[test]
fn cancelling_ends_between_steps() {
    let mut engine = engine();
    let cancel = AtomicBool::new(false);
    let tokens_seen = Cell::new(0);
    let mut after_three = |event: Event| {
        if matches!(event, Event::Token(_)) {
            tokens_seen.set(tokens_seen.get() + 1);
            cancel.store(tokens_seen.get() == 3, Ordering::Relaxed);
        }
    };
    let completion = engine.generate(request(prompt(30), 20), &cancel, &mut after_three).expect("ends well");
    assert_eq!((completion.tokens.len(), completion.reason), (3, FinishReason::Cancelled));

    let mut events = Vec::new();
    let cancel = AtomicBool::new(true);
    let completion = engine
        .generate(request(vec![9; 30], 20), &cancel, &mut |event| events.push(event))
        .expect("ends well");
    assert_eq!(completion.reason, FinishReason::Cancelled);
    let finished = Event::Finished { reason: FinishReason::Cancelled, usage: completion.usage };
    assert_eq!(events, [finished]);

    let fresh = run(&mut self::engine(), request(prompt(30), 5)).0;
    assert_eq!(result(&run(&mut engine, request(prompt(30), 5)).0), result(&fresh), "and leaves no trace");
}

fn refusal(request: Request) -> Error {
    let mut events = Vec::new();
    let cancel = AtomicBool::new(false);
    let refused = engine().generate(request, &cancel, &mut |event| events.push(event));
    assert!(events.is_empty());
    refused.expect_err("is refused")
}

#[test]
fn refusals_name_what_and_where() {
    let check = |request: Request, expect: &str| assert_eq!(refusal(request).to_string(), expect);
    check(request(vec![], 1), "the prompt is empty; there is nothing to continue");
    check(
        request(prompt(401), 1),
        "the prompt has 401 tokens, but the context holds 400; shorten the prompt or ask for a longer context",
    );
    check(request(vec![1, 320], 1), "prompt token 1 has the id 320, but the vocabulary has 320 ids");
    let sampling = SamplingParams { top_p: -1.0, ..SamplingParams::default() };
    check(Request { sampling, ..request(prompt(3), 1) }, "top_p is -1, but must be from 0 to 1");
    let sampling = SamplingParams { logit_bias: vec![(320, 1.0)], ..SamplingParams::default() };
    assert!(matches!(
        refusal(Request { sampling, ..request(prompt(3), 1) }),
        Error::Parameter { parameter: "logit_bias", .. }
    ));
}

fn at(temperature: f32) -> SamplingParams {
    SamplingParams { temperature, ..SamplingParams::default() }
}
