//! Policies beside every answer: a judge that is played, canaries that must not leave, and what is told.

mod relayed;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::FutureExt;
use gptoss_gateway::{Gateway, Plan};
use gptoss_guard::{Sources, read};
use gptoss_server::{App, AskAddress, Keys};
use serde_json::{Value, json};

use crate::abroad_tools::{Does, turn};
use crate::gateway::upstream::{self, Act, Then, Upstream};
use crate::govern::{admin, ask as govern_ask, entries, governance, key};
use crate::http::{get, post};
use crate::server::Server;
use crate::shutdown::eventually;
use crate::tool_host::TestHost;

/// What no policy lets pass.
const CANARY: &str = "canary-4711";
/// What a judge's prompt is known by.
const POLICY: &str = "POLICY: nothing of birds (B1).";
/// A text that the judge makes nothing of.
const RIDDLE: &str = "riddle-0815";

/// What the model says, as a test sets it.
type Says = Arc<Mutex<String>>;

fn answer(reasoning: &str, text: &str) -> String {
    format!(
        "<|channel|>analysis<|message|>{reasoning}<|end|><|start|>assistant<|channel|>final<|message|>{text}<|return|>"
    )
}

/// The judge, the writer of summaries and the model that answers are one engine, told apart by the prompt.
fn say(says: &Says, prompt: &str) -> String {
    if prompt.contains(POLICY) {
        let content = prompt.rsplit_once(POLICY).map_or("", |(_, rest)| rest);
        return match content {
            text if text.contains(RIDDLE) => answer("Hm.", "perhaps"),
            text if text.contains(CANARY) => answer("A bird.", r#"{"violation":1,"policy_category":"B1"}"#),
            _ => answer("None.", r#"{"violation":0,"policy_category":null}"#),
        };
    }
    if prompt.contains("Summarise the following notes") {
        let notes = prompt.contains(CANARY);
        return answer("", if notes { "Thought of canary-4711." } else { "Thought of numbers." });
    }
    says.lock().unwrap().clone()
}

fn nobody() -> AskAddress {
    Arc::new(|_, _| async { Err("there is nobody".to_owned()) }.boxed())
}

pub fn guarded(app: App, config: &str) -> App {
    guarded_by(app, config, nobody())
}

fn guarded_by(app: App, config: &str, ask: AskAddress) -> App {
    let file = |name: &str| match name {
        "birds.txt" => Ok(POLICY.to_owned()),
        other => Err(format!("there is no {other}")),
    };
    let guard = read("guard.toml", config, &Sources { file: &file, variable: &|_| None }).unwrap();
    app.with_guard(guard, ask).unwrap()
}

pub fn config(modes: &str) -> String {
    format!("{modes}\n[[policy]]\nname = \"birds\"\nfile = \"birds.txt\"\ncategory = \"illicit\"\n")
}

/// A judge at another address hears nothing of a key whose words stay here: as nobody could judge them, they
/// are refused where the guard fails closed.
#[test]
fn what_stays_here_is_not_told_to_a_judge_elsewhere() {
    let rules = key("one", "")
        + &key("kept", "policy = \"kept\"")
        + "[policies.kept]\nsensitivity = \"local_only\"\n";
    let keys = Keys::governed(governance(None, &rules));
    let config = config("input = \"block\"\noutput = \"block\"")
        + "model = \"judge\"\naddress = \"http://127.0.0.1:9/v1\"\n";
    let num_asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&num_asked);
    let judges: AskAddress = Arc::new(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        let content = r#"{"violation":0,"policy_category":null}"#;
        let answer = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]});
        async move { Ok(answer) }.boxed()
    });
    let change = move |app| guarded_by(app, &config, judges);
    let server = Server::by_prompt_for(None, change, |_| answer("Think.", "Fine."), keys);
    let body = json!({"model": "scripted", "messages": [{"role": "user", "content": "Hi."}]});
    for (name, is_told) in [("kept", false), ("one", true)] {
        let got = govern_ask(server.address, name, "/v1/chat/completions", &body);
        assert_eq!(got.status, 200, "{}", got.body);
        assert_eq!(got.body.contains("content_filter"), !is_told, "{name}: {}", got.body);
        assert_eq!(num_asked.load(Ordering::Relaxed) > 0, is_told, "{name}");
        let texts = json!({"input": "Hi again."});
        let got = govern_ask(server.address, name, "/v1/moderations", &texts);
        assert_eq!(got.status == 200, is_told, "{name}: {}", got.body);
    }
}

