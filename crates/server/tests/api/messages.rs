//! Anthropic's Messages: what is streamed adds up to what is not, prompts that stay the same, errors in its
//! own words.

use std::time::Duration;

use gptoss_server::{Keys, Limits};
use serde_json::{Value, json};

use crate::chat::{ANSWER, CALL};
use crate::http::{Answer, get, post, request};
use crate::scripted::{FAILS, Script};
use crate::server::Server;

fn with(more: Value) -> Value {
    let thinking = json!({"type": "enabled", "budget_tokens": 1024});
    let messages = json!([{"role": "user", "content": "What is 27 + 58?"}]);
    let mut body =
        json!({"model": "scripted", "max_tokens": 256, "messages": messages, "thinking": thinking});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn tools() -> Value {
    let schema = json!({"type": "object", "properties": {"key": {"type": "string"}}});
    json!([{"name": "look", "input_schema": schema}])
}

fn ask(server: &Server, more: Value) -> Value {
    let answer = post(server.address, "/v1/messages", &with(more));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// Adds the events of a stream up, as Anthropic's clients do: by name, and by the index of the block.
pub fn added_up(answer: &Answer) -> Value {
    let names: Vec<&str> = answer.body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let mut message = Value::Null;
    let mut arguments = String::new();
    assert_eq!(names.len(), answer.events().len(), "every event has a name");
    for (name, event) in names.into_iter().zip(answer.events()) {
        assert_eq!(event["type"], name);
        let index = event["index"].as_u64().unwrap_or_default() as usize;
        match name {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                let content = message["content"].as_array_mut().unwrap();
                assert_eq!(content.len(), index);
                content.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let (delta, block) = (&event["delta"], &mut message["content"][index]);
                let more = |name: &str| delta[name].as_str().unwrap().to_owned();
                match delta["type"].as_str().unwrap() {
                    "text_delta" => {
                        block["text"] = json!(block["text"].as_str().unwrap().to_owned() + &more("text"));
                    }
                    "thinking_delta" => {
                        let before = block["thinking"].as_str().unwrap().to_owned();
                        block["thinking"] = json!(before + &more("thinking"));
                    }
                    "signature_delta" => block["signature"] = json!(more("signature")),
                    "input_json_delta" => arguments += &more("partial_json"),
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" if message["content"][index]["type"] == "tool_use" => {
                let arguments = std::mem::take(&mut arguments);
                // A call that was cut short has half an object.
                let input = serde_json::from_str(&arguments).unwrap_or(Value::String(arguments));
                message["content"][index]["input"] = input;
            }
            "message_delta" => {
                for field in ["stop_reason", "stop_sequence"] {
                    message[field] = event["delta"][field].clone();
                }
                message["usage"] = event["usage"].clone();
            }
            _ => {}
        }
    }
    message
}

/// Without what is another one each time.
fn plain(mut message: Value) -> Value {
    message["id"] = json!("id");
    // An event of a stream has no place for them.
    message.as_object_mut().unwrap().remove("warnings");
    for block in message["content"].as_array_mut().unwrap() {
        if block["type"] == "tool_use" {
            assert!(block["id"].as_str().unwrap().starts_with("toolu_"), "{block}");
            block["id"] = json!("id");
        }
    }
    message
}

#[test]
fn what_is_streamed_adds_up_to_the_body() {
    let cut = "<|channel|>final<|message|>one two three four five six<|return|>";
    let cases = [
        (ANSWER, json!({}), "end_turn"),
        (ANSWER, json!({"thinking": {"type": "disabled"}}), "end_turn"),
        (ANSWER, json!({"thinking": {"type": "adaptive", "display": "omitted"}}), "end_turn"),
        (CALL, json!({"tools": tools()}), "tool_use"),
        (cut, json!({"max_tokens": 6}), "max_tokens"),
        (cut, json!({"stop_sequences": ["six", "four"]}), "stop_sequence"),
    ];
    for (text, more, expect) in cases {
        let server = Server::start(&[text]);
        let body = ask(&server, more.clone());
        assert_eq!(body["stop_reason"], expect, "{body}");
        let mut streamed = with(more.clone());
        streamed["stream"] = json!(true);
        let stream = post(server.address, "/v1/messages", &streamed);
        assert_eq!(stream.header("content-type"), Some("text/event-stream"));
        assert_eq!(plain(added_up(&stream)), plain(body), "{more}");
        assert!(stream.body.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
    }
}

#[test]
fn blocks_say_what_the_model_said() {
    let server = Server::start(&[CALL, ANSWER]);
    let call = ask(&server, json!({"tools": tools()}));
    let content = call["content"].as_array().unwrap();
    let kinds: Vec<&str> = content.iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["thinking", "text", "tool_use"]);
    assert_eq!(
        (&content[0]["thinking"], &content[1]["text"]),
        (&json!("Look it up."), &json!("One moment."))
    );
    assert_eq!((&content[2]["name"], &content[2]["input"]), (&json!("look"), &json!({"key": "a b"})));
    let answer = ask(&server, json!({"stop_sequences": ["85"]}));
    assert_eq!((&answer["stop_reason"], &answer["stop_sequence"]), (&json!("stop_sequence"), &json!("85")));
    assert_eq!(answer["content"][1]["text"], "It is ");
    assert!(answer["usage"]["output_tokens_details"]["thinking_tokens"].as_u64().unwrap() > 0);
}

#[test]
fn a_forced_call_is_made() {
    let server = Server::start(&[CALL]);
    for choice in [json!({"type": "any"}), json!({"type": "tool", "name": "look"})] {
        assert_eq!(ask(&server, json!({"tools": tools(), "tool_choice": choice}))["stop_reason"], "tool_use");
    }
}

/// Claude Code's first system block is another one with each request, and with it peers computed every prompt
/// anew.
#[test]
fn a_system_block_that_changes_leaves_the_prompt_before_it() {
    let server = Server::start(&[ANSWER]);
    let long = "Add. ".repeat(50);
    let prompt = |header: &str, last: &str| {
        let rules = json!({"type": "text", "text": long, "cache_control": {"type": "ephemeral"}});
        let system = json!([{"type": "text", "text": header}, rules, {"type": "text", "text": last}]);
        ask(&server, json!({"system": system, "tools": tools()}));
        server.prompts.lock().unwrap().last().unwrap().clone()
    };
    let first = prompt("x-anthropic-billing-header: cc_version=2.1.328.ccf; cch=1;", "It is noon.");
    assert_eq!(prompt("x-anthropic-billing-header: cc_version=2.1.328.ccf; cch=2;", "It is noon."), first);
    let later = prompt("x-anthropic-billing-header: cc_version=2.1.328.ccf; cch=3;", "It is late.");
    let same = first.iter().zip(&later).take_while(|(one, other)| one == other).count();
    assert!(same * 10 > first.len() * 8, "{same} of {} tokens stay", first.len());
}

#[test]
fn tokens_are_counted_as_they_are_read() {
    let server = Server::start(&[ANSWER]);
    let more = json!({"system": "Be brief.", "tools": tools(), "output_config": {"effort": "high"}});
    let mut body = with(more.clone());
    body.as_object_mut().unwrap().remove("max_tokens");
    let counted = post(server.address, "/v1/messages/count_tokens?beta=true", &body);
    assert_eq!(counted.status, 200, "{}", counted.body);
    assert_eq!(counted.json()["input_tokens"], ask(&server, more)["usage"]["input_tokens"]);
    assert_eq!(server.prompts.lock().unwrap().len(), 1, "counting runs nothing");
}

#[test]
fn a_key_sees_no_more_thinking_than_it_may() {
    let keys = "sk-0123456789abcdef reasoning=hidden\nsk-fedcba9876543210 reasoning=summary";
    let summary = "<|channel|>final<|message|>It added.<|return|>";
    let script = Script::new(&[ANSWER, ANSWER, summary]);
    let server = Server::with(script, Limits::default(), Keys::parse(keys).unwrap());
    let thinking = |key: &str| {
        let body = with(json!({})).to_string();
        let answer = request(server.address, "POST", "/v1/messages", &[("x-api-key", key)], &body).json();
        answer["content"][0].clone()
    };
    let hidden = thinking("sk-0123456789abcdef");
    assert_eq!((&hidden["type"], &hidden["thinking"]), (&json!("thinking"), &json!("")));
    assert_eq!(thinking("sk-fedcba9876543210")["thinking"], "It added.");
}

/// The memory of calls is lost with a process; what the client sends back is not.
#[test]
fn thinking_outlives_the_server_in_its_folder_and_not_without() {
    let folder = tempfile::tempdir().unwrap();
    let start = |is_kept: bool| {
        let path = is_kept.then_some(folder.path());
        Server::in_folder(path, Script::new(&[CALL]), Limits::default(), Keys::default())
    };
    let second = |content: &Value, is_kept: bool| {
        let server = start(is_kept);
        let result = json!({"type": "tool_result", "tool_use_id": content[2]["id"], "content": "found"});
        let messages = json!([
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": content},
            {"role": "user", "content": [result]},
        ]);
        let answer = ask(&server, json!({"messages": messages, "tools": tools()}));
        let prompt = server.prompts.lock().unwrap()[0].len();
        (prompt, answer["warnings"].to_string())
    };
    let content = ask(&start(true), json!({"tools": tools()}))["content"].clone();
    let (known, warnings) = second(&content, true);
    assert_eq!(warnings, "null");
    let (stranger, warnings) = second(&content, false);
    assert!(stranger < known && warnings.contains("signature"), "{stranger} {known} {warnings}");
}

fn check(answer: &Answer, status: u16, kind: &str) {
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["type"], &body["error"]["type"]),
        (status, &json!("error"), &json!(kind))
    );
    assert!(body["error"]["message"].is_string(), "{body}");
    assert_eq!(body["request_id"].as_str(), answer.header("request-id"), "{body}");
}

