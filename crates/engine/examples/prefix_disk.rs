//! A long prompt that comes back from the disk, beside computing it.
//!
//! `cargo run --release -p gptoss-engine --example prefix_disk -- gpt-oss-20b 4096 FOLDER` takes random
//! weights of that shape, or the checkpoint in a folder, computes a prompt, makes a new engine over the same
//! folder and asks again. Both must say the same.

#![expect(clippy::disallowed_methods, reason = "a program with arguments of its own")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_engine::{Completion, Engine, PrefixDisk, Request};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};

const NEW_TOKENS: usize = 4;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, tokens, folder] = &args[..] else { panic!("PRESET|CHECKPOINT TOKENS FOLDER") };
    let tokens: usize = tokens.parse().expect("a number of tokens");
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let checkpoint = open(model);
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(threads), &mut |_, _| {}).expect("loads");
    let model = Arc::new(model);
    let ask = |what: &str| {
        let disk = PrefixDisk::open(Path::new(folder), "random weights", 64 << 30).expect("a folder");
        let mut engine = Engine::new(Arc::clone(&model), tokens + NEW_TOKENS).with_disk(disk);
        let prompt = (0..tokens).map(|i| (i * 7919 % 500) as u32).collect();
        let request = Request { prompt, max_new_tokens: NEW_TOKENS, ..Request::default() };
        let start = Instant::now();
        let mut first = None;
        let mut note_first = |event: gptoss_engine::Event| {
            if matches!(event, gptoss_engine::Event::Token(_)) {
                first.get_or_insert_with(|| start.elapsed());
            }
        };
        let answer = engine.generate(request, &AtomicBool::new(false), &mut note_first).expect("runs");
        let Completion { tokens, logprobs, usage, .. } = answer;
        let seconds = first.map_or(0.0, |first| first.as_secs_f64());
        println!(
            "{what}: first token after {seconds:.2} s, {} of {} tokens cached",
            usage.cached_tokens, usage.prompt_tokens
        );
        let writing = Instant::now();
        drop(engine);
        println!("  writing went on for {:.2} s", writing.elapsed().as_secs_f64());
        (tokens, logprobs, seconds)
    };
    let computed = ask("computed");
    let read = ask("read back");
    assert_eq!((&computed.0, &computed.1), (&read.0, &read.1), "the same tokens and log-probabilities");
    println!("{:.1} times faster, bit-equal", computed.2 / read.2);
}

/// A folder's checkpoint, or random weights of a preset.
fn open(model: &str) -> Checkpoint {
    match model.parse::<Preset>() {
        Ok(preset) => Checkpoint::synthetic(preset, 1, None).expect("makes the weights"),
        Err(_) => Checkpoint::open(Path::new(model)).expect("a preset, such as gpt-oss-20b, or a folder"),
    }
}