/// What judges read and say is the caller's work: counted apart, charged with the rest, and once for a text.
#[test]
fn the_work_of_judges_is_charged_to_who_asked() {
    let rules = key("one", "max_budget = { tokens = 100_000 }") + &admin();
    let keys = Keys::governed(governance(None, &rules));
    let (says, config) = (Says::default(), config("input = \"block\"\noutput = \"block\""));
    let said = Arc::clone(&says);
    let change = move |app| guarded(app, &config);
    let server = Server::by_prompt_for(None, change, move |prompt| say(&said, prompt), keys);
    *says.lock().unwrap() = answer("Think.", "A fine answer.");
    let body = json!({"messages": [{"role": "user", "content": "What is it?"}], "max_tokens": 60});
    let counts = |path: &str, place: usize| {
        let entry = entries(server.address, path).swap_remove(place);
        let number = |field: &str| entry[field].as_u64().unwrap_or_else(|| panic!("{entry}"));
        let judged = [number("judged_input_tokens"), number("judged_output_tokens")];
        (judged, number("input_tokens") + number("output_tokens"), number("charged_tokens"))
    };
    assert_eq!(govern_ask(server.address, "one", "/v1/chat/completions", &body).status, 200);
    let ([read, written], own, charged) = counts("/v1/chat/completions", 0);
    assert!(read > 40 && written > 10 && own > 10, "{read} {written} {own}");
    assert_eq!(charged, own + read + written);
    // The verdicts are known now.
    assert_eq!(govern_ask(server.address, "one", "/v1/chat/completions", &body).status, 200);
    let ([read, written], own, charged) = counts("/v1/chat/completions", 1);
    assert_eq!((read, written, charged), (0, 0, own));
    // What is held back before the model is asked took its judge all the same.
    let bad = json!({"input": CANARY, "max_output_tokens": 60});
    let got = govern_ask(server.address, "one", "/v1/responses", &bad);
    assert!(got.body.contains("content_filter"), "{}", got.body);
    eventually("the entry", || !entries(server.address, "/v1/responses").is_empty());
    let ([read, written], own, charged) = counts("/v1/responses", 0);
    assert!(read > 20 && written > 5, "{read} {written}");
    assert_eq!(charged, own + read + written);
    // Texts that are sent to be judged are charged by their length, as ever, and not twice.
    let texts = json!({"input": ["a text", "another"]});
    assert_eq!(govern_ask(server.address, "one", "/v1/moderations", &texts).status, 200);
    let (judged, own, charged) = counts("/v1/moderations", 0);
    assert_eq!((judged, charged), ([0, 0], own));
}

fn server(modes: &str) -> (Server, Says) {
    let (says, config) = (Says::default(), config(modes));
    let said = Arc::clone(&says);
    let change = move |app| guarded(app, &config);
    (Server::by_prompt(None, change, move |prompt| say(&said, prompt)), says)
}

fn ask(server: &Server, says: &Says, text: &str, path: &str, more: Value) -> crate::http::Answer {
    *says.lock().unwrap() = answer("Think.", text);
    let mut body = match path {
        "/v1/responses" => json!({"input": "What is it?"}),
        _ => json!({"messages": [{"role": "user", "content": "What is it?"}]}),
    };
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(server.address, path, &body)
}

