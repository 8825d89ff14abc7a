//! What hostile grammars cost: the time to compile each, or to be refused, then the masks of sixty tokens,
//! and the largest memory so far.
//!
//! `cargo run --release -p gptoss-constrain --example compile_cost -- [PART OF A NAME]` takes the published
//! vocabulary.

#![expect(clippy::disallowed_methods, reason = "a program with arguments of its own")]

#[path = "../tests/constrain/hostile_cases.rs"]
mod hostile_cases;

use std::time::{Duration, Instant};

use gptoss_constrain::{Body, Constraint, Limits, Reasoning, Spec, TokenTable, compile, is_allowed};
use gptoss_harmony::Vocab;

const TOKENS: usize = 60;

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let vocab = Vocab::o200k_harmony();
    let table = TokenTable::new(vocab).expect("it has all bytes");
    let limits = Limits { compile_time_max: Duration::from_secs(600), ..Limits::default() };
    // The first grammar of a vocabulary makes its trie.
    let first = Spec { answer: Body::JsonObject, ..Spec::default() };
    compile(&table, first, &limits).expect("a good grammar");
    for (name, answer) in hostile_cases::hostile() {
        if !name.contains(&only) {
            continue;
        }
        let reasoning = Reasoning { budget: Some(0), preambles: false };
        let spec = Spec { answer, reasoning, ..Spec::default() };
        let started = Instant::now();
        let outcome = compile(&table, spec, &limits);
        let compiling = started.elapsed().as_millis();
        let told = match outcome {
            Ok(compiled) => masks(&mut Constraint::new(&compiled)),
            Err(error) => error.to_string(),
        };
        println!("{name}: compiled in {compiling} ms; {told}; {} MiB at most so far", memory_mib());
    }
}

/// Walks as a text would: the token of the middle of each mask.
fn masks(constraint: &mut Constraint) -> String {
    let (mut total, mut worst) = (Duration::ZERO, Duration::ZERO);
    let mut end = "went on".to_owned();
    while constraint.num_committed() < TOKENS && !constraint.is_over() {
        let started = Instant::now();
        let mask = constraint.allowed().map(<[u32]>::to_vec);
        let time = started.elapsed();
        (total, worst) = (total + time, worst.max(time));
        let mask = match mask {
            Ok(mask) => mask,
            Err(error) => {
                end = error.to_string();
                break;
            }
        };
        let allowed: Vec<u32> = (0..mask.len() as u32 * 32).filter(|&id| is_allowed(&mask, id)).collect();
        if let Err(error) = constraint.commit(allowed[allowed.len() / 2]) {
            end = error.to_string();
            break;
        }
    }
    let tokens = constraint.num_committed();
    format!(
        "{tokens} masks: {:.1} ms each, worst {:.1} ms; {end}",
        total.as_secs_f64() * 1e3 / tokens.max(1) as f64,
        worst.as_secs_f64() * 1e3
    )
}

fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
