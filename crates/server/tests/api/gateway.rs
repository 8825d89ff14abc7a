//! Requests that go to another server, and those that do not.

use std::sync::Arc;

use gptoss_gateway::{Gateway, Plan, Sources};
use gptoss_server::{Keys, Limits};
use serde_json::{Value, json};

use crate::http::{Answer, get, post, request};
use crate::scripted::Script;
use crate::server::Server;

#[path = "../../../gateway/tests/gateway/scripted.rs"]
pub mod upstream;

use upstream::{Act, Then, Upstream, chat, chat_events};

const LOCAL: &str = "<|channel|>final<|message|>local words<|return|>";

fn well(asked: &upstream::Asked) -> Act {
    match asked.is_stream() {
        true => Act::Events(chat_events("their words"), Then::End),
        false => Act::Whole(200, Vec::new(), chat("theirs", "their words")),
    }
}

fn server(plan: &str) -> Server {
    let gateway = Gateway::new(Plan::read(plan, &Sources::none()).unwrap());
    Server::changed(
        |app| app.with_gateway(Arc::new(gateway)),
        Script::new(&[LOCAL, LOCAL, LOCAL, LOCAL]),
        Limits::default(),
        Keys::default(),
    )
}

fn ask(server: &Server, model: &str, stream: bool) -> Answer {
    let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    post(server.address, "/v1/chat/completions", &body)
}

#[test]
fn a_model_of_an_upstream_is_answered_there() {
    let upstream = Upstream::start(well);
    let server = server(&upstream.table("cloud", "models = { big = \"org/big\" }\ncontext_window = 1000"));
    let answer = ask(&server, "big", false);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "their words");
    assert_eq!(answer.header("x-route"), Some("cloud"));
    assert!(answer.header("x-route-reason").unwrap().contains("label any"));
    let stream = ask(&server, "big", true);
    assert_eq!(stream.header("x-route"), Some("cloud"));
    assert!(stream.body.contains("their ") && stream.body.ends_with("data: [DONE]\n\n"), "{}", stream.body);
    assert!(!stream.body.contains("prompt_tokens"));
    // The line of log counts what the upstream says that it took.
    let log = server.logged(|line| line.contains("model=big"));
    assert!(log.contains("7 tokens read") && log.contains("5 written"), "{log}");
    let list = get(server.address, "/v1/models").json();
    let big = list["data"].as_array().unwrap().iter().find(|model| model["id"] == "big").unwrap();
    assert_eq!((&big["owned_by"], &big["max_model_len"]), (&json!("cloud"), &json!(1000)));
    assert_eq!(get(server.address, "/v1/models/big").json()["owned_by"], "cloud");
    assert_eq!(upstream.asked()[0].body["model"], "org/big");
}

#[test]
fn a_model_of_this_server_is_answered_here() {
    let upstream = Upstream::start(well);
    let server = server(&upstream.table("cloud", "models = { big = \"org/big\" }"));
    let answer = ask(&server, "scripted", false);
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "local words");
    assert_eq!(answer.header("x-route"), None, "the gateway has no part in it");
    assert_eq!(ask(&server, "neither", false).status, 404);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_rule_chooses_between_the_two() {
    let upstream = Upstream::start(well);
    let rule = "[[routes]]\nname = \"hard\"\nmodel = [\"auto\"]\neffort = [\"high\"]\ntargets = [\"cloud:big\"]\n\
        [[routes]]\nname = \"rest\"\nmodel = [\"auto\"]\ntargets = [\"local:scripted\"]\n";
    let server = server(&(upstream.table("cloud", "models = { big = \"org/big\" }") + rule));
    let body = |effort: &str| json!({"model": "auto", "input": "hi", "reasoning": {"effort": effort}, "store": false});
    let answer = post(server.address, "/v1/responses", &body("low"));
    assert_eq!((answer.status, answer.header("x-route")), (200, Some("local")), "{}", answer.body);
    assert!(answer.body.contains("local words"));
    let chat =
        json!({"model": "auto", "reasoning_effort": "high", "messages": [{"role": "user", "content": "x"}]});
    let answer = post(server.address, "/v1/chat/completions", &chat);
    assert_eq!(answer.header("x-route"), Some("cloud"));
    let sensitive = request(
        server.address,
        "POST",
        "/v1/chat/completions",
        &[("x-gptoss-sensitivity", "local_only")],
        &chat.to_string(),
    );
    assert_eq!((sensitive.status, sensitive.header("x-route")), (503, Some("none")));
    assert_eq!(sensitive.json()["error"]["code"], "local_only");
    assert_eq!(upstream.asked().len(), 1);
}