#[test]
fn errors_are_in_its_own_words() {
    let keys = Keys::parse("sk-0123456789abcdef").unwrap();
    let limits = Limits { body_bytes_max: 1 << 20, ..Limits::default() };
    let server = Server::with(Script::new(&[FAILS]), limits, keys);
    let key = [("x-api-key", "sk-0123456789abcdef"), ("anthropic-version", "2023-06-01")];
    let sent = |body: &Value| request(server.address, "POST", "/v1/messages", &key, &body.to_string());
    let image = json!({"type": "image", "source": {"type": "url", "url": "u"}});
    check(&sent(&json!({"messages": []})), 400, "invalid_request_error");
    check(&sent(&with(json!({"max_tokens": null}))), 400, "invalid_request_error");
    check(&sent(&with(json!({"messages": 3}))), 400, "invalid_request_error");
    check(
        &sent(&with(json!({"messages": [{"role": "user", "content": [image]}]}))),
        400,
        "invalid_request_error",
    );
    check(&sent(&with(json!({"temperature": 9}))), 400, "invalid_request_error");
    check(&sent(&with(json!({"model": "claude-9"}))), 404, "not_found_error");
    check(&sent(&json!({"x": "x".repeat((1 << 20) + 10)})), 413, "request_too_large");
    check(&sent(&with(json!({}))), 500, "api_error");
    let long = json!([{"role": "user", "content": "word ".repeat(70_000)}]);
    let long = sent(&with(json!({"messages": long})));
    check(&long, 400, "invalid_request_error");
    let message = long.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("prompt is too long: ") && message.ends_with(" tokens > 65536 maximum"),
        "{message}"
    );
    let mut streamed = with(json!({}));
    streamed["stream"] = json!(true);
    let cut = sent(&streamed);
    let last = cut.events().last().unwrap().clone();
    assert_eq!(
        (cut.status, &last["type"], &last["error"]["type"]),
        (200, &json!("error"), &json!("api_error"))
    );
    assert_eq!(last["request_id"].as_str(), cut.header("request-id"));
    assert!(cut.body.contains("event: error\n"), "{}", cut.body);
    // Without a key, with another method, and where nothing is.
    check(&post(server.address, "/v1/messages", &with(json!({}))), 401, "authentication_error");
    check(&request(server.address, "GET", "/v1/messages", &key, ""), 405, "invalid_request_error");
    check(&request(server.address, "GET", "/v1/organizations", &key, ""), 404, "not_found_error");
    let foreign = [("origin", "https://example.com"), ("anthropic-version", "2023-06-01")];
    let refused = request(server.address, "POST", "/v1/messages", &foreign, "{}");
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (403, &json!("permission_error")));
}

