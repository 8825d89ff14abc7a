//! What one tenant can learn of another by what is kept of prompts: nothing, in tokens and in steps; how long
//! answers take is measured by hand.

use std::path::Path;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::program::{ended, gptoss};
use crate::serve::Server;
use crate::with_adapter::written;

const KEYS: &str = "sk-0123456789abcdef name=a\nsk-fedcba9876543210 name=b\n";
const A: &str = "sk-0123456789abcdef";
const B: &str = "sk-fedcba9876543210";
/// Trials of each kind that are measured by hand.
const TRIALS: usize = 200;

/// A server of two tenants, which keeps prompts in memory, or in a folder too.
fn server(folder: &Path, more: &[&str]) -> Server {
    let keys = folder.join("keys");
    std::fs::write(&keys, KEYS).unwrap();
    let mut command = gptoss(&["serve", "--port", "0", "--quiet", "--context", "512"]);
    command.args(["--api-key-file", keys.to_str().unwrap()]).args(more);
    Server::of(command)
}

/// A prompt of about 300 tokens that nobody has sent.
fn prompt(random: &mut StdRng) -> String {
    (0..24)
        .map(|_| format!("What is {} + {}? ", random.random_range(10..100), random.random_range(10..100)))
        .collect()
}

/// What a prompt took: tokens that were known, and steps of the engine.
fn took(server: &Server, key: &str, text: &str) -> (u64, u64) {
    took_by(server, key, "demo", text)
}

/// The same by a model or an adapter.
fn took_by(server: &Server, key: &str, model: &str, text: &str) -> (u64, u64) {
    let before = steps(server);
    let head = format!("content-type: application/json\r\nauthorization: Bearer {key}\r\n");
    let messages = json!([{"role": "user", "content": text}]);
    let body = json!({"model": model, "messages": messages, "max_tokens": 1, "temperature": 0});
    let answer = server.ask("POST", "/v1/chat/completions", &head, &body.to_string()).unwrap();
    let (_, answer) = answer.split_once("\r\n\r\n").unwrap();
    let answer: Value = serde_json::from_str(answer).unwrap();
    let cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
    (cached.unwrap_or_else(|| panic!("{answer}")), steps(server) - before)
}

/// Steps of the engine, as soon as it has counted all that it was asked.
fn steps(server: &Server) -> u64 {
    loop {
        let page = server.ask("GET", "/metrics", &format!("authorization: Bearer {A}\r\n"), "").unwrap();
        let count = |name: &str| -> u64 {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
        };
        let is_idle =
            count("gptoss_engine_requests_accepted_total") == count("gptoss_engine_requests_ended_total");
        if is_idle && count("gptoss_engine_sequences_running") == 0 {
            return count("gptoss_engine_steps_total");
        }
        std::thread::yield_now();
    }
}

/// What all prompts begin with is known to each tenant from its own, after a few. What it then takes for a
/// prompt that nobody has sent.
fn usual(server: &Server, key: &str, random: &mut StdRng) -> (u64, u64) {
    (0..4).map(|_| took(server, key, &prompt(random))).last().unwrap()
}

/// What B takes for each of A's prompts is what it takes for one that nobody has sent; A finds its own. In
/// memory, and after a stop on disk.
#[test]
fn a_tenants_prompts_are_known_to_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("prompts");
    let disk = ["--kv-disk", disk.to_str().unwrap()];
    let mut random = StdRng::seed_from_u64(18);
    let prompts: Vec<String> = (0..20).map(|_| prompt(&mut random)).collect();
    let stop = |mut server: Server| {
        kill_process(Pid::from_child(&server.child), Signal::TERM).unwrap();
        assert!(ended(&mut server.child).success());
    };
    let walk = |server: &Server, place: &str, is_kept: bool, random: &mut StdRng| {
        let own = [A, B].map(|key| usual(server, key, random));
        for text in &prompts {
            let first = took(server, A, text);
            assert_eq!(first.0 > 200, is_kept, "{place}: A's own prompt, {first:?} beside {own:?}");
            let theirs = took(server, B, text);
            assert_eq!(theirs, own[1], "{place}: what A has sent is not what nobody has");
            let again = took(server, A, text);
            assert!(again.0 > 200 && again.1 <= own[0].1, "{place}: {again:?} beside {own:?}");
        }
    };
    walk(&server(folder.path(), &[]), "in memory", false, &mut random);
    let first = server(folder.path(), &disk);
    for text in &prompts {
        took(&first, A, text);
    }
    stop(first);
    walk(&server(folder.path(), &disk), "on disk", true, &mut random);
}

