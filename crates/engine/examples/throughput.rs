//! The rate of many sequences that decode together, and what a long prompt does to its neighbors.
//!
//! `cargo run --release -p gptoss-engine --example throughput -- gpt-oss-20b 8` takes random weights of that
//! shape, or the checkpoint in a folder, and prints, for 1, 2, 4, ... sequences, the tokens per second of all
//! together; then the time between tokens of the neighbors of a prompt of 2,000 tokens.

#![expect(clippy::disallowed_methods, reason = "a program with arguments of its own")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_engine::{Engine, EngineHandle, EngineOptions, Event, EventStream, Request, Speculation};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};

const PROMPT_TOKENS: usize = 32;
const NEW_TOKENS: usize = 24;
const LONG_PROMPT_TOKENS: usize = 2_000;

fn main() {
    let mut args = std::env::args().skip(1);
    let model = args.next().unwrap_or_default();
    let most: usize = args.next().map_or(8, |count| count.parse().expect("a number of sequences"));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let checkpoint = open(&model);
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(threads), &mut |_, _| {}).expect("loads");
    let options =
        EngineOptions { speculation: Speculation::Off, max_sequences: most + 1, ..EngineOptions::new(4096) };
    let engine = Engine::with_options(Arc::new(model), options).expect("fits");
    let (handle, _thread) = engine.spawn().expect("a thread");
    let mut count = 1;
    let mut alone = None;
    while count <= most {
        let rate = decode_rate(&handle, count);
        let alone = *alone.get_or_insert(rate);
        println!("{count} sequences: {rate:.2} tokens/s together, {:.2} times one", rate / alone);
        count *= 2;
    }
    beside_a_long_prompt(&handle, most.min(4));
}

fn request(n: usize, prompt_tokens: usize, max_new_tokens: usize) -> Request {
    let prompt = (0..prompt_tokens).map(|i| ((i * 7919 + n * 104_729) % 500) as u32).collect();
    Request { prompt, max_new_tokens, ..Request::default() }
}

/// When each token of a ticket came.
fn times(ticket: &mut EventStream) -> Vec<Instant> {
    let mut times = Vec::new();
    while let Some(event) = ticket.next_event() {
        if let Event::Token(_) = event {
            times.push(Instant::now());
        }
    }
    times
}

fn all_times(tickets: Vec<EventStream>) -> Vec<Vec<Instant>> {
    std::thread::scope(|scope| {
        let readers: Vec<_> =
            tickets.into_iter().map(|mut ticket| scope.spawn(move || times(&mut ticket))).collect();
        readers.into_iter().map(|reader| reader.join().expect("reads")).collect()
    })
}

/// Tokens per second from the moment that all decode until the first is done.
fn decode_rate(handle: &EngineHandle, count: usize) -> f64 {
    let submit =
        |n| handle.submit(request(count * 100 + n, PROMPT_TOKENS, NEW_TOKENS + 2 * n)).expect("room");
    let times = all_times((0..count).map(submit).collect());
    let start = times.iter().filter_map(|times| times.first()).max().expect("tokens");
    let end = times.iter().filter_map(|times| times.last()).min().expect("tokens");
    let tokens = times.iter().flatten().filter(|time| *time > start && *time <= end).count();
    tokens as f64 / (*end - *start).as_secs_f64()
}

fn beside_a_long_prompt(handle: &EngineHandle, neighbors: usize) {
    let tickets =
        (0..neighbors).map(|n| handle.submit(request(7000 + n, PROMPT_TOKENS, 60)).expect("room")).collect();
    let (times, long) = std::thread::scope(|scope| {
        let neighbors = scope.spawn(|| all_times(tickets));
        std::thread::sleep(Duration::from_secs(2));
        let start = Instant::now();
        let mut long = handle.submit(request(9000, LONG_PROMPT_TOKENS, 1)).expect("room");
        while long.next_event().is_some() {}
        (neighbors.join().expect("reads"), (start, Instant::now()))
    });
    let gaps = |inside: bool| {
        let mut gaps: Vec<f64> = times
            .iter()
            .flat_map(|times| times.windows(2))
            .filter(|pair| (pair[1] > long.0 && pair[0] < long.1) == inside)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3)
            .collect();
        gaps.sort_by(f64::total_cmp);
        gaps
    };
    for (inside, when) in [(false, "without"), (true, "beside")] {
        let gaps = gaps(inside);
        if let (Some(median), Some(longest)) = (gaps.get(gaps.len() / 2), gaps.last()) {
            println!(
                "{neighbors} sequences {when} a prompt of {LONG_PROMPT_TOKENS}: {median:.0} ms between tokens, at most {longest:.0} ms"
            );
        }
    }
    println!("the prompt took {:.1} s", (long.1 - long.0).as_secs_f64());
}

/// A folder's checkpoint, or random weights of a preset.
fn open(model: &str) -> Checkpoint {
    match model.parse::<Preset>() {
        Ok(preset) => Checkpoint::synthetic(preset, 1, None).expect("makes the weights"),
        Err(_) => Checkpoint::open(Path::new(model)).expect("a preset, such as gpt-oss-20b, or a folder"),
    }
}
