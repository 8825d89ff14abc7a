//! What a trace is made of, for each API.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gptoss_harmony::Vocab;
use gptoss_server::{
    App, Keys, Limits, LoadedModel, ModelOffer, Models, RequestTrace, ServedModel, TraceParent, Traces,
    WorkKind,
};
use serde_json::{Value, json};

use crate::chat::ANSWER;
use crate::http::{get, post, request, send};
use crate::scripted::{self, Prompts, Script};
use crate::server::{Server, assistant, model};
use crate::shutdown::eventually;

const CANARY: &str = "zanzibar";

/// An app that keeps the traces that it has made, and those.
fn keeping() -> (impl FnOnce(App) -> App, Arc<Mutex<Vec<RequestTrace>>>) {
    let made = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&made);
    let take = Arc::new(move |trace| list.lock().unwrap().push(trace));
    let traces = Traces { take, num_dropped: Arc::new(AtomicU64::new(3)) };
    (|app: App| app.with_traces(Some(traces)), made)
}

/// A server, and the traces that it has made.
fn traced(script: Script, keys: Keys) -> (Server, Arc<Mutex<Vec<RequestTrace>>>) {
    let (change, made) = keeping();
    (Server::changed(change, script, Limits::default(), keys), made)
}

/// A model of that name and with another, which says [`ANSWER`].
fn offer(name: &str) -> ModelOffer {
    let served = ServedModel { name: name.into(), aliases: vec![format!("org/{name}")], ..model() };
    let load = || {
        let vocab = Vocab::o200k_harmony();
        let (engine, _) = scripted::start(&vocab, Script::new(&[ANSWER]));
        Ok(LoadedModel { assistant: assistant(engine, &vocab), unload: Box::new(|| {}), adapters: None })
    };
    ModelOffer { served, planned_bytes: 1, load: Box::new(load) }
}

/// The trace that comes next; it is made after its answer has been read.
fn next(made: &Mutex<Vec<RequestTrace>>) -> RequestTrace {
    eventually("a trace", || !made.lock().unwrap().is_empty());
    let mut made = made.lock().unwrap();
    assert_eq!(made.len(), 1, "{made:?}");
    made.remove(0)
}

#[test]
fn every_api_tells_where_the_time_went_and_no_word() {
    let (server, made) = traced(Script::new(&[ANSWER]), Keys::default());
    let chat = json!({"messages": [{"role": "user", "content": CANARY}], "max_tokens": 50});
    let with = |name: &str, value: Value| {
        let mut body = chat.clone();
        body[name] = value;
        body
    };
    let chats = WorkKind::Chat;
    for (path, body, kind, count) in [
        ("/v1/chat/completions", chat.clone(), chats, 1),
        ("/v1/chat/completions", with("stream", json!(true)), chats, 1),
        ("/v1/chat/completions", with("n", json!(3)), chats, 3),
        ("/v1/responses", json!({"input": CANARY}), chats, 1),
        ("/v1/responses", json!({"input": CANARY, "stream": true}), chats, 1),
        ("/v1/messages", chat.clone(), chats, 1),
        ("/v1/completions", json!({"prompt": [CANARY, "x"], "max_tokens": 5}), WorkKind::Text, 2),
        ("/api/chat", chat.clone(), chats, 1),
        ("/api/generate", json!({"prompt": CANARY}), chats, 1),
    ] {
        assert_eq!(post(server.address, path, &body).status, 200, "{path} {body}");
        let trace = next(&made);
        assert_eq!((trace.method, trace.route.as_str(), trace.status), ("POST", path, 200));
        assert!(!trace.is_client_gone && trace.parent == TraceParent::default());
        let work = trace.work.as_ref().unwrap_or_else(|| panic!("{path} {body}: no work"));
        assert_eq!(&*work.model, "scripted", "{path}");
        assert!(work.tokens.prompt > 0 && work.tokens.completion > 0, "{path} {work:?}");
        assert_eq!(work.choices.len(), count, "{path} {body}");
        for choice in &work.choices {
            assert_eq!(choice.kind, kind, "{path}");
            let begun = choice.begun.checked_duration_since(trace.begun).expect("after the request came");
            let times = choice.times;
            assert!(
                begun + times.queued + times.prefill + times.decode <= trace.duration,
                "{path} {trace:?}"
            );
        }
        let told = format!("{trace:?}");
        assert!(!told.contains(CANARY) && !told.contains("né"), "{told}");
    }
}

#[test]
fn of_several_models_the_one_that_answered_is_told() {
    let (change, made) = keeping();
    let models = Models::several(vec![offer("a"), offer("b")], Some(1), None).unwrap();
    let place = (None, models, Prompts::default());
    let server = Server::run(place, change, Limits::default(), Keys::default());
    for (asked, told) in [(json!("b"), "b"), (json!(null), "a"), (json!("org/b"), "b")] {
        let chat = json!({"model": asked, "messages": [{"role": "user", "content": CANARY}]});
        for (path, body) in [
            ("/v1/chat/completions", chat),
            ("/v1/responses", json!({"model": asked, "input": CANARY})),
            ("/v1/completions", json!({"model": asked, "prompt": CANARY, "max_tokens": 5})),
        ] {
            let answer = post(server.address, path, &body);
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(&*next(&made).work.expect("work").model, told, "{path} {asked}");
            server.logged(|line| line.contains(path) && line.contains(&format!(" model={told} ")));
        }
    }
}

#[test]
fn a_trace_says_who_asked_and_what_it_belongs_to() {
    let keys = Keys::parse("sk-0123456789abcdef name=ann\n").unwrap();
    let (server, made) = traced(Script::new(&[ANSWER]), keys);
    let key = ("authorization", "Bearer sk-0123456789abcdef");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [key, ("traceparent", parent), ("tracestate", "a=1"), ("x-request-id", "mine-1")];
    request(server.address, "GET", "/v1/models", &headers, "");
    let trace = next(&made);
    assert_eq!((trace.tenant.as_deref(), trace.id.as_str()), (Some("ann"), "mine-1"));
    assert_eq!(trace.parent, TraceParent { parent: Some(parent.into()), state: Some("a=1".into()) });
    assert!(trace.work.is_none());
    let long = "x".repeat(1000);
    request(server.address, "GET", "/v1/canary", &[key, ("traceparent", &long)], "");
    let trace = next(&made);
    assert_eq!((trace.status, trace.route.as_str(), trace.parent), (404, "/v1/*", TraceParent::default()));
    get(server.address, "/v1/models");
    let trace = next(&made);
    assert_eq!((trace.status, trace.tenant), (401, None));
}

#[test]
fn clients_that_go_away_are_traced_and_scrapes_are_not() {
    let mut script = Script::new(&[ANSWER]);
    script.pause = Duration::from_secs(1);
    let (server, made) = traced(script, Keys::default());
    let body = json!({"messages": [{"role": "user", "content": "hi"}]}).to_string();
    let connection = send(server.address, "POST", "/v1/chat/completions", &[], &body);
    eventually("the turn begins", || !server.prompts.lock().unwrap().is_empty());
    drop(connection);
    let trace = next(&made);
    assert_eq!((trace.status, trace.is_client_gone), (499, true));
    let page = get(server.address, "/metrics").body;
    assert!(page.contains("gptoss_traces_dropped_total 3\n"), "{page}");
    get(server.address, "/v1/models");
    assert_eq!(next(&made).route, "/v1/models");
}
