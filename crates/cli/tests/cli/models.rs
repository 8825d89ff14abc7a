//! Several real models in one server: each answers as it does alone, and they keep to the memory of one.

use std::fs;

use serde_json::{Value, json};

use crate::program::run;
use crate::serve::Server;

/// Holds one of the models below and not two: each takes 135 to 165 MB with the program.
const BUDGET: &str = "200MB";
/// What may come on top of a process that has loaded a model before. Units: bytes.
const GROWTH_MAX: u64 = 30_000_000;

fn ask(name: &str) -> Value {
    json!({
        "model": name, "messages": [{"role": "user", "content": "What is 27 + 58?"}],
        "temperature": 1, "seed": 7, "max_tokens": 24, "logprobs": true,
    })
}

/// What a request's bytes are made of.
fn answer(server: &Server, name: &str) -> Value {
    let mut answer = server.post("/v1/chat/completions", &ask(name));
    let choice = answer["choices"][0].take();
    assert!(choice.is_object(), "{answer}");
    choice
}

fn states(server: &Server) -> Vec<String> {
    let listed = server.get("/v1/models");
    let rows = listed["data"].as_array().expect("a list");
    let state = |row: &Value| format!("{}: {}", row["id"], row["status"]["value"]).replace('"', "");
    rows.iter().map(state).collect()
}

fn resident_bytes(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// One of them was left in memory when the other came; both answered with other bytes would be worse.
#[test]
fn two_models_in_the_memory_of_one() {
    const TINY: &str = "noise=synthetic:tiny";
    let flags = ["--context", "512", "--memory", BUDGET];
    let alone = |model: &str| {
        let name = model.split('=').next().expect("a name");
        answer(&Server::start(&[&["--model", model], &flags[..]].concat()), name)
    };
    let (demo, noise) = (alone("one=demo"), alone(TINY));
    let both = ["--model", "one=demo", "--model", TINY, "--alias", "other=noise"];
    let server = Server::start(&[&both, &flags[..]].concat());
    assert_eq!(states(&server), ["one: unloaded", "noise: unloaded", "other: unloaded"]);
    let mut after_first = 0;
    for round in 0..4 {
        assert_eq!(answer(&server, "one"), demo, "round {round}");
        assert_eq!(states(&server), ["one: loaded", "noise: unloaded", "other: unloaded"]);
        assert_eq!(answer(&server, if round % 2 == 0 { "noise" } else { "other" }), noise, "round {round}");
        assert_eq!(states(&server), ["one: unloaded", "noise: loaded", "other: loaded"]);
        match round {
            0 => after_first = resident_bytes(&server),
            _ => {
                let grown = resident_bytes(&server).saturating_sub(after_first);
                assert!(grown < GROWTH_MAX, "round {round}: {grown} bytes stayed");
            }
        }
    }
}

#[test]
fn models_that_cannot_be_served_together_are_told_at_the_start() {
    let serve = |flags: &[&str]| run(&[&["serve", "--port", "0"], flags].concat());
    let two = ["--model", "a=demo", "--model", "b=demo"];
    serve(&["--model", "demo", "--model", "demo"])
        .fails(2, &["two models are called \"demo\"", "NAME=SOURCE"]);
    serve(&[&two[..], &["--memory", "100MB"]].concat()).fails(1, &["100", "too little for the demo"]);
    serve(&["--model", "demo", "--model", "b=no/such"]).fails(1, &["gptoss pull no/such"]);
}

#[test]
fn the_settings_know_several_models() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gptoss.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        run(&["config", "check", file.to_str().unwrap()])
    };
    let two = "[serve]\nmodel = [\"a=demo\", \"b=synthetic:tiny\"]\ncontext = 512\n";
    let said = check(two).ok();
    for fact in ["a: demo is there", "a takes ", "b takes ", "together at most"] {
        assert!(said.contains(fact), "{fact:?} in {said}");
    }
    let said = check("[serve]\nmodel = [\"a=demo\", \"a=demo\"]\n");
    assert!(said.code == 1 && said.stdout.contains("two models are called"), "{}", said.stdout);
    // `chat` and `run` take one.
    let said = check("model = [\"a=demo\", \"b=demo\"]\n");
    assert!(
        said.code == 1 && said.stdout.contains("`model` takes a string, found a list"),
        "{}",
        said.stdout
    );
}
