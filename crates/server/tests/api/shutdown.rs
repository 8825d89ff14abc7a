//! Clients that go away and servers that go away: every request that was taken ends once.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use gptoss_server::{Keys, Limits};
use serde_json::json;

use crate::chat::ANSWER;
use crate::http::{get, send};
use crate::scripted::Script;
use crate::server::Server;

/// How long something may take that takes no time.
const PATIENCE: Duration = Duration::from_secs(20);

fn slow() -> Script {
    let mut script = Script::new(&[ANSWER]);
    script.pause = Duration::from_millis(20);
    script
}

pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_client_that_goes_away_ends_its_turn() {
    for (path, body) in [
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "hi"}], "stream": true})),
        ("/v1/responses", json!({"input": "hi", "stream": true})),
        ("/v1/responses", json!({"input": "hi"})),
    ] {
        let mut script = slow();
        // Longer than the test: only a cancelled turn ends in time.
        script.texts = vec![format!("<|channel|>final<|message|>{}<|return|>", "word ".repeat(5000))];
        let server = Server::with(script, Limits::default(), Keys::default());
        let mut stream = send(server.address, "POST", path, &[], &body.to_string());
        if body["stream"] == true {
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).unwrap();
        } else {
            eventually("the turn begins", || !server.prompts.lock().unwrap().is_empty());
        }
        drop(stream);
        let is_over =
            || get(server.address, "/metrics").body.lines().any(|line| line == "gptoss_turns_running 0");
        eventually("the turn ends", is_over);
    }
}

#[test]
fn a_server_that_stops_lets_what_runs_end() {
    let mut server = Server::with(slow(), Limits::default(), Keys::default());
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "stream": true}).to_string();
    let streams: Vec<_> =
        (0..8).map(|_| send(server.address, "POST", "/v1/chat/completions", &[], &body)).collect();
    eventually("the turns begin", || server.prompts.lock().unwrap().len() == 8);
    server.tell_to_stop();
    for mut stream in streams {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.contains("\"finish_reason\":\"stop\"") && text.contains("[DONE]"), "{text}");
    }
    server.join();
}

#[test]
fn what_does_not_end_in_time_is_ended() {
    let mut script = slow();
    script.texts = vec![format!("<|channel|>final<|message|>{}<|return|>", "word ".repeat(5000))];
    let limits = Limits { drain: Duration::from_millis(200), ..Limits::default() };
    let mut server = Server::with(script, limits, Keys::default());
    let body = json!({"input": "hi", "stream": true}).to_string();
    let mut stream = send(server.address, "POST", "/v1/responses", &[], &body);
    eventually("the turn begins", || !server.prompts.lock().unwrap().is_empty());
    server.tell_to_stop();
    let mut text = String::new();
    // The scripted engine does not hear of the abort; the connection must end all the same.
    let _ = stream.read_to_string(&mut text);
    server.join();
}