#[test]
fn a_server_that_stops_is_overloaded() {
    let mut server = Server::start(&[ANSWER]);
    server.tell_to_stop_after(Duration::from_secs(2));
    let stopping = || post(server.address, "/v1/messages", &with(json!({})));
    let begun = std::time::Instant::now();
    let mut answer = stopping();
    // The word takes a moment to arrive.
    while answer.status == 200 && begun.elapsed() < Duration::from_secs(1) {
        answer = stopping();
    }
    check(&answer, 529, "overloaded_error");
    assert_eq!(answer.header("retry-after"), Some("5"));
}

#[test]
fn models_have_two_forms() {
    let server = Server::start(&[ANSWER]);
    let version = [("anthropic-version", "2023-06-01")];
    let list = request(server.address, "GET", "/v1/models?limit=1000", &version, "").json();
    assert_eq!((&list["has_more"], &list["first_id"]), (&json!(false), &json!("scripted")));
    let model = request(server.address, "GET", "/v1/models/org/scripted", &version, "").json();
    assert_eq!((&model["type"], &model["id"]), (&json!("model"), &json!("org/scripted")));
    assert_eq!(
        (&model["created_at"], &model["max_input_tokens"]),
        (&json!("1970-01-01T00:00:01Z"), &json!(65536))
    );
    assert_eq!(get(server.address, "/v1/models").json()["object"], "list");
    let unknown = request(server.address, "GET", "/v1/models/claude-9", &version, "");
    check(&unknown, 404, "not_found_error");
}