/// A text of some length with the canary behind `before` words, or without.
fn text(before: Option<usize>) -> String {
    let words: Vec<String> = (0..400).map(|number| format!("word{number}")).collect();
    match before {
        None => words.join(" "),
        Some(at) => format!("{} {CANARY} {}", words[..at].join(" "), words[at..].join(" ")),
    }
}

#[test]
fn a_refused_answer_never_leaves_and_a_good_one_is_whole() {
    let (server, says) = server("output = \"block\"");
    for before in [0, 1, 7, 60, 150, 200, 333, 399] {
        for path in ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat"] {
            for stream in [false, true] {
                let more = json!({"stream": stream, "max_tokens": 4000});
                let got = ask(&server, &says, &text(Some(before)), path, more);
                assert!(!got.body.contains("canary"), "{path} {stream} {before}: {}", got.body);
                let reason = if path == "/v1/messages" { "refusal" } else { "content_filter" };
                assert!(got.body.contains(reason), "{path} {stream}: {}", got.body);
            }
        }
    }
    let whole = ask(&server, &says, &text(None), "/v1/chat/completions", json!({})).json();
    assert_eq!(whole["choices"][0]["message"]["content"], text(None));
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    assert_eq!(whole["moderation"]["output"]["results"][0]["flagged"], false, "{whole}");
    let log = server.logged(|line| line.contains("held back"));
    assert!(log.contains("\"birds\"") && !log.contains("canary"), "{log}");
}

#[test]
fn what_is_kept_of_a_refused_response_has_nothing_of_it() {
    let (server, says) = server("output = \"block\"");
    let response = ask(&server, &says, &text(Some(300)), "/v1/responses", json!({})).json();
    assert_eq!(response["status"], "incomplete", "{response}");
    assert_eq!(response["incomplete_details"]["reason"], "content_filter");
    assert_eq!(response["moderation"]["output"]["type"], "moderation_result");
    assert_eq!(response["moderation"]["output"]["categories"]["illicit"], true);
    let kept = get(server.address, &format!("/v1/responses/{}", response["id"].as_str().unwrap()));
    assert!(kept.status == 200 && !kept.body.contains("canary"), "{}", kept.body);
    let next = json!({"previous_response_id": response["id"]});
    let next = ask(&server, &says, "Yes.", "/v1/responses", next).json();
    assert_eq!(next["status"], "completed", "{next}");
}

#[test]
fn refused_input_gets_no_answer() {
    let (server, says) = server("input = \"block\"");
    for path in ["/v1/chat/completions", "/v1/responses"] {
        let more = match path {
            "/v1/responses" => json!({"input": CANARY}),
            _ => json!({"messages": [{"role": "user", "content": CANARY}]}),
        };
        let got = ask(&server, &says, "A fine answer.", path, more);
        assert!(!got.body.contains("fine"), "{}", got.body);
        assert!(got.body.contains("content_filter"), "{}", got.body);
        assert!(got.body.contains("what was asked is held back"), "{}", got.body);
    }
    let got = post(server.address, "/v1/completions", &json!({"prompt": CANARY, "max_tokens": 50}));
    assert_eq!(got.json()["choices"][0]["finish_reason"], "content_filter", "{}", got.body);
    assert_eq!(got.json()["choices"][0]["text"], "");
}