#[test]
fn a_message_goes_to_a_chat_and_its_errors_are_anthropics() {
    let upstream = Upstream::start(|asked| match asked.number {
        0 => well(asked),
        _ => Act::Whole(500, Vec::new(), String::new()),
    });
    let server = server(&upstream.table("cloud", "models = { big = \"org/big\" }\nnum_retries = 0"));
    let body = json!({"model": "big", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    let answer = post(server.address, "/v1/messages", &body);
    assert_eq!(answer.json()["content"], json!([{"type": "text", "text": "their words"}]), "{}", answer.body);
    let failed = post(server.address, "/v1/messages", &body);
    assert_eq!((failed.status, &failed.json()["type"]), (502, &json!("error")), "{}", failed.body);
    assert_eq!(failed.json()["error"]["type"], "api_error");
}

/// Of each upstream, by names of the operator's alone.
#[test]
fn what_came_of_upstreams_is_on_the_page_of_metrics() {
    let upstream = Upstream::start(|asked| match asked.number {
        0 | 1 => well(asked),
        2 => Act::Whole(400, Vec::new(), "{\"error\":{\"message\":\"no\"}}".to_owned()),
        3 => Act::Whole(429, vec![("retry-after", "60".to_owned())], String::new()),
        _ => Act::Whole(500, Vec::new(), String::new()),
    });
    let server = server(&upstream.table("cloud", "models = { big = \"org/big\" }\nnum_retries = 0"));
    let has = |line: &str| {
        let page = get(server.address, "/metrics").body;
        assert!(page.lines().any(|other| other == line), "{line}: {page}");
    };
    has("gptoss_gateway_requests_total{upstream=\"cloud\",outcome=\"answered\"} 0");
    for (stream, status) in [(false, 200), (true, 200), (false, 400), (false, 429)] {
        assert_eq!(ask(&server, "big", stream).status, status);
    }
    for (outcome, count) in [("answered", 2), ("refused", 1), ("limited", 1), ("failed", 0), ("broken", 0)] {
        has(&format!("gptoss_gateway_requests_total{{upstream=\"cloud\",outcome=\"{outcome}\"}} {count}"));
    }
    has("gptoss_gateway_tokens_total{upstream=\"cloud\",kind=\"prompt\"} 14");
    has("gptoss_gateway_tokens_total{upstream=\"cloud\",kind=\"completion\"} 10");
    has("gptoss_gateway_answer_seconds_count{upstream=\"cloud\"} 2");
    has("gptoss_gateway_answer_seconds_bucket{upstream=\"cloud\",le=\"+Inf\"} 2");
    has("gptoss_gateway_circuit_open{upstream=\"cloud\"} 1");
    has("gptoss_gateway_requests_running{upstream=\"cloud\"} 0");
}

#[test]
fn a_tool_that_nobody_here_runs_is_not_left_to_an_upstream() {
    let upstream = Upstream::start(well);
    let server = server(&upstream.table("cloud", "models = { big = \"org/big\" }\nchat_only = true"));
    let body = json!({"model": "big", "input": "hi", "tools": [{"type": "web_search"}]});
    let answer = post(server.address, "/v1/responses", &body);
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("tools[0]")));
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn another_plan_takes_effect_whole() {
    let upstream = Upstream::start(well);
    let plan = |model: &str| {
        let table = upstream.table("cloud", &format!("models = {{ {model} = \"org/big\" }}"));
        Plan::read(&table, &Sources::none()).unwrap()
    };
    let gateway = Arc::new(Gateway::new(plan("one")));
    let held = Arc::clone(&gateway);
    let server =
        Server::changed(|app| app.with_gateway(held), Script::new(&[]), Limits::default(), Keys::default());
    assert_eq!(ask(&server, "one", false).status, 200);
    gateway.replace(plan("two"));
    assert_eq!((ask(&server, "one", false).status, ask(&server, "two", false).status), (404, 200));
    let names = |list: Value| {
        list["data"].as_array().unwrap().iter().map(|model| model["id"].to_string()).collect::<Vec<_>>()
    };
    let names = names(get(server.address, "/v1/models").json());
    assert!(names.contains(&"\"two\"".to_owned()) && !names.contains(&"\"one\"".to_owned()), "{names:?}");
}

#[test]
fn an_upstream_that_breaks_off_or_hangs_is_an_error_in_its_place() {
    for act in [Act::Hang, Act::Drop] {
        let upstream = Upstream::start(move |_| act.clone());
        let lines = "models = { big = \"org/big\" }\nnum_retries = 0\ntimeout = \"100ms\"";
        let answer = ask(&server(&upstream.table("cloud", lines)), "big", true);
        assert_eq!((answer.status, answer.header("x-route")), (502, Some("none")));
        assert_eq!(answer.json()["error"]["code"], "upstream_error");
    }
    for then in [Then::Cut, Then::Hang] {
        let events = chat_events("their words")[..2].to_vec();
        let upstream = Upstream::start(move |_| Act::Events(events.clone(), then));
        let lines = "models = { big = \"org/big\" }\nidle_timeout = \"100ms\"";
        let answer = ask(&server(&upstream.table("cloud", lines)), "big", true);
        assert_eq!((answer.status, answer.header("x-route")), (200, Some("cloud")));
        let last = answer.events().pop().unwrap();
        assert_eq!(last["error"]["code"], "upstream_error", "{}", answer.body);
        assert!(answer.body.contains("their ") && answer.body.ends_with("data: [DONE]\n\n"));
    }
}

/// A label holds for tools of this server's too: they could ask others.
#[test]
fn what_is_labelled_has_no_tool_that_asks_others() {
    let upstream = Upstream::start(well);
    let gateway = Gateway::new(
        Plan::read(&upstream.table("cloud", "models = { big = \"big\" }"), &Sources::none()).unwrap(),
    );
    let server = Server::changed(
        |app| app.with_gateway(Arc::new(gateway)).with_tools(Arc::new(crate::tool_host::TestHost::default())),
        Script::new(&[LOCAL, LOCAL]),
        Limits::default(),
        Keys::default(),
    );
    for (tool, expect) in [
        (json!({"type": "web_search"}), 403),
        (json!({"type": "mcp", "server_label": "wiki"}), 403),
        (json!({"type": "code_interpreter", "container": "mine"}), 200),
    ] {
        let body = json!({"model": "scripted", "input": "hi", "tools": [tool]}).to_string();
        let label = [("x-gptoss-sensitivity", "local_only")];
        let answer = request(server.address, "POST", "/v1/responses", &label, &body);
        assert_eq!(answer.status, expect, "{tool}: {}", answer.body);
        let free = request(server.address, "POST", "/v1/responses", &[], &body);
        assert_eq!(free.status, 200, "{tool}: {}", free.body);
    }
}
