//! What is reserved, what is charged, and what clients are told of it, whatever becomes of a request.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gptoss_govern::Digest;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;

use super::{admin, ask, entries, key, ruled, secret, see, used};
use crate::chat::ANSWER;
use crate::http::send;
use crate::scripted::{FAILS, Script};
use crate::shutdown::eventually;

fn chat(max_tokens: u64) -> Value {
    json!({"messages": [{"role": "user", "content": "What is 27 + 58?"}], "max_tokens": max_tokens})
}

/// Whoever has spent a budget is told so in a way that no client tries again, and in its dialect.
#[test]
fn a_budget_that_is_spent_is_a_quota() {
    let rules = key("one", "max_budget = { tokens = 400 }\nbudget_duration = \"1d\"") + &admin();
    let server = ruled(&rules, Script::new(&[ANSWER]));
    let mut spent = 0;
    let refused = loop {
        let answer = ask(server.address, "one", "/v1/chat/completions", &chat(30));
        if answer.status != 200 {
            break answer;
        }
        spent += answer.json()["usage"]["total_tokens"].as_u64().unwrap();
        assert!(spent <= 400, "{spent}");
        let (requests, read, written) = used(server.address, "one");
        assert!(requests > 0 && read + written == spent, "{spent}: {read} {written}");
    };
    assert!(spent > 200, "{spent}");
    let error = refused.json()["error"].clone();
    assert_eq!(
        (refused.status, &error["code"], &error["type"]),
        (429, &json!("insufficient_quota"), &json!("insufficient_quota"))
    );
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert!(refused.header("retry-after").is_some() && refused.header("retry-after-ms").is_some());
    let message = json!({"max_tokens": 300, "messages": [{"role": "user", "content": "hi"}]});
    let answer = ask(server.address, "one", "/v1/messages", &message);
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (429, &json!("rate_limit_error")));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    for (path, body) in [
        ("/v1/responses", json!({"input": "hi", "max_output_tokens": 300})),
        ("/v1/completions", json!({"prompt": "hi", "max_tokens": 400})),
        ("/api/chat", json!({"model": "scripted", "messages": [{"role": "user", "content": "hi"}]})),
    ] {
        assert_eq!(ask(server.address, "one", path, &body).status, 429, "{path}");
    }
    let entry = entries(server.address, "/v1/chat/completions").pop().unwrap();
    assert_eq!((&entry["decision"], &entry["status"]), (&json!("refused"), &json!(429)), "{entry}");
    assert!(entry["reason"].as_str().unwrap().starts_with("budget: "), "{entry}");
}

