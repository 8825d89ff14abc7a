//! What a client demands comes whole, or the client's own limit came first and the client is told.
//!
//! Every demand is asked for at every effort, with small limits and none, by every API, streamed and not: of
//! the demo, at temperature 1 and at 2, where it wanders off, and of random weights, which end nothing. What
//! comes is judged by another implementation of JSON Schema than the one that held it, and must be the same
//! streamed and not. `GPTOSS_FORCED_SEEDS=n` asks with that many seeds, `GPTOSS_FORCED_SEED=n` with one.

mod demand;
mod told;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::http::post;
use crate::real;
use crate::server::Server;

use demand::{Api, Asked, DEMANDS, Demand};
use told::{Told, Verdict};

const EFFORTS: [&str; 3] = ["low", "medium", "high"];
const MAX_TOKENS: [Option<usize>; 4] = [Some(16), Some(64), Some(256), None];
/// Requests that are under way at a time.
const CLIENTS: usize = 16;
/// Failures that are shown.
const SHOWN_MAX: usize = 10;

/// How many answers were whole, and how many cut, by what was asked for.
type Tally = BTreeMap<(Api, Demand, Option<usize>), (usize, usize)>;

#[expect(clippy::disallowed_methods, reason = "a test has no arguments")]
fn seeds(default: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("GPTOSS_FORCED_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("GPTOSS_FORCED_SEEDS").unwrap_or(default)).collect(),
    }
}

fn matrix(seeds: &[u64], apis: &[Api]) -> Vec<Asked> {
    let mut all = Vec::new();
    for &seed in seeds {
        for &api in apis {
            for demand in DEMANDS {
                for effort in EFFORTS {
                    for max_tokens in MAX_TOKENS {
                        // Messages has no requests without a limit.
                        if api != Api::Messages || max_tokens.is_some() {
                            all.push(Asked { api, demand, effort, max_tokens, seed });
                        }
                    }
                }
            }
        }
    }
    all
}

/// Asks, streamed and not.
///
/// Errors: what is wrong with the answer.
fn ask(server: &Server, asked: &Asked) -> Result<(Verdict, Told), String> {
    let mut tellings = Vec::new();
    for is_streamed in [false, true] {
        let answer = post(server.address, asked.path(), &asked.body(is_streamed));
        if answer.status != 200 {
            return Err(format!("{}: {}", answer.status, answer.body));
        }
        let told = Told::read(asked.api, &answer, is_streamed);
        let verdict = told.judge(asked).map_err(|problem| format!("streamed {is_streamed}: {problem}"))?;
        tellings.push((verdict, told));
    }
    let [body, stream] = <[_; 2]>::try_from(tellings).expect("two");
    if body.1.plain() != stream.1.plain() {
        return Err(format!("{} and streamed {}", body.1.plain(), stream.1.plain()));
    }
    Ok(body)
}

/// Asks for everything; nothing is wrong.
fn hold(name: &str, server: &Server, all: &[Asked]) -> Tally {
    let next = AtomicUsize::new(0);
    let (tally, failures) = (Mutex::new(Tally::new()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(asked) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            match ask(server, asked) {
                Ok((verdict, _)) => {
                    let mut tally = tally.lock().unwrap();
                    let (whole, cut) = tally.entry((asked.api, asked.demand, asked.max_tokens)).or_default();
                    *(if verdict == Verdict::Whole { whole } else { cut }) += 2;
                }
                Err(problem) => failures.lock().unwrap().push(format!("{asked:?}: {problem}")),
            }
        }
    };
    thread::scope(|scope| {
        (0..CLIENTS).for_each(|_| drop(scope.spawn(work)));
    });
    let (tally, failures) = (tally.into_inner().unwrap(), failures.into_inner().unwrap());
    let (mut num_whole, mut num_cut) = (0, 0);
    for ((api, demand, max_tokens), (whole, cut)) in &tally {
        let max = max_tokens.map_or("none".to_owned(), |max| max.to_string());
        println!("{name}: {api:?} {demand:?}, limit {max}: {whole} whole, {cut} cut and told");
        (num_whole, num_cut) = (num_whole + whole, num_cut + cut);
    }
    let num_seeds = all.iter().map(|asked| asked.seed).max().map_or(0, |seed| seed + 1);
    println!(
        "{name}, seeds below {num_seeds}: {num_whole} whole, {num_cut} cut by the limit, {} others",
        failures.len()
    );
    let shown: Vec<&String> = failures.iter().take(SHOWN_MAX).collect();
    assert!(failures.is_empty(), "{} failures, GPTOSS_FORCED_SEED=n repeats one: {shown:#?}", failures.len());
    tally
}

fn assert_limits(tally: &Tally, whole_from: usize) {
    for ((api, demand, max_tokens), (whole, cut)) in tally {
        assert!(whole + cut > 0);
        if max_tokens.is_none_or(|max| max >= whole_from) {
            assert_eq!(*cut, 0, "{api:?} {demand:?} {max_tokens:?}");
        }
    }
}

#[test]
fn the_demo_does_what_is_demanded() {
    // One seed, whatever is asked of the long walks: all that it asks for is shorter than the limits from
    // 256.
    let all = matrix(&[0], &[Api::Chat, Api::Responses, Api::Messages]);
    assert_limits(&hold("demo", &real::demo(), &all), 256);
}

#[test]
#[ignore = "a minute, by hand"]
fn the_demo_does_what_is_demanded_with_many_seeds() {
    let all = matrix(&seeds(4), &[Api::Chat, Api::Responses]);
    // The form of 24 fields, which some of these seeds ask for, is longer than any of the limits.
    assert_limits(&hold("demo", &real::demo(), &all), usize::MAX);
}

#[test]
#[ignore = "a minute, by hand"]
fn random_weights_do_what_is_demanded() {
    let all = matrix(&seeds(1), &[Api::Chat, Api::Responses, Api::Messages]);
    assert_limits(&hold("random weights", &real::random(1), &all), usize::MAX);
}

/// Reasoning that goes round in circles is ended, the client is told, and the answer follows.
#[test]
fn circles_are_broken_and_an_answer_follows() {
    let server = real::circling();
    let all = matrix(&(0..6).collect::<Vec<_>>(), &[Api::Chat, Api::Responses]);
    // Under a limit there is no room for a circle.
    for asked in all.into_iter().filter(|asked| asked.max_tokens.is_none() && asked.effort == "high") {
        let (verdict, told) = ask(&server, &asked).unwrap_or_else(|problem| panic!("{asked:?}: {problem}"));
        assert_eq!(verdict, Verdict::Whole, "{asked:?}");
        assert!((256..300).contains(&told.reasoning_tokens), "{asked:?}: {told:?}");
        let warnings = told.warnings.unwrap_or_default();
        assert!(warnings.iter().any(|warning| warning.contains("it repeated itself")), "{warnings:?}");
    }
    let plain = json!({"messages": [{"role": "user", "content": "What is 27 + 58?"}]});
    let answer = post(server.address, "/v1/chat/completions", &plain).json();
    assert_eq!(answer["choices"][0]["finish_reason"], "stop", "{answer}");
    assert!(
        answer["warnings"][0].as_str().is_some_and(|text| text.contains("it repeated itself")),
        "{answer}"
    );
}
