//! A word of a client's, in every field of requests that succeed, fail and are refused, stands nowhere but in
//! the client's own answers and in what it stored.

use std::fs;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use gptoss_server::{App, Traces};
use serde_json::{Value, json};

use super::{admin, audit, changed, entries, governance, key, secret, see};
use crate::chat::ANSWER;
use crate::http::request;
use crate::scripted::{FAILS, Script};
use crate::shutdown::eventually;
use crate::tool_host::{PANICS, TestHost};
use crate::tools::call;

const CANARY: &str = "zanzibar7f3a";

/// Bodies with the word in every field that takes text, and paths and headers with it.
fn bodies() -> Vec<(&'static str, String, Value)> {
    let c = CANARY;
    let tool = json!({"type": "function", "function": {"name": c, "description": c,
        "parameters": {"type": "object", "title": c, "properties": {c: {"type": "string", "description": c}}}}});
    let flat = json!({"type": "function", "name": c, "description": c, "parameters": {"type": "object", "title": c}});
    let chat = json!({"model": "scripted", "messages": [{"role": "developer", "content": c, "name": c},
        {"role": "user", "content": c, "name": c}], "user": c, "stop": [c], "metadata": {c: c},
        "tools": [tool], "safety_identifier": c, "prompt_cache_key": c, "max_tokens": 20, c: c});
    let responses = json!({"model": "scripted", "input": [{"role": "user", "content": c, "id": c}],
        "instructions": c, "metadata": {c: c}, "user": c, "tools": [flat], "prompt_cache_key": c,
        "max_output_tokens": 20, c: c});
    let messages = json!({"model": "scripted", "max_tokens": 20, "system": c, "metadata": {"user_id": c},
        "messages": [{"role": "user", "content": c}], "stop_sequences": [c],
        "tools": [{"name": c, "description": c, "input_schema": {"type": "object", "title": c}}]});
    let mut list = vec![
        ("POST", "/v1/chat/completions".to_owned(), chat.clone()),
        ("POST", "/v1/responses".to_owned(), responses.clone()),
        ("POST", "/v1/messages".to_owned(), messages),
        ("POST", "/v1/completions".to_owned(), json!({"prompt": c, "stop": c, "user": c, "max_tokens": 20})),
        (
            "POST",
            "/api/chat".to_owned(),
            json!({"model": "scripted", "stream": false,
            "messages": [{"role": "user", "content": c}]}),
        ),
        ("POST", "/v1/tokenize".to_owned(), json!({"prompt": c})),
        ("POST", "/v1/conversations".to_owned(), json!({"metadata": {c: c}})),
        ("GET", format!("/v1/responses/{c}?stream={c}"), json!(null)),
        ("GET", format!("/v1/{c}/{c}?{c}={c}"), json!(null)),
        ("DELETE", format!("/v1/files/{c}"), json!(null)),
        ("POST", format!("/v1/batches/{c}/cancel"), json!({c: c})),
        ("GET", format!("/v1/organization/audit_logs?after={c}&actor_ids={c}"), json!(null)),
        ("GET", format!("/v1/organization/admin_api_keys/{c}"), json!(null)),
    ];
    // What is wrong is told to its client alone.
    for field in [
        "model",
        "reasoning_effort",
        "temperature",
        "tool_choice",
        "response_format",
        "previous_response_id",
        "conversation",
        "prompt",
        "service_tier",
        "reasoning_visibility",
        "moderation",
        "logit_bias",
        "n",
    ] {
        for (path, body) in [("/v1/chat/completions", &chat), ("/v1/responses", &responses)] {
            let mut body = body.clone();
            body[field] = json!(c);
            list.push(("POST", path.to_owned(), body));
        }
    }
    list
}