#[test]
fn a_request_asks_for_judgment_itself() {
    let (server, says) = server("");
    let asks = |output: &str| {
        let policy = json!({"input": {"mode": "score"}, "output": {"mode": output}});
        json!({"moderation": {"model": "omni-moderation-latest", "policy": policy}})
    };
    let scored = ask(&server, &says, &text(Some(9)), "/v1/chat/completions", asks("score")).json();
    assert_eq!(scored["choices"][0]["message"]["content"], text(Some(9)));
    let found = &scored["moderation"]["output"];
    assert_eq!(
        (&found["type"], &found["model"]),
        (&json!("moderation_results"), &json!("omni-moderation-latest"))
    );
    assert_eq!(found["results"][0]["type"], "moderation_result");
    assert_eq!(found["results"][0]["flagged"], true);
    assert!(found["results"][0]["category_scores"]["illicit"].as_f64().unwrap() > 0.5, "{found}");
    assert_eq!(found["results"][0]["category_applied_input_types"]["illicit"], json!(["text"]));
    assert_eq!(scored["moderation"]["input"]["results"][0]["flagged"], false);
    let blocked = ask(&server, &says, &text(Some(9)), "/v1/responses", asks("block"));
    assert!(!blocked.body.contains("canary") && blocked.body.contains("content_filter"), "{}", blocked.body);
    let plain = ask(&server, &says, "Yes.", "/v1/responses", json!({})).json();
    assert_eq!(plain.get("moderation"), None, "{plain}");
    let wrong = ask(&server, &says, "Yes.", "/v1/responses", json!({"moderation": {"model": "gpt-9"}}));
    assert!(wrong.status == 400 && wrong.body.contains("birds"), "{}", wrong.body);
}

#[test]
fn refused_reasoning_is_left_out_and_the_answer_stays() {
    let (server, says) = server("reasoning = \"block\"");
    let check = |path: &str, more: Value, thinks: &str| {
        *says.lock().unwrap() = answer(thinks, "It is 85.");
        let mut body = match path {
            "/v1/responses" => json!({"input": "What?"}),
            _ => json!({"messages": [{"role": "user", "content": "What?"}]}),
        };
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let got = post(server.address, path, &body);
        assert!(got.body.contains("It is 85."), "{path} {more}: {}", got.body);
        got.body
    };
    let bad = format!("I think of {CANARY} and of nothing else.");
    for path in ["/v1/chat/completions", "/v1/responses"] {
        for visibility in ["raw", "summary", "hidden"] {
            let more = json!({"reasoning_visibility": visibility});
            let body = check(path, more.clone(), &bad);
            assert!(!body.contains("canary"), "{path} {visibility}: {body}");
            let is_told = body.contains("the reasoning is left out");
            assert_eq!(is_told, visibility != "hidden", "{path} {visibility}: {body}");
            let body = check(path, more, "I think of numbers.");
            let expect = ["I think of numbers", "Thought of numbers"];
            let is_seen = expect.iter().any(|text| body.contains(text));
            assert_eq!(is_seen, visibility != "hidden", "{path} {visibility}: {body}");
        }
    }
}

#[test]
fn a_judge_that_fails_closes_or_opens_as_set() {
    for (fails, passes) in [("closed", false), ("open", true)] {
        let (server, says) = server(&format!("fails = \"{fails}\"\noutput = \"block\""));
        let response = ask(&server, &says, &format!("A {RIDDLE}."), "/v1/responses", json!({})).json();
        let text = response.to_string();
        assert_eq!(text.contains("riddle"), passes, "{text}");
        assert_eq!(response["status"], if passes { "completed" } else { "incomplete" });
        assert_eq!(response["moderation"]["output"]["type"], "error", "{text}");
        let told = response["moderation"]["output"]["message"].as_str().unwrap();
        assert!(told.contains(&format!("fails {fails}")), "{told}");
    }
}

#[test]
fn results_of_tools_are_judged_before_anybody_reads_them() {
    let call = format!("<|channel|>analysis to=python code<|message|>print('{CANARY}')<|call|>");
    let says = Says::default();
    let said = Arc::clone(&says);
    let script =
        move |prompt: &str| match prompt.contains("is held back by a policy") || prompt.contains(POLICY) {
            true => say(&said, prompt),
            false => call.clone(),
        };
    *says.lock().unwrap() = answer("Think.", "I could not see it.");
    let config = config("tools = \"block\"") + "stages = [\"tools\"]\n";
    let change = move |app: App| guarded(app.with_tools(Arc::new(TestHost::default())), &config);
    let server = Server::by_prompt(None, change, script);
    let tools = json!([{"type": "code_interpreter", "container": "mine"}]);
    let body = json!({"input": "What?", "tools": tools, "include": ["code_interpreter_call.outputs"]});
    let response = post(server.address, "/v1/responses", &body).json();
    let outputs = &response["output"].as_array().unwrap().iter().find(|item| item.get("outputs").is_some());
    let outputs = outputs.unwrap_or_else(|| panic!("{response}"))["outputs"].to_string();
    assert!(outputs.contains("is held back") && !outputs.contains("canary"), "{outputs}");
    assert!(response.to_string().contains("I could not see it."), "{response}");
}

