//! Rules over requests that go to another server.

use std::sync::Arc;

use gptoss_gateway::{Gateway, Plan, Sources};
use serde_json::{Value, json};

use super::{admin, ask, begin, changed, entries, governance, key, read_until, used};
use crate::gateway::upstream::{Act, Asked, Then, Upstream, chat, chat_events};
use crate::scripted::Script;
use crate::server::Server;
use crate::shutdown::eventually;

const LOCAL: &str = "<|channel|>final<|message|>local words<|return|>";

fn well(asked: &Asked) -> Act {
    match asked.is_stream() {
        true => Act::Events(chat_events("their words"), Then::End),
        false => Act::Whole(200, Vec::new(), chat("theirs", "their words")),
    }
}

/// A server under rules, with a model of its own and one elsewhere, `big`.
fn served(upstream: &Upstream, rules: &str) -> Server {
    let plan = upstream.table("cloud", "models = { big = \"org/big\" }\nhosted_tools = \"allow\"");
    let gateway = Arc::new(Gateway::new(Plan::read(&plan, &Sources::none()).unwrap()));
    let rules = governance(None, &(rules.to_owned() + &admin()));
    changed(&rules, |app| app.with_gateway(gateway), Script::new(&[LOCAL, LOCAL]))
}

fn hi(more: &Value) -> Value {
    let mut body = json!({"model": "big", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// What was used elsewhere is charged, and the audit says where it went.
#[test]
fn what_leaves_is_charged_and_written_down() {
    let upstream = Upstream::start(well);
    let rules = key("one", "max_budget = { tokens = 5000 }");
    let server = served(&upstream, &rules);
    for (number, stream) in [false, true].into_iter().enumerate() {
        let answer = ask(server.address, "one", "/v1/chat/completions", &hi(&json!({"stream": stream})));
        assert_eq!((answer.status, answer.header("x-route")), (200, Some("cloud")), "{}", answer.body);
        eventually("the end", || used(server.address, "one").0 == number as u64 + 1);
    }
    assert_eq!(used(server.address, "one"), (2, 14, 10));
    let entry = entries(server.address, "/v1/chat/completions").pop().unwrap();
    assert_eq!(entry["route"], "POST /v1/chat/completions > cloud", "{entry}");
    assert_eq!((&entry["model"], &entry["charged_tokens"]), (&json!("big"), &json!(12)), "{entry}");
    // Where tokens are counted an answer has an end.
    assert_eq!(upstream.asked()[0].body["max_completion_tokens"], 4096);
    let refused = ask(server.address, "one", "/v1/chat/completions", &hi(&json!({"max_tokens": 4999})));
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!("insufficient_quota")));
    assert_eq!(upstream.asked().len(), 2, "what is refused does not leave");
}

/// The audit says how an answer ended that was passed on, and not only how it began.
#[test]
fn what_breaks_off_or_is_left_is_written_down_as_that() {
    for (then, status) in [(Then::Cut, 502), (Then::Hang, 499)] {
        let events = chat_events("their words")[..2].to_vec();
        let upstream = Upstream::start(move |_| Act::Events(events.clone(), then));
        let server = served(&upstream, &key("one", ""));
        let path = "/v1/chat/completions";
        let mut stream = begin(server.address, "one", path, &hi(&json!({"stream": true})));
        read_until(&mut stream, if then == Then::Cut { "upstream_error" } else { "their" });
        drop(stream);
        eventually("the entry", || !entries(server.address, path).is_empty());
        let entry = entries(server.address, path).pop().unwrap();
        assert_eq!(entry["status"], status, "{entry}");
        assert!(entry["charged_tokens"].as_u64() > Some(0), "{entry}");
    }
}

/// No connection is made for what the rules do not allow.
#[test]
fn what_the_rules_refuse_does_not_leave() {
    let upstream = Upstream::start(well);
    let policies = "[policies.kept]\nsensitivity = \"local_only\"\n[policies.small]\nmodels = [\"scripted\"]\n\
         [policies.far]\nmodels = [\"big\"]\n[policies.low]\neffort_max = \"low\"\ntools = [\"function\"]\nmax_output_tokens = 50\n";
    let keys: String = ["kept", "small", "far", "low"]
        .iter()
        .map(|name| key(name, &format!("policy = \"{name}\"")))
        .collect();
    let server = served(&upstream, &(keys + policies));
    let status = |name: &str, more: Value| {
        let answer = ask(server.address, name, "/v1/chat/completions", &hi(&more));
        (answer.status, answer.body)
    };
    let (kept, words) = status("kept", json!({}));
    assert_eq!(kept, 503, "{words}");
    let (small, words) = status("small", json!({}));
    assert!(small == 403 && words.contains("big"), "{words}");
    assert_eq!(status("low", json!({"reasoning_effort": "high"})).0, 403);
    assert_eq!(status("low", json!({"max_tokens": 51})).0, 403);
    assert_eq!(status("low", json!({"tools": [{"type": "web_search"}]})).0, 403);
    assert_eq!(status("low", json!({"reasoning": {"effort": "high"}})).0, 403);
    assert_eq!(status("low", json!({"max_completion_tokens": 1, "max_tokens": 51.0})).0, 403);
    assert_eq!(status("low", json!({"web_search_options": {}})).0, 403);
    assert_eq!(upstream.connections(), 0);
    let entry = entries(server.address, "/v1/chat/completions").pop().unwrap();
    assert_eq!((&entry["decision"], &entry["status"]), (&json!("refused"), &json!(403)), "{entry}");
    let (low, words) = status("low", json!({}));
    assert_eq!(low, 200, "{words}");
    let asked = upstream.asked().pop().unwrap().body;
    assert_eq!((&asked["reasoning_effort"], &asked["max_completion_tokens"]), (&json!("low"), &json!(50)));
    // Nor is a model brought to memory for a key that may not use it.
    assert_eq!(ask(server.address, "far", "/v1/tokenize", &json!({"prompt": "hi"})).status, 403);
    let unload = json!({"model": "scripted", "keep_alive": 0});
    assert_eq!(ask(server.address, "far", "/api/generate", &unload).status, 403);
    // Its own model is its own.
    let body = json!({"model": "scripted", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(ask(server.address, "kept", "/v1/chat/completions", &body).status, 200);
}

/// Each turn is reserved for and charged: what is used up in the middle of a response ends it.
#[test]
fn turns_with_tools_of_this_server_are_charged_one_by_one() {
    let big =
        r#"{"type":"response.completed","response":{"usage":{"input_tokens":100,"output_tokens":100}}}"#;
    let call = r#"{"type":"response.output_item.done","item":{"type":"function_call","name":"python","arguments":"{\"code\":\"1\"}"}}"#;
    let events: Vec<String> = [call, big].iter().map(|event| format!("data: {event}\n\n")).collect();
    let upstream = Upstream::start(move |_| Act::Events(events.clone(), Then::End));
    let plan = upstream.table("cloud", "models = { big = \"org/big\" }");
    let gateway = Arc::new(Gateway::new(Plan::read(&plan, &Sources::none()).unwrap()));
    let keys = key("one", "scopes = [\"infer\", \"tools\"]\nmax_budget = { tokens = 1000 }")
        + &key("two", "scopes = [\"infer\"]")
        + &key("three", "scopes = [\"infer\", \"tools\"]\npolicy = \"few\"")
        + "[policies.few]\ntools = [\"function\"]\n";
    let rules = governance(None, &(keys + &admin()));
    let change = |app: gptoss_server::App| {
        app.with_gateway(gateway).with_tools(Arc::new(crate::tool_host::TestHost::default()))
    };
    let server = changed(&rules, change, Script::new(&[LOCAL]));
    let body = json!({"model": "big", "input": "hi", "max_output_tokens": 400, "store": false,
        "tools": [{"type": "code_interpreter"}]});
    for name in ["two", "three"] {
        let refused = ask(server.address, name, "/v1/responses", &body);
        assert_eq!((refused.status, upstream.connections()), (403, 0), "{}", refused.body);
    }
    let answer = ask(server.address, "one", "/v1/responses", &body);
    assert_eq!(answer.status, 429, "{}", answer.body);
    assert_eq!(answer.json()["error"]["code"], "insufficient_quota");
    // As many turns as the budget has room for beside what the answer may still have.
    let turns = upstream.asked().len() as u64;
    assert!((1..4).contains(&turns), "{turns}");
    let last = || entries(server.address, "/v1/responses").pop().unwrap();
    eventually("the end", || last()["charged_tokens"] == 200 * turns);
    let entry = last();
    assert_eq!(
        (&entry["route"], &entry["status"]),
        (&json!("POST /v1/responses > cloud"), &json!(429)),
        "{entry}"
    );
}