#[test]
fn a_word_of_a_client_is_in_no_log_metric_trace_or_audit() {
    let folder = tempfile::tempdir().unwrap();
    let policy = "[policies.none]\ntools = []\nmax_output_tokens = 10\n";
    let rules = policy.to_owned()
        + &key(
            "good",
            "scopes = [\"infer\", \"raw_reasoning\", \"tools\", \"tune\", \"metrics\", \"admin\"]",
        )
        + &key("bad", "policy = \"none\"")
        + &key("poor", "max_budget = { tokens = 1 }")
        + &admin();
    let made: Arc<Mutex<Vec<String>>> = Arc::default();
    let list = Arc::clone(&made);
    let take = Arc::new(move |trace| list.lock().unwrap().push(format!("{trace:?}")));
    let traces = Traces { take, num_dropped: Arc::new(AtomicU64::new(0)) };
    let governance = governance(Some(folder.path()), &rules);
    let change = |app: App| app.with_traces(Some(traces));
    let server = changed(&governance, change, Script::new(&[ANSWER, FAILS]));
    let (mut statuses, mut num_sent) = (Vec::new(), 0);
    for name in ["good", "bad", "poor", CANARY] {
        for (method, path, body) in bodies() {
            let bearer = format!("Bearer {}", secret(name));
            let headers = [
                ("authorization", bearer.as_str()),
                ("x-request-id", "bad id zanzibar7f3a"),
                ("user-agent", CANARY),
                ("x-zanzibar7f3a", CANARY),
                ("traceparent", "00-not-zanzibar"),
            ];
            let text = if body.is_null() { String::new() } else { body.to_string() };
            statuses.push(request(server.address, method, &path, &headers, &text).status);
            num_sent += 1;
        }
    }
    let broken = format!("{{\"input\": \"{CANARY}\", ");
    let bearer = format!("Bearer {}", secret("good"));
    statuses.push(
        request(server.address, "POST", "/v1/responses", &[("authorization", &bearer)], &broken).status,
    );
    num_sent += 1;
    statuses.sort_unstable();
    statuses.dedup();
    for expect in [200, 400, 401, 403, 404, 429, 500] {
        assert!(statuses.contains(&expect), "{expect}: {statuses:?}");
    }
    let logs = audit(server.address);
    let is_request = |log: &&Value| {
        log["type"].as_str().is_some_and(|kind| kind.starts_with("request") || kind == "login.failed")
    };
    let num_requests = logs.iter().filter(is_request).count();
    assert!(num_requests >= num_sent, "{num_requests} entries of {num_sent} requests");
    let log = server.logged(|line| line.contains("/v1/responses 400"));
    let metrics = see(server.address, "good", "/metrics").body;
    let traces = made.lock().unwrap().join("\n");
    assert!(traces.len() > 1000 && metrics.len() > 1000 && log.lines().count() >= num_sent);
    for (what, text) in
        [("log", &log), ("metrics", &metrics), ("traces", &traces), ("audit", &json!(logs).to_string())]
    {
        assert!(!text.contains(CANARY), "{what}: {}", context(text));
    }
    for file in fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(CANARY), "{}", path.display());
    }
}

/// A handler that panics with the word in its message tells it to nobody. What a process says of its panics
/// is `cli`'s.
#[test]
fn a_panic_keeps_the_word() {
    let folder = tempfile::tempdir().unwrap();
    let rules = key("good", "scopes = [\"infer\", \"raw_reasoning\", \"tools\", \"metrics\"]") + &admin();
    let governance = governance(Some(folder.path()), &rules);
    let change = |app: App| app.with_tools(Arc::new(TestHost::default()));
    let script = Script::new(&[&call("python", &format!("{PANICS} {CANARY}")), ANSWER]);
    let server = changed(&governance, change, script);
    let tools = json!([{"type": "code_interpreter", "container": "mine"}]);
    let body = json!({"model": "scripted", "input": CANARY, "tools": tools});
    let bearer = format!("Bearer {}", secret("good"));
    let answer =
        request(server.address, "POST", "/v1/responses", &[("authorization", &bearer)], &body.to_string());
    assert!(answer.status >= 500 || answer.json()["status"] == "failed", "{}", answer.body);
    eventually("the end", || !entries(server.address, "/v1/responses").is_empty());
    let logs = json!(audit(server.address)).to_string();
    let log = server.logged(|line| line.contains("/v1/responses"));
    let metrics = see(server.address, "good", "/metrics").body;
    for (what, text) in [("log", &log), ("metrics", &metrics), ("audit", &logs)] {
        assert!(!text.contains(CANARY), "{what}: {}", context(text));
    }
}

/// Where the word stands.
fn context(text: &str) -> String {
    let at = text.find(CANARY).unwrap_or_default();
    text.chars().skip(at.saturating_sub(200)).take(400).collect()
}