#[test]
fn moderations_are_told_in_openais_form() {
    let (server, _) = server("");
    let body = json!({"input": [format!("a {CANARY}"), "a dog"]});
    let told = post(server.address, "/v1/moderations", &body).json();
    assert!(told["id"].as_str().unwrap().starts_with("modr-"), "{told}");
    assert_eq!(told["model"], "omni-moderation-latest");
    let results = told["results"].as_array().unwrap();
    let flags: Vec<bool> = results.iter().map(|result| result["flagged"].as_bool().unwrap()).collect();
    assert_eq!(flags, [true, false]);
    for result in results {
        for member in ["categories", "category_scores", "category_applied_input_types"] {
            assert_eq!(result[member].as_object().unwrap().len(), 13, "{member}");
        }
    }
    assert_eq!(results[0]["category_applied_input_types"]["illicit"], json!(["text"]));
    assert_eq!(results[0]["category_applied_input_types"]["hate"], json!([]));
    assert_eq!(results[0]["policies"][0]["policy"], "birds");
    assert_eq!(results[0]["policies"][0]["policy_category"], "B1");
    let parts = json!({"input": [{"type": "text", "text": "canary"}, {"type": "text", "text": "4711"}], "model": "birds"});
    assert_eq!(
        post(server.address, "/v1/moderations", &parts).json()["results"].as_array().unwrap().len(),
        1
    );
    let image = json!({"input": [{"type": "image_url", "image_url": {"url": "data:,x"}}]});
    let refused = post(server.address, "/v1/moderations", &image);
    assert!(refused.status == 400 && refused.body.contains("input[0]"), "{}", refused.body);
    let riddle = post(server.address, "/v1/moderations", &json!({"input": RIDDLE}));
    assert!(riddle.status == 500 && riddle.body.contains("birds"), "{}", riddle.body);
}

#[test]
fn a_server_without_policies_says_so() {
    let server = Server::start(&[&answer("Think.", "Yes.")]);
    let refused = post(server.address, "/v1/moderations", &json!({"input": "a"}));
    assert!(refused.status == 404 && refused.body.contains("--guard"), "{}", refused.body);
    let says = Says::default();
    let refused = ask(&server, &says, "Yes.", "/v1/responses", json!({"moderation": {"model": "m"}}));
    assert!(refused.status == 400 && refused.body.contains("moderation"), "{}", refused.body);
}

