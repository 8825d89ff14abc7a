//! Policies over what an upstream is asked and answers by itself.

use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use gptoss_gateway::{Gateway, Plan, Sources};
use gptoss_server::{Keys, Limits};
use serde_json::{Value, json};

use super::{CANARY, PATHS, POLICY, Says, config, guarded, say};
use crate::abroad_tools::{Does, turn};
use crate::gateway::upstream::{Act, Asked, Then, Upstream, chat, chat_events};
use crate::govern::{admin, ask as govern_ask, entries, governance, key, secret};
use crate::http::{post, request, send};
use crate::server::Server;
use crate::shutdown::eventually;

/// A judge that counts its work, and waits while it is shut.
#[derive(Clone, Default)]
struct Judge {
    num_asked: Arc<AtomicUsize>,
    shut: Arc<(Mutex<bool>, Condvar)>,
}

impl Judge {
    fn says(&self, prompt: &str) -> String {
        if prompt.contains(POLICY) {
            self.num_asked.fetch_add(1, Ordering::Relaxed);
            let is_shut = self.shut.0.lock().unwrap();
            drop(self.shut.1.wait_while(is_shut, |is_shut| *is_shut).unwrap());
        }
        say(&Says::default(), prompt)
    }

    fn num_asked(&self) -> usize {
        self.num_asked.load(Ordering::Relaxed)
    }

    fn set_shut(&self, is_shut: bool) {
        *self.shut.0.lock().unwrap() = is_shut;
        self.shut.1.notify_all();
    }
}

/// A server before an upstream that speaks every API, with a model there.
fn before(upstream: &Upstream, modes: &str, judge: &Judge, keys: Keys) -> Server {
    let plan = Plan::read(&upstream.table("cloud", "models = { big = \"big\" }"), &Sources::none()).unwrap();
    let config = config(modes);
    let change = move |app| guarded(app, &config).with_gateway(Arc::new(Gateway::new(plan)));
    let limits = Limits { keep_alive: Duration::from_millis(20), ..Limits::default() };
    let judge = judge.clone();
    Server::by_prompt_within((None, limits), change, move |prompt| judge.says(prompt), keys)
}

fn asking(events: &[Value]) -> Act {
    let mut lines: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    if events.iter().any(|event| event["choices"].is_array()) {
        lines.push("data: [DONE]\n\n".to_owned());
    }
    Act::Events(lines, Then::End)
}

fn good(asked: &Asked) -> Act {
    match asked.is_stream() {
        true => Act::Events(chat_events("A number."), Then::End),
        false => Act::Whole(200, Vec::new(), chat("theirs", "A number.")),
    }
}