/// The share of pairs in which one of `few` is less than one of `many`; ties count as half.
fn auc(few: &[f64], many: &[f64]) -> f64 {
    let pairs = few.iter().flat_map(|one| many.iter().map(move |other| (one, other)));
    let less: f64 = pairs
        .map(|(one, other)| {
            if one < other {
                1.0
            } else if one == other {
                0.5
            } else {
                0.0
            }
        })
        .sum();
    less / (few.len() * many.len()) as f64
}

/// How long B took for what A had asked and for what nobody had, and A for its own.
#[derive(Default)]
struct Times {
    theirs: Vec<f64>,
    fresh: Vec<f64>,
    own: Vec<f64>,
}

impl Times {
    /// One trial: B asks what A has `sent` and what nobody has, in an order that is drawn, so that whatever
    /// else the machine does is in both; then A asks its own.
    fn add(&mut self, server: &Server, random: &mut StdRng, sent: (&str, &str), unsent: (&str, &str)) {
        let timed = |key: &str, (model, text): (&str, &str)| {
            let begun = Instant::now();
            took_by(server, key, model, text);
            begun.elapsed().as_secs_f64()
        };
        if random.random() {
            self.theirs.push(timed(B, sent));
            self.fresh.push(timed(B, unsent));
        } else {
            self.fresh.push(timed(B, unsent));
            self.theirs.push(timed(B, sent));
        }
        self.own.push(timed(A, sent));
    }

    fn told(&self, what: &str) {
        let (other, same) = (auc(&self.theirs, &self.fresh), auc(&self.own, &self.fresh));
        println!("{what}, {TRIALS} trials: AUC of another tenant {other:.3}, of the same one {same:.3}");
        assert!(other <= 0.55 && same >= 0.9, "{what}: {other:.3} and {same:.3}");
    }
}

/// How well a clock tells B which prompts A has sent, and A which are its own.
#[test]
#[ignore = "by hand: it measures time, which takes minutes and a machine that does nothing else"]
fn a_clock_tells_no_tenant_of_anothers_prompts() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &[]);
    let mut random = StdRng::seed_from_u64(18);
    let mut times = Times::default();
    for _ in 0..TRIALS {
        let (sent, unsent) = (prompt(&mut random), prompt(&mut random));
        took(&server, A, &sent);
        times.add(&server, &mut random, ("demo", &sent), ("demo", &unsent));
    }
    times.told("prompts in memory");
}

/// The same of prompts that a server before kept on disk: B reads before A does, so that nothing of it is in
/// memory.
#[test]
#[ignore = "by hand: it measures time, which takes minutes and a machine that does nothing else"]
fn a_clock_tells_no_tenant_of_anothers_prompts_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("prompts");
    let disk = ["--kv-disk", disk.to_str().unwrap()];
    let mut random = StdRng::seed_from_u64(18);
    let prompts: Vec<String> = (0..TRIALS).map(|_| prompt(&mut random)).collect();
    let mut first = server(folder.path(), &disk);
    for text in &prompts {
        took(&first, A, text);
    }
    kill_process(Pid::from_child(&first.child), Signal::TERM).unwrap();
    assert!(ended(&mut first.child).success());
    let server = server(folder.path(), &disk);
    let mut times = Times::default();
    for sent in &prompts {
        let unsent = prompt(&mut random);
        times.add(&server, &mut random, ("demo", sent), ("demo", &unsent));
    }
    times.told("prompts on disk");
}

/// Which of eight adapters A has used just before, and with which prompt: B asks by that adapter, and by
/// another that nobody has used since.
#[test]
#[ignore = "by hand: it measures time, which takes minutes and a machine that does nothing else"]
fn a_clock_tells_no_tenant_of_anothers_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = written(folder.path(), "tuned", 1, 0.2);
    let named: Vec<String> = (0..8).map(|number| format!("x{number}={adapter}")).collect();
    let flags: Vec<&str> = named.iter().flat_map(|name| ["--adapter", name]).collect();
    let server = server(folder.path(), &flags);
    let mut random = StdRng::seed_from_u64(18);
    let mut times = Times::default();
    for _ in 0..TRIALS {
        let used = random.random_range(0..8);
        let other = (used + random.random_range(1..8)) % 8;
        let (used, other) = (format!("demo:x{used}"), format!("demo:x{other}"));
        let (sent, unsent) = (prompt(&mut random), prompt(&mut random));
        took_by(&server, A, &used, &sent);
        times.add(&server, &mut random, (&used, &sent), (&other, &unsent));
    }
    times.told("adapters");
}