/// A request is charged what it computed until its client went away; nothing, when no token was written.
#[test]
fn a_cancelled_request_is_charged_what_was_computed() {
    let more =
        "scopes = [\"infer\", \"raw_reasoning\"]\nmax_budget = { tokens = 100_000 }\ntpm_limit = 100_000";
    let rules = key("one", more) + &admin();
    // It would take seconds to its end, and the client leaves at the first words.
    let long = ANSWER.replace("85", &"85 ".repeat(500));
    let mut script = Script::new(&[&long]);
    script.pause = Duration::from_millis(10);
    let server = ruled(&rules, script);
    let bearer = format!("Bearer {}", secret("one"));
    for (number, path) in ["/v1/chat/completions", "/v1/responses", "/v1/messages"].into_iter().enumerate() {
        let mut body = json!({"stream": true, "max_tokens": 1000, "input": "hi"});
        body["messages"] = json!([{"role": "user", "content": "hi"}]);
        if path == "/v1/responses" {
            body["messages"].take();
        }
        let headers = [("authorization", bearer.as_str())];
        let mut stream = send(server.address, "POST", path, &headers, &body.to_string());
        let mut text = String::new();
        let mut bytes = [0; 512];
        while !text.contains("Add") && !text.contains("It") {
            let count = stream.read(&mut bytes).unwrap();
            assert!(count > 0, "{path}: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        drop(stream);
        eventually("the end", || used(server.address, "one").0 == number as u64 + 1);
        let entry = entries(server.address, path).pop().unwrap();
        let output = entry["output_tokens"].as_u64().unwrap();
        assert!((1..500).contains(&output) && entry["input_tokens"].as_u64() > Some(10), "{path}: {entry}");
        assert_eq!(entry["charged_tokens"].as_u64(), Some(output + entry["input_tokens"].as_u64().unwrap()));
    }
}

/// Before the first token nothing is charged, whoever broke it off; a place is free again.
#[test]
fn what_wrote_nothing_costs_nothing() {
    let rules = key("one", "max_budget = { tokens = 1000 }\nmax_parallel_requests = 1") + &admin();
    let script = Script::new(&[FAILS, ANSWER]);
    let is_busy = std::sync::Arc::clone(&script.is_busy);
    is_busy.store(true, Ordering::Relaxed);
    let server = ruled(&rules, script);
    let bearer = format!("Bearer {}", secret("one"));
    let held = || {
        let headers = [("authorization", bearer.as_str())];
        send(server.address, "POST", "/v1/chat/completions", &headers, &chat(50).to_string())
    };
    let waiting = std::cell::RefCell::new(held());
    let second = || ask(server.address, "one", "/v1/chat/completions", &chat(50));
    eventually("the only place is taken", || {
        let answer = ask(server.address, "one", "/v1/tokenize", &json!({"prompt": "hi"}));
        let is_taken = answer.status == 429 && answer.header("retry-after-ms") == Some("1000");
        if !is_taken {
            // This one may have had the place when that came, and refused it.
            waiting.replace(held());
        }
        is_taken
    });
    drop(waiting);
    is_busy.store(false, Ordering::Relaxed);
    eventually("the place is free", || {
        ask(server.address, "one", "/v1/tokenize", &json!({"prompt": "hi"})).status == 200
    });
    assert_eq!(used(server.address, "one").2, 0, "nothing is charged yet");
    eventually("an answer", || second().status == 200);
    let (_, read, written) = used(server.address, "one");
    assert!(read > 0 && written > 0);
    let all = entries(server.address, "/v1/chat/completions");
    let statuses: Vec<u64> = all.iter().map(|entry| entry["status"].as_u64().unwrap()).collect();
    // The turn may have failed before it was seen that its client is gone.
    let broke_off = statuses.iter().any(|status| [499, 500].contains(status));
    assert!(broke_off && statuses.last() == Some(&200), "{statuses:?}");
    let charged: u64 = all.iter().map(|entry| entry["charged_tokens"].as_u64().unwrap()).sum();
    assert_eq!(charged, read + written);
}

/// Requests that nobody waits for, connections and batches are counted as others are.
#[test]
fn all_ways_to_ask_are_counted() {
    let rules = key("one", "max_budget = { tokens = 1_000_000 }") + &admin();
    let server = ruled(&rules, Script::new(&[ANSWER]));
    let (address, bearer) = (server.address, format!("Bearer {}", secret("one")));
    let background = ask(address, "one", "/v1/responses", &json!({"input": "hi", "background": true}));
    assert_eq!(background.status, 200, "{}", background.body);
    eventually("the background", || used(address, "one").0 == 1);
    let path = format!("/v1/responses/{}", background.json()["id"].as_str().unwrap());
    eventually("its end", || see(address, "one", &path).json()["status"] == "completed");
    let mut request = format!("ws://{address}/v1/responses").into_client_request().unwrap();
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    let stream = std::net::TcpStream::connect(address).unwrap();
    let (mut socket, _) = tungstenite::client(request, stream).unwrap();
    let create = json!({"type": "response.create", "model": "scripted", "input": "hi"}).to_string();
    socket.send(tungstenite::Message::text(create)).unwrap();
    while !socket.read().unwrap().to_string().contains("response.completed") {}
    eventually("the connection's", || used(address, "one").0 == 2);
    let compacted = json!({"model": "scripted", "input": [
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}, {"role": "user", "content": "so?"}]});
    assert_eq!(ask(address, "one", "/v1/responses/compact", &compacted).status, 200);
    eventually("the summary", || used(address, "one").0 == 3);
    assert_eq!(see(address, "one", "/v1/models").status, 200);
    assert_eq!(used(address, "one").0, 3, "what asks no model is no request to one");
    let all: u64 =
        entries(address, "/v1/responses").iter().map(|entry| entry["output_tokens"].as_u64().unwrap()).sum();
    assert!(all > 20, "{all}");
}

/// The lines of a batch are requests of its key, by the rules that hold when each is answered.
#[test]
fn the_lines_of_a_batch_are_counted_one_by_one() {
    let one = Digest::of("secret-one").to_hex();
    assert_eq!(one.len(), 64);
    let server = ruled(&(key("one", "max_budget = { tokens = 220 }") + &admin()), Script::new(&[ANSWER]));
    let address = server.address;
    let body =
        json!({"model": "scripted", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 30});
    let lines: String =
        (0..6).map(|n| crate::batches::line(&format!("q{n}"), "/v1/chat/completions", &body)).collect();
    let form = crate::files::form(&[("purpose", "batch")], Some(&lines));
    let headers = format!("authorization: Bearer {}\r\n", secret("one"));
    let file = crate::files::post_form(address, &headers, &form).json();
    let create =
        json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let batch = ask(address, "one", "/v1/batches", &create).json();
    let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
    eventually("the batch", || see(address, "one", &path).json()["status"] == "completed");
    let counts = see(address, "one", &path).json()["request_counts"].clone();
    let (completed, failed) = (counts["completed"].as_u64().unwrap(), counts["failed"].as_u64().unwrap());
    assert!(completed >= 1 && failed >= 1 && completed + failed == 6, "{counts}");
    let (requests, read, written) = used(address, "one");
    assert!(requests == completed && read + written <= 220, "{requests} {read} {written}");
}