fn hi(more: &Value) -> Value {
    let mut body = json!({"model": "big", "messages": [{"role": "user", "content": "What is it?"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// A word that another choice's pieces break up is read whole by whoever reads one choice.
#[test]
fn each_choice_is_judged_by_itself() {
    let upstream = Upstream::start(|_| {
        let piece =
            |index: u64, text: &str| json!({"choices": [{"index": index, "delta": {"content": text}}]});
        let end = |index: u64| json!({"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]});
        asking(&[piece(0, "A can"), piece(1, "One"), piece(0, "ary-4711"), piece(1, " two"), end(0), end(1)])
    });
    let server = before(&upstream, "output = \"block\"", &Judge::default(), Keys::default());
    let got = post(server.address, PATHS[0], &hi(&json!({"n": 2, "stream": true})));
    assert!(got.body.contains("content_filter") && !got.body.contains("ary-4711"), "{}", got.body);
}

/// Upstreams tell what their model wrote in errors too: whole, in the middle of a stream, at its end. What
/// says nothing of the kind passes.
#[test]
fn errors_of_an_upstream_are_judged() {
    let error =
        json!({"error": {"message": "Bad call.", "code": "tool_use_failed", "failed_generation": CANARY}});
    let broken = json!({"error": {"message": CANARY}});
    let failed = json!({"type": "response.failed", "response": {"output": [], "error": {"code": "c", "message": CANARY}}});
    let upstream = Upstream::start(move |asked| match asked.number {
        0 => Act::Whole(400, Vec::new(), error.to_string()),
        1 => Act::Whole(400, Vec::new(), json!({"error": {"message": "Too long."}}).to_string()),
        2 => asking(&[json!({"choices": [{"index": 0, "delta": {"content": "One"}}]}), broken.clone()]),
        _ => asking(std::slice::from_ref(&failed)),
    });
    let server = before(&upstream, "output = \"block\"", &Judge::default(), Keys::default());
    let chat = |more: Value| post(server.address, PATHS[0], &hi(&more));
    let got = chat(json!({}));
    assert_eq!(got.status, 400, "{}", got.body);
    assert!(got.json()["error"]["message"].is_string() && !got.body.contains(CANARY), "{}", got.body);
    let got = chat(json!({}));
    assert!(got.status == 400 && got.body.contains("Too long."), "{}", got.body);
    let got = chat(json!({"stream": true}));
    assert!(got.status == 200 && !got.body.contains(CANARY) && !got.body.contains("One"), "{}", got.body);
    let body = json!({"model": "big", "input": "What is it?", "stream": true, "store": false});
    let got = post(server.address, "/v1/responses", &body);
    assert!(got.status == 200 && !got.body.contains(CANARY), "{}", got.body);
    assert_eq!(upstream.asked().len(), 4);
}

/// A name in other letters, or twice, is read as the API's by some and as nothing by others.
#[test]
fn what_an_upstream_may_read_otherwise_does_not_leave() {
    let upstream = Upstream::start(good);
    let server = before(&upstream, "input = \"block\"", &Judge::default(), Keys::default());
    for body in [
        r#"{"model":"big","messages":[],"Messages":[{"role":"user","content":"A number."}]}"#,
        r#"{"model":"big","messages":[{"role":"user","content":"CANARY","content":"A number."}]}"#,
    ] {
        let body = body.replace("CANARY", CANARY);
        let got = request(server.address, "POST", PATHS[0], &[], &body);
        assert_eq!(got.status, 400, "{}", got.body);
    }
    let got = post(server.address, PATHS[0], &hi(&json!({"documents": [{"text": CANARY}]})));
    assert!(got.body.contains("content_filter"), "{}", got.body);
    assert_eq!(upstream.asked().len(), 0);
}

/// What a stream tells at its end alone is no less told.
#[test]
fn what_only_the_end_of_a_stream_tells_is_judged() {
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let message = |text: &str| json!({"type": "message", "role": "assistant", "content": [part(text)]});
    let call = json!({"type": "function_call", "name": "f", "call_id": "c", "arguments": CANARY});
    let ends = [
        json!({"type": "response.output_item.done", "output_index": 0, "item": message(CANARY)}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": call}),
        json!({"type": "response.content_part.done", "output_index": 0, "part": part(CANARY)}),
        json!({"type": "response.output_text.done", "output_index": 0, "text": CANARY}),
        json!({"type": "response.completed", "response": {"output": [message(CANARY)]}}),
    ];
    let told = ends.clone();
    let upstream = Upstream::start(move |asked| {
        let delta = json!({"type": "response.output_text.delta", "output_index": 0, "delta": "A number."});
        let last = json!({"type": "response.completed", "response": {"output": []}});
        asking(&[delta, told.get(asked.number).cloned().unwrap_or(Value::Null), last])
    });
    let server = before(&upstream, "output = \"block\"", &Judge::default(), Keys::default());
    let body = json!({"model": "big", "input": "What is it?", "stream": true, "store": false});
    for end in ends {
        let got = post(server.address, "/v1/responses", &body);
        assert_eq!((got.status, got.header("x-route")), (200, Some("cloud")), "{}", got.body);
        assert!(got.body.contains("content_filter") && !got.body.contains(CANARY), "{end}: {}", got.body);
    }
}

#[test]
fn tokens_that_nobody_can_judge_do_not_leave_and_a_suffix_is_judged() {
    let upstream = Upstream::start(|_| {
        Act::Whole(200, Vec::new(), json!({"choices": [{"text": "A number."}]}).to_string())
    });
    let ask = |modes: &str, more: Value| {
        let server = before(&upstream, modes, &Judge::default(), Keys::default());
        let mut body = json!({"model": "big", "max_tokens": 9});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(server.address, "/v1/completions", &body)
    };
    for prompt in [json!([1, 2, 3]), json!([[1, 2], [3]])] {
        let refused = ask("input = \"block\"", json!({"prompt": prompt}));
        assert_eq!(
            (refused.status, refused.json()["error"]["param"].as_str()),
            (400, Some("prompt")),
            "{}",
            refused.body
        );
        assert!(refused.body.contains("cannot be judged"), "{}", refused.body);
    }
    let refused = ask("input = \"block\"", json!({"prompt": "What?", "suffix": CANARY}));
    assert!(refused.body.contains("content_filter"), "{}", refused.body);
    assert_eq!(upstream.connections(), 0);
    for modes in ["output = \"block\"", "input = \"score\""] {
        let passed = ask(modes, json!({"prompt": [1, 2, 3]}));
        assert!(passed.status == 200 && passed.body.contains("A number."), "{}", passed.body);
    }
}

/// The work of judges is the caller's, whichever side it is on.
#[test]
fn the_work_of_judges_of_what_is_relayed_is_charged() {
    let upstream = Upstream::start(good);
    for (number, modes) in
        ["input = \"block\"", "output = \"block\"", "output = \"score\""].into_iter().enumerate()
    {
        for stream in [false, true] {
            let rules = key("one", "max_budget = { tokens = 100_000 }") + &admin();
            let keys = Keys::governed(governance(None, &rules));
            let server = before(&upstream, modes, &Judge::default(), keys);
            let got = govern_ask(server.address, "one", PATHS[0], &hi(&json!({"stream": stream})));
            assert!(got.status == 200 && got.body.contains("A number.") | stream, "{}", got.body);
            eventually("the entry", || !entries(server.address, PATHS[0]).is_empty());
            let entry = entries(server.address, PATHS[0]).pop().unwrap();
            let field = |name: &str| entry[name].as_u64().unwrap_or_else(|| panic!("{entry}"));
            let judged = field("judged_input_tokens") + field("judged_output_tokens");
            assert!(judged > 30, "{number} {stream}: {entry}");
            assert_eq!(field("charged_tokens"), 12 + judged, "{entry}");
            assert_eq!(entry["route"], "POST /v1/chat/completions > cloud", "{entry}");
        }
    }
    // What is refused before it leaves took its judge, and gives back what was reserved.
    let rules = key("one", "max_budget = { tokens = 100_000 }") + &admin();
    let server =
        before(&upstream, "input = \"block\"", &Judge::default(), Keys::governed(governance(None, &rules)));
    let bad = json!({"messages": [{"role": "user", "content": CANARY}]});
    assert!(govern_ask(server.address, "one", PATHS[0], &hi(&bad)).body.contains("content_filter"));
    eventually("the entry", || !entries(server.address, PATHS[0]).is_empty());
    let entry = entries(server.address, PATHS[0]).pop().unwrap();
    let charged = entry["charged_tokens"].as_u64().unwrap();
    assert!(charged > 30 && charged < 4000, "{entry}");
}

/// Who has no budget left has nobody judge for it.
#[test]
fn a_caller_over_its_budget_costs_no_judgment() {
    let (upstream, judge) = (Upstream::start(good), Judge::default());
    let policies = "[policies.few]\nmodels = [\"scripted\"]\n";
    let rules =
        key("one", "max_budget = { tokens = 50 }") + &key("two", "policy = \"few\"") + policies + &admin();
    let modes = "input = \"block\"\noutput = \"block\"";
    let server = before(&upstream, modes, &judge, Keys::governed(governance(None, &rules)));
    let over = govern_ask(server.address, "one", PATHS[0], &hi(&json!({"max_tokens": 100})));
    assert_eq!(
        (over.status, &over.json()["error"]["code"]),
        (429, &json!("insufficient_quota")),
        "{}",
        over.body
    );
    assert_eq!(govern_ask(server.address, "two", PATHS[0], &hi(&json!({}))).status, 403);
    assert_eq!((judge.num_asked(), upstream.connections()), (0, 0));
    let small = govern_ask(server.address, "one", PATHS[0], &hi(&json!({"max_tokens": 9})));
    assert_eq!((small.status, judge.num_asked()), (200, 2), "{}", small.body);
}

/// Reads until the text is there.
fn read_until(stream: &mut TcpStream, word: &str) -> String {
    let (mut text, mut bytes) = (String::new(), [0; 512]);
    while !text.contains(word) {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "no {word}: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    text
}

/// A client hears that it is alive while its stream is held, and then has it whole, or filtered.
#[test]
fn a_held_stream_is_kept_alive() {
    for (says, is_good) in [("A number.", true), (CANARY, false)] {
        let upstream = Upstream::start(move |asked| turn(asked, &Does::Says(says)));
        for (path, reason) in PATHS.into_iter().zip(["content_filter", "content_filter", "refusal"]) {
            let mut body = hi(&json!({"stream": true, "max_tokens": 90}));
            if path == "/v1/responses" {
                let input = json!([{"role": "user", "content": "What is it?"}]);
                body = json!({"model": "big", "stream": true, "input": input, "store": false});
            }
            // A verdict of the server before is not known to this one.
            let judge = Judge::default();
            judge.set_shut(true);
            let server = before(&upstream, "output = \"block\"", &judge, Keys::default());
            let mut stream = send(server.address, "POST", path, &[], &body.to_string());
            let before = read_until(&mut stream, ": keep-alive");
            assert!(before.starts_with("HTTP/1.1 200") && !before.contains("data:"), "{before}");
            judge.set_shut(false);
            let mut rest = String::new();
            stream.read_to_string(&mut rest).unwrap();
            assert_eq!(rest.contains("number."), is_good, "{path} {rest}");
            assert_eq!(rest.contains(reason), !is_good, "{path} {rest}");
            assert!(!rest.contains("canary"), "{path} {rest}");
        }
    }
}

/// A client that goes away ends the judgment, which is charged as far as it came.
#[test]
fn a_judgment_that_nobody_waits_for_is_charged() {
    let (upstream, judge) = (Upstream::start(good), Judge::default());
    let rules = key("one", "max_budget = { tokens = 100_000 }") + &admin();
    judge.set_shut(true);
    let server = before(&upstream, "output = \"block\"", &judge, Keys::governed(governance(None, &rules)));
    let bearer = format!("Bearer {}", secret("one"));
    let body = hi(&json!({"stream": true})).to_string();
    let mut stream = send(server.address, "POST", PATHS[0], &[("authorization", &bearer)], &body);
    read_until(&mut stream, ": keep-alive");
    eventually("a judgment", || judge.num_asked() == 1);
    drop(stream);
    server.logged(|line| line.contains("POST /v1/chat/completions"));
    judge.set_shut(false);
    eventually("the entry", || !entries(server.address, PATHS[0]).is_empty());
    let entry = entries(server.address, PATHS[0]).pop().unwrap();
    assert!(entry["judged_input_tokens"].as_u64() > Some(20), "{entry}");
}

/// What is scored is told where answers of models here tell it, asked for by the operator or by the request.
#[test]
fn what_is_scored_is_told_in_the_answer() {
    let upstream = Upstream::start(|asked| match asked.is_stream() {
        true => Act::Events(chat_events("A bird: canary-4711."), Then::End),
        false => Act::Whole(200, Vec::new(), chat("theirs", "A bird: canary-4711.")),
    });
    let wish = json!({"moderation": {"model": "omni-moderation-latest"}});
    for (modes, more) in [("input = \"score\"\noutput = \"score\"", json!({})), ("", wish)] {
        let server = before(&upstream, modes, &Judge::default(), Keys::default());
        for stream in [false, true] {
            let mut body = hi(&more);
            body["stream"] = json!(stream);
            let got = post(server.address, PATHS[0], &body);
            assert!(got.status == 200 && got.body.contains("canary"), "{}", got.body);
            let last = if stream { got.events().pop().unwrap() } else { got.json() };
            let flagged = |side: &str| last["moderation"][side]["results"][0]["flagged"].clone();
            assert_eq!((flagged("input"), flagged("output")), (json!(false), json!(true)), "{last}");
            assert!(!stream || got.body.ends_with("data: [DONE]\n\n"), "{}", got.body);
        }
    }
    assert!(upstream.asked().iter().all(|asked| asked.body.get("moderation").is_none()));
    // A request may ask for more than the operator does, and not of a policy that is not known.
    let block = |mode: &str| json!({"moderation": {"policy": {"output": {"mode": mode}}}});
    let server = before(&upstream, "", &Judge::default(), Keys::default());
    let blocked = post(server.address, PATHS[0], &hi(&block("block")));
    assert!(blocked.body.contains("content_filter") && !blocked.body.contains("canary"), "{}", blocked.body);
    assert_eq!(blocked.json()["moderation"]["output"]["results"][0]["flagged"], true, "{}", blocked.body);
    let unknown = post(server.address, PATHS[0], &hi(&json!({"moderation": {"model": "gpt-9"}})));
    assert!(unknown.status == 400 && unknown.body.contains("birds"), "{}", unknown.body);
}

/// Without policies nobody judges, and a request that wants it is told so.
#[test]
fn a_server_without_policies_judges_nothing_that_is_relayed() {
    let upstream = Upstream::start(good);
    let judge = Judge::default();
    let server = before(&upstream, "", &judge, Keys::default());
    assert_eq!(post(server.address, PATHS[0], &hi(&json!({}))).status, 200);
    assert_eq!(judge.num_asked(), 0);
    let plan = Plan::read(&upstream.table("cloud", "models = { big = \"big\" }"), &Sources::none()).unwrap();
    let change = move |app: gptoss_server::App| app.with_gateway(Arc::new(Gateway::new(plan)));
    let bare = Server::by_prompt(None, change, |_| String::new());
    let refused = post(bare.address, PATHS[0], &hi(&json!({"moderation": {"model": "m"}})));
    assert!(refused.status == 400 && refused.body.contains("--guard"), "{}", refused.body);
}