/// Beside a gateway: an upstream whose model says the same whatever it is asked, and calls once if it may.
fn before_an_upstream(modes: &str, says: &'static str) -> (Server, Upstream) {
    let upstream = Upstream::start(move |asked| {
        let text = json!(says);
        let is_text = asked.body.get("prompt").is_some();
        let has_tools = asked.body["tools"].is_array() && asked.number == 0;
        if has_tools {
            return turn(asked, &Does::Calls(vec![("python", json!({"code": says}))]));
        }
        match (asked.is_stream(), is_text) {
            (true, true) => {
                let event = json!({"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]});
                Act::Events(vec![format!("data: {event}\n\n"), "data: [DONE]\n\n".to_owned()], Then::End)
            }
            (true, false) => turn(asked, &Does::Says(says)),
            (false, true) => Act::Whole(200, Vec::new(), json!({"choices": [{"text": text}]}).to_string()),
            (false, false) => Act::Whole(200, Vec::new(), upstream::chat("theirs", says)),
        }
    });
    let table = upstream.table("cloud", "models = { big = \"big\" }\nchat_only = true");
    let plan = Plan::read(&table, &gptoss_gateway::Sources::none()).unwrap();
    let config = config(modes);
    let change = move |app| {
        let app = guarded(app, &config).with_gateway(Arc::new(Gateway::new(plan)));
        app.with_tools(Arc::new(TestHost::default()))
    };
    (Server::by_prompt(None, change, |prompt| say(&Says::default(), prompt)), upstream)
}

const PATHS: [&str; 4] = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions"];

fn elsewhere(server: &Server, path: &str, stream: bool, text: &str) -> crate::http::Answer {
    let mut body = json!({"model": "big", "stream": stream, "max_tokens": 50});
    match path {
        "/v1/responses" => body = json!({"model": "big", "stream": stream, "input": text}),
        "/v1/completions" => body["prompt"] = json!(text),
        _ => body["messages"] = json!([{"role": "user", "content": text}]),
    }
    post(server.address, path, &body)
}

#[test]
fn what_an_upstream_says_is_judged_before_its_client_has_it() {
    for (says, is_good) in [("A bird: canary-4711.", false), ("A number.", true)] {
        let (server, upstream) = before_an_upstream("output = \"block\"", says);
        for (number, path) in PATHS.into_iter().enumerate() {
            for stream in [false, true] {
                let got = elsewhere(&server, path, stream, "What is it?");
                assert_eq!((got.status, got.header("x-route")), (200, Some("cloud")), "{path} {}", got.body);
                let reason = if path == "/v1/messages" { "refusal" } else { "content_filter" };
                assert_eq!(got.body.contains(reason), !is_good, "{path} {stream}: {}", got.body);
                assert!(!got.body.contains("canary"), "{path} {stream}: {}", got.body);
                assert_eq!(got.body.contains("A number."), is_good, "{path} {stream}: {}", got.body);
            }
            assert_eq!(upstream.asked().len(), 2 * (number + 1));
        }
    }
}

#[test]
fn what_is_refused_does_not_leave_for_an_upstream() {
    let (server, upstream) = before_an_upstream("input = \"block\"", "A number.");
    for path in PATHS {
        for stream in [false, true] {
            let got = elsewhere(&server, path, stream, "Is it canary-4711?");
            let reason = if path == "/v1/messages" { "refusal" } else { "content_filter" };
            assert!(got.status == 200 && got.body.contains(reason), "{path} {stream}: {}", got.body);
        }
    }
    let tools = json!([{"type": "code_interpreter"}]);
    let body = json!({"model": "big", "input": "Is it canary-4711?", "tools": tools});
    let got = post(server.address, "/v1/responses", &body);
    assert!(got.body.contains("content_filter"), "{}", got.body);
    assert_eq!(upstream.connections(), 0);
    assert_eq!(elsewhere(&server, PATHS[0], false, "What is it?").status, 200);
    let log = server.logged(|line| line.contains("held back"));
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn results_and_answers_of_turns_elsewhere_are_judged_too() {
    let body = json!({"model": "big", "input": "hi", "tools": [{"type": "code_interpreter"}]});
    let (server, upstream) = before_an_upstream("tools = \"block\"", "canary-4711");
    let got = post(server.address, "/v1/responses", &body);
    assert_eq!(got.status, 200, "{}", got.body);
    let second = upstream.asked()[1].body["messages"].as_array().unwrap().last().unwrap().clone();
    assert!(second["content"].as_str().unwrap().contains("held back by a policy"), "{second}");
    let (server, _upstream) = before_an_upstream("output = \"block\"", "canary-4711");
    let got = post(server.address, "/v1/responses", &body);
    assert!(got.body.contains("content_filter") && !got.body.contains("canary"), "{}", got.body);
}
